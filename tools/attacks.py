"""Hostile clients, each a process of its own: attacks.py NAME PORT AMOUNT. Started by hostile.py; they know no address but
127.0.0.1, say "ready" when they are at it, and go on until they are killed, two minutes at most."""
import asyncio, base64, gzip, json, os, ssl, struct, sys, time

HOST = "127.0.0.1"
# Another address of this machine than the honest client's.
ELSEWHERE = ("127.0.0.2", 0)
MIB = 1 << 20
UPGRADE = (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n")


def frame(payload, opcode=1, fin=True, rsv=0, length=None):
    """A masked frame (with a mask of zeros), which may announce more than it brings."""
    length = len(payload) if length is None else length
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if length < 126:
        head += bytes([128 | length])
    elif length < 65536:
        head += bytes([128 | 126]) + struct.pack(">H", length)
    else:
        head += bytes([128 | 127]) + struct.pack(">Q", length)
    return head + bytes(4) + payload


async def upgraded(port, more=b""):
    """A WebSocket of our own making: its reader and writer, and the answer to the upgrade."""
    reader, writer = await asyncio.open_connection(HOST, port, limit=4096, local_addr=ELSEWHERE)
    writer.write(UPGRADE + more + b"\r\n")
    return reader, writer, await reader.readuntil(b"\r\n\r\n")


async def many(count, one, *arguments, share=0.5):
    """So many of them, again when they end; says that it is ready when this share of them is there."""
    state = {"there": 0, "said": False}

    def there():
        state["there"] += 1
        if state["there"] >= count * share and not state["said"]:
            state["said"] = True
            print("ready", flush=True)

    async def again(number):
        while True:
            try:
                await one(*arguments, there)
            except (OSError, EOFError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                pass
            await asyncio.sleep(0.2)

    tasks = []
    for number in range(count):
        tasks.append(asyncio.create_task(again(number)))
        if number % 50 == 49:
            await asyncio.sleep(0.05)
    await asyncio.gather(*tasks)


async def trickle(writer, content):
    """A byte a second."""
    for byte in content:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


async def slow_headers(port, there):
    _, writer = await asyncio.open_connection(HOST, port, local_addr=ELSEWHERE)
    there()
    await trickle(writer, UPGRADE * 10)


async def slow_handshake(port, there):
    """The first bytes of a TLS client's greeting, and then one a second."""
    _, writer = await asyncio.open_connection(HOST, port, local_addr=ELSEWHERE)
    greeting = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), greeting, server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    there()
    await trickle(writer, greeting.read() + bytes(1000))


async def slow_body(port, there):
    """A message of 64 MiB that never comes to its end: 20 MiB of it, and then a byte a second."""
    _, writer, _ = await upgraded(port)
    writer.write(frame(b"", length=64 * MIB))
    for _ in range(20):
        writer.write(bytes(MIB))
        await writer.drain()
    there()
    await trickle(writer, bytes(1000))


async def slow_reader(port, there):
    """Asks for long errors, and never reads them."""
    _, writer, _ = await upgraded(port)
    writer.transport.pause_reading()
    there()
    question = frame(json.dumps({"type": "upload_start", "upload_id": "x", "file_name": "a.wav", "total_chunks": 1,
                                 "file_size": "\u0001" * 100_000}).encode())
    while True:
        writer.write(question)
        await writer.drain()


async def half_open(port, there):
    """Is there, says nothing, answers no pings."""
    _, writer, _ = await upgraded(port)
    writer.transport.pause_reading()
    there()
    await asyncio.sleep(1000)


async def idle(port, there):
    """Is there and answers pings: nothing to complain about, but for the number."""
    reader, writer, _ = await upgraded(port)
    there()
    while True:
        kind, length = await reader.readexactly(2)
        if length == 126:
            length = struct.unpack(">H", await reader.readexactly(2))[0]
        payload = await reader.readexactly(length)
        if kind & 15 == 9:
            writer.write(frame(payload, opcode=10))


async def tiny_frames(port, there):
    """A million frames: pings, pongs, and empty messages."""
    reader, writer, _ = await upgraded(port)
    there()
    reading = asyncio.create_task(drain(reader))
    for kind in (frame(b"", opcode=9), frame(b"x", opcode=9), frame(b"{}"), frame(b"", opcode=10)):
        flood = kind * 1000
        for _ in range(100):
            writer.write(flood)
            await writer.drain()
        if reading.done():
            raise EOFError


async def fragments(port, there):
    """A message that is all empty fragments, millions of them."""
    reader, writer, _ = await upgraded(port)
    there()
    reading = asyncio.create_task(drain(reader))
    writer.write(frame(b"{", fin=False))
    flood = frame(b"", opcode=0, fin=False) * 10_000
    while True:
        writer.write(flood)
        await writer.drain()
        if reading.done():
            raise EOFError


async def drain(reader):
    """Reads until the server hangs up."""
    try:
        while await reader.read(1 << 16):
            pass
    except OSError:
        pass


async def deflate(port, there):
    """Offers compression, and sends frames that are compressed, whether it was accepted or not."""
    reader, writer, answer = await upgraded(port, b"Sec-WebSocket-Extensions: permessage-deflate\r\n")
    if b"permessage-deflate" in answer:
        print("WRONG: compression was accepted", file=sys.stderr)
    there()
    writer.write(frame(gzip.compress(bytes(16 * MIB)), rsv=4))
    await writer.drain()
    await drain(reader)


async def gzip_bodies(port, there):
    """Requests whose bodies say that they are compressed, and would be a gigabyte."""
    reader, writer = await asyncio.open_connection(HOST, port, local_addr=ELSEWHERE)
    there()
    body = gzip.compress(bytes(64 * MIB)) * 16
    writer.write(b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Encoding: gzip\r\n"
                 b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    await drain(reader)


def crc(content, polynomial, bits):
    value = 0
    for byte in content:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> (bits - 1) else 0)) & ((1 << bits) - 1)
    return value


