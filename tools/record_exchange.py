#!/usr/bin/env python3
"""Records an exchange of the Python library `websockets` with a running server, for tests/serve/recorded.rs.

    pip install websockets
    imesli --port 16391 &
    tools/record_exchange.py ws://127.0.0.1:16391 tests/serve/exchange.json

A text "@FILE" in a client's message stands for the file in base64, "@FILE[a:b]" for a part of it. What differs
from run to run (times, seconds) is masked.
"""

import asyncio
import base64
import json
import re
import sys
from pathlib import Path

import websockets

ROOT = Path(__file__).resolve().parent.parent
SPEECH = "tests/data/theo-7309.wav"
MASKED = ("timestamp", "queue_seconds", "processing_seconds")
SIZE = (ROOT / SPEECH).stat().st_size
HALF = SIZE // 2

# Each with the `type` and, for a state, the `state` of the last message of its answer.
SCRIPT = [
    ({"type": "ping"}, ("state", "pong")),
    ({"type": "status"}, ("state", "ready")),
    ({"type": "device_info", "platform": "python"}, None),
    ({"type": "audio", "audio_id": "first", "format": "base64", "audio_data": f"@{SPEECH}"}, ("state", "ready")),
    ({"type": "audio", "audio_id": "broken", "format": "base64", "audio_data": "abcde"}, ("state", "ready")),
    ({"type": "audio", "audio_id": "text", "audio_data": "@Cargo.toml"}, ("state", "ready")),
    ({"type": "dance"}, ("error", None)),
    ("no json", ("error", None)),
    (
        {
            "type": "upload_start", "upload_id": "u", "file_name": "speech.wav", "file_size": SIZE,
            "total_chunks": 2, "chunk_size": HALF,
        },
        ("upload_progress", None),
    ),
    (
        {"type": "upload_chunk", "upload_id": "u", "chunk_index": 0, "chunk_data": f"@{SPEECH}[0:{HALF}]"},
        ("upload_progress", None),
    ),
    ({"type": "upload_complete", "upload_id": "u"}, ("error", None)),
    (
        {
            "type": "upload_chunk", "upload_id": "u", "chunk_index": 1,
            "chunk_data": f"@{SPEECH}[{HALF}:{SIZE}]", "is_final_chunk": True,
        },
        ("upload_progress", None),
    ),
    ({"type": "upload_complete", "upload_id": "u", "file_name": "speech.wav"}, ("state", "ready")),
]


def filled(value):
    """The value with its files in place."""
    match = re.fullmatch(r"@([^\[]+)(?:\[(\d+):(\d+)\])?", value) if isinstance(value, str) else None
    if not match:
        return value
    data = (ROOT / match[1]).read_bytes()
    if match[2]:
        data = data[int(match[2]):int(match[3])]
    return base64.b64encode(data).decode()


def masked(message):
    return {name: "*" if name in MASKED else value for name, value in message.items()}


async def main(url, out):
    exchange = []
    async with websockets.connect(url, max_size=None) as socket:

        async def receive(last):
            while True:
                message = json.loads(await asyncio.wait_for(socket.recv(), 60))
                exchange.append({"server": masked(message)})
                kind, state = last
                if message["type"] == kind and (state is None or message["state"] == state):
                    return

        await receive(("state", "ready"))
        for message, last in SCRIPT:
            exchange.append({"client": message})
            if isinstance(message, str):
                await socket.send(message)
            else:
                await socket.send(json.dumps({name: filled(value) for name, value in message.items()}))
            if last:
                await receive(last)
    out.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in exchange) + "\n]\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
