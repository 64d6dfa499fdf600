#!/usr/bin/env python3
"""Prints the text of an audio file.  pip install websockets

transcribe.py [--insecure] ws://127.0.0.1:16391 FILE      --insecure: accept a self-signed certificate (wss://)

IMESLI_KEY: the key, where the server wants one.
"""
import asyncio, base64, json, os, pathlib, ssl, sys, uuid

import websockets


async def transcribe(url, path, insecure):
    context = None
    if url.startswith("wss:"):
        context = ssl.create_default_context()
        if insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # As a subprotocol, because each version of websockets has another name for headers.
    key = os.environ.get("IMESLI_KEY")
    protocols = ["imesli", f"imesli.key.{key}"] if key else None
    async with websockets.connect(url, ssl=context, subprotocols=protocols, max_size=None) as socket:
        audio_id = str(uuid.uuid4())
        audio = base64.b64encode(path.read_bytes()).decode()
        await socket.send(json.dumps({"type": "audio", "audio_id": audio_id, "audio_data": audio}))
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "transcription" and message["audio_id"] == audio_id:
                return message["transcription"]
            if message["type"] == "error":
                sys.exit(f"{message['code']}: {message['message']}")
            if message["type"] == "state":
                print(message["state"], file=sys.stderr)
    sys.exit("the server hung up")


if __name__ == "__main__":
    arguments = [a for a in sys.argv[1:] if a != "--insecure"]
    if len(arguments) != 2:
        sys.exit(__doc__)
    print(asyncio.run(transcribe(arguments[0], pathlib.Path(arguments[1]), "--insecure" in sys.argv)))