def silence(hours):
    """A FLAC file of nothing, 16 kHz: a dozen bytes for each four seconds."""
    block = 65535
    info = struct.pack(">HH", block, block) + bytes(6) + (16000 << 44 | 0 << 41 | 15 << 36).to_bytes(8, "big") + bytes(16)
    content = [b"fLaC\x80" + len(info).to_bytes(3, "big") + info]
    for number in range(int(hours * 3600 * 16000 / block)):
        if number < 0x80:
            coded = bytes([number])
        elif number < 0x800:
            coded = bytes([0xC0 | number >> 6, 0x80 | number & 63])
        else:
            coded = bytes([0xE0 | number >> 12, 0x80 | number >> 6 & 63, 0x80 | number & 63])
        head = bytes([0xFF, 0xF8, 0x75, 0x08]) + coded + struct.pack(">H", block - 1)
        head += bytes([crc(head, 0x07, 8)])
        body = head + bytes([0, 0, 0])  # A constant subframe of value 0.
        content.append(body + struct.pack(">H", crc(body, 0x8005, 16)))
    return b"".join(content)


async def audio_bomb(port, there, hours, _made={}):
    """Small files that are long recordings."""
    if hours not in _made:
        data = base64.b64encode(silence(hours)).decode()
        _made[hours] = frame(json.dumps({"type": "audio", "audio_id": "bomb", "audio_data": data}).encode())
    reader, writer, _ = await upgraded(port)
    there()
    while True:
        writer.write(_made[hours])
        await writer.drain()
        text = b""
        while b'"audio_id":"bomb"' not in text or not (b'"transcription"' in text or b'"error"' in text):
            got = await reader.read(4096)
            if not got:
                raise EOFError
            text = text[-4096:] + got


ATTACKS = {
    "slow headers": lambda port, n: many(n, slow_headers, port),
    "slow TLS handshakes": lambda port, n: many(n, slow_handshake, port),
    "slow message bodies": lambda port, n: many(n, slow_body, port),
    "slow readers": lambda port, n: many(n, slow_reader, port),
    "half-open sockets": lambda port, n: many(n, half_open, port),
    "tiny frames": lambda port, n: many(n, tiny_frames, port),
    "empty fragments": lambda port, n: many(n, fragments, port),
    "compressed frames": lambda port, n: many(n, deflate, port),
    "gzip bodies": lambda port, n: many(n, gzip_bodies, port),
    "long silence in FLAC": lambda port, n: many(n, lambda p, t: audio_bomb(p, t, 3.9), port),
    "endless silence in FLAC": lambda port, n: many(n, lambda p, t: audio_bomb(p, t, 40), port),
    "idle connections": lambda port, n: many(n, idle, port, share=0.95),
}


async def main(name, port, amount):
    try:
        await asyncio.wait_for(ATTACKS[name](port, amount), 120)
    except TimeoutError:
        pass


if __name__ == "__main__":
    # It stands for machines elsewhere: what it computes here should not be the server's loss.
    os.nice(19)
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
