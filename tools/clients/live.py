#!/usr/bin/env python3
"""Prints the text of live audio while it is spoken.  pip install websockets

live.py [--insecure] [--speed 1] [--rate 16000] [--channels 1] ws://127.0.0.1:16391 [FILE or -]

Takes a WAV file of 16 bits, or raw 16-bit samples from a file or standard input, e.g. of `arecord -f S16_LE -r 16000 -t
raw`, and sends it as fast as it is spoken; --speed 2 twice as fast, of a file. --insecure: accept a self-signed
certificate (wss://). IMESLI_KEY: the key, where the server wants one.
"""
import argparse, asyncio, json, os, ssl, sys, uuid, wave

import websockets

PIECE = 0.1  # seconds of audio in a message


def open_audio(args):
    """What reads so many bytes, the rate, and the channels."""
    if args.file == "-":
        return sys.stdin.buffer.read1, args.rate, args.channels
    try:
        audio = wave.open(args.file, "rb")
    except wave.Error:
        return open(args.file, "rb").read, args.rate, args.channels
    if audio.getsampwidth() != 2:
        sys.exit("only WAV files of 16 bits")
    frame = 2 * audio.getnchannels()
    return lambda size: audio.readframes(size // frame), audio.getframerate(), audio.getnchannels()


async def speak(socket, args, read, rate, channels):
    clock, begun, sent = asyncio.get_running_loop(), None, 0
    size = int(PIECE * rate) * 2 * channels
    while piece := await clock.run_in_executor(None, read, size):
        await socket.send(piece)
        begun = begun or clock.time()
        sent += len(piece) / (2 * channels * rate)
        if args.file != "-":  # What comes by standard input has its own pace.
            await asyncio.sleep(begun + sent / args.speed - clock.time())
    await socket.send(json.dumps({"type": "stream_stop"}))


async def transcribe(args):
    read, rate, channels = open_audio(args)
    context = None
    if args.url.startswith("wss:"):
        context = ssl.create_default_context()
        if args.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # As a subprotocol, because each version of websockets has another name for headers.
    key = os.environ.get("IMESLI_KEY")
    protocols = ["imesli", f"imesli.key.{key}"] if key else None
    async with websockets.connect(args.url, ssl=context, subprotocols=protocols, max_size=None) as socket:
        stream_id, committed, speaking = str(uuid.uuid4()), "", None
        start = {"type": "stream_start", "stream_id": stream_id, "sample_rate": rate, "channels": channels}
        await socket.send(json.dumps(start))
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "state" and message["state"] == "streaming":
                speaking = asyncio.create_task(speak(socket, args, read, rate, channels))
            elif message["type"] == "partial":
                committed += message["committed"]
                # On a terminal each line replaces the last one; \x1b[2m is dim, for what may still change.
                line = f"\r{committed[-60:]}\x1b[2m{message['volatile']}\x1b[0m\x1b[K"
                print(line, end="", file=sys.stderr, flush=True)
            elif message["type"] == "error":
                sys.exit(f"{message['code']}: {message['message']}")
            elif message["type"] == "transcription" and message["audio_id"] == stream_id:
                print(file=sys.stderr)
                return message["transcription"]
    sys.exit("the server hung up")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--insecure", action="store_true")
    parser.add_argument("--speed", type=float, default=1)
    parser.add_argument("--rate", type=int, default=16000)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("url")
    parser.add_argument("file", nargs="?", default="-")
    print(asyncio.run(transcribe(parser.parse_args())))
