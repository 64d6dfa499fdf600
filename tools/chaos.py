#!/usr/bin/env python3
"""Ten minutes of chaos: is every request accounted for, and does the memory stay flat?

    pip install websockets
    chaos.py [--minutes 10] [--clients 10] [--life 75] [--seed 1] IMESLI CHECKPOINT

Starts the server itself, on 127.0.0.1, and kills it with SIGKILL every --life seconds or so. Clients send audio, upload
files in chunks in any order, speak live, and send garbage; they break their connections whenever they like. Every request
must be answered by the text that was said, be refused with a code, be given up by its client, or be on its way when the
server was killed. An upload that is gone on with must have every chunk that was acknowledged, whatever happened since.
Of each life of the server, the usual memory (the median of RssAnon) of its second half must be that of the first, but for
--flat percent, once it has settled. Prints what was wrong, and a line that sums it up; exits with 1 when anything was.
"""
import argparse, asyncio, base64, collections, json, os, random, signal, statistics, sys, tempfile, time, wave

import websockets

from ownserver import Server, root

DATA = root / "tests/data"
SAID = {name: text for name, text in json.loads((DATA / "truth.json").read_text()).items() if (DATA / name).exists()}
SETTLED = 20  # seconds of a life until its buffers have their size
PATIENCE = 60  # seconds for an answer
LOST = (websockets.ConnectionClosed, websockets.InvalidHandshake, OSError, EOFError)
REFUSALS = {"OVERLOADED", "SHUTTING_DOWN", "CANCELLED"}


class Cut(Exception):
    """The client breaks its connection."""


class World:
    def __init__(self, arguments, server, rng):
        self.arguments, self.server, self.rng = arguments, server, rng
        self.end = time.monotonic() + 60 * arguments.minutes
        self.life, self.kills, self.up = 0, 0, asyncio.Event()
        self.counts, self.codes, self.wrong = collections.Counter(), collections.Counter(), []
        self.named, self.resumed, self.chunks = 0, 0, 0
        self.memory = collections.defaultdict(list)  # life: (seconds, MB)

    def is_over(self):
        return time.monotonic() > self.end

    def name(self, kind):
        self.named += 1
        return f"{kind}-{self.named}-{self.rng.random()}"

    def complain(self, what):
        self.wrong.append(what)
        if len(self.wrong) <= 20:
            print(f"WRONG: {what}", file=sys.stderr)

    def refuse(self, code, count=1):
        self.counts["refused"] += count
        self.codes[code] += count

    def lost(self, life, count, what):
        """Requests without an answer on a connection that ended: fine when the server was killed."""
        if count and life != self.life:
            self.counts["killed"] += count
        elif count:
            self.complain(f"{what}: {count} requests without an answer, and nobody broke the connection")


class Client:
    """A connection, and the life of the server in which it was made."""

    def __init__(self, world):
        self.world = world

    async def __aenter__(self):
        await self.world.up.wait()
        self.life = self.world.life
        self.socket = await websockets.connect(
            f"ws://127.0.0.1:{self.world.server.port}", max_size=None, open_timeout=PATIENCE, ping_timeout=None,
            compression=None)
        return self

    async def __aexit__(self, kind, *_):
        self.cut() if kind else await self.socket.close()

    def cut(self):
        self.socket.transport.abort()

    async def send(self, message):
        await self.socket.send(message if isinstance(message, (bytes, str)) else json.dumps(message))

    async def next(self):
        return json.loads(await asyncio.wait_for(self.socket.recv(), PATIENCE))

    def may_cut(self, chance):
        if self.world.rng.random() < chance:
            raise Cut


def recording(rng):
    name = rng.choice(sorted(SAID))
    return (DATA / name).read_bytes(), SAID[name]


async def audio(world):
    """Some audios at once, a few of them broken."""
    async with Client(world) as client:
        waiting = {}
        try:
            for _ in range(world.rng.randint(1, 4)):
                audio_id, (data, text) = world.name("audio"), recording(world.rng)
                data, code = base64.b64encode(data).decode(), None
                if world.rng.random() < 0.25:
                    data, code = world.rng.choice([("AAAAA", "BASE64_DECODE_ERROR"), ("AAAA", "AUDIO_LOAD_ERROR")])
                waiting[audio_id] = code or text
                await client.send({"type": "audio", "audio_id": audio_id, "audio_data": data})
                client.may_cut(0.03)
            while waiting:
                message = await client.next()
                client.may_cut(0.03)
                if message["type"] not in ("transcription", "error"):
                    continue
                audio_id = message.get("audio_id")
                if audio_id not in waiting:
                    world.complain(f"an answer that nobody asked for: {message}")
                    continue
                found, wanted = message.get("code") or message["transcription"], waiting.pop(audio_id)
                if found == wanted:
                    world.counts["refused" if message["type"] == "error" else "answered"] += 1
                    world.codes.update([found] if message["type"] == "error" else [])
                elif found in REFUSALS:
                    world.refuse(found)
                else:
                    world.complain(f"{found!r} in place of {wanted!r}")
        except Cut:
            world.counts["cancelled"] += len(waiting)
            client.cut()
        except TimeoutError:
            world.complain(f"audio: {len(waiting)} requests without an answer after {PATIENCE} s")
        except LOST as error:
            world.lost(client.life, len(waiting), f"audio: {error}")


async def upload(world):
    """A file in chunks, gone on with on other connections and in other lives until it is transcribed."""
    rng = world.rng
    upload_id, (data, text) = world.name("upload \"\u00e9/.."), recording(rng)
    size = -(-len(data) // rng.randint(2, 12))
    pieces = [data[at:at + size] for at in range(0, len(data), size)]
    acknowledged, asked, begun = set(), False, False
    while True:
        await world.up.wait()
        life = world.life
        try:
            async with Client(world) as client:
                await client.send({"type": "upload_start", "upload_id": upload_id, "file_name": "a.wav",
                                   "file_size": len(data), "total_chunks": len(pieces), "resume": True})
                message = await reply(client, "upload_progress")
                if message["type"] == "error":
                    if message["code"] not in REFUSALS or begun:
                        world.complain(f"an upload can't be gone on with: {message}")
                    world.refuse(message["code"])
                    return
                received = set(message["received_chunks"])
                if not acknowledged <= received:
                    world.complain(f"{len(acknowledged - received)} acknowledged chunks of {upload_id} are lost")
                world.resumed += begun
                acknowledged, begun = received, True
                order = [index for index in range(len(pieces)) if index not in received]
                rng.shuffle(order)
                for index in order:
                    chunk = base64.b64encode(pieces[index]).decode()
                    await client.send({"type": "upload_chunk", "upload_id": upload_id, "chunk_index": index,
                                       "chunk_data": chunk})
                    message = await reply(client, "upload_progress")
                    if message["type"] == "error":
                        world.complain(f"chunk {index} of {upload_id}: {message}")
                        return
                    acknowledged.add(index)
                    world.chunks += 1
                    client.may_cut(0.04)
                    await asyncio.sleep(rng.random() * 0.3)
                await client.send({"type": "upload_complete", "upload_id": upload_id})
                message = await reply(client, "upload_complete")
                if message["type"] == "error":
                    if message["code"] not in REFUSALS:
                        world.complain(f"{upload_id}: {message}")
                        return
                    world.refuse(message["code"])
                    await asyncio.sleep(1)
                    continue
                asked = True
                while True:
                    message = await client.next()
                    if message["type"] in ("transcription", "error"):
                        break
                    client.may_cut(0.02)
                if message.get("transcription") == text:
                    world.counts["answered"] += 1
                else:
                    world.complain(f"{upload_id}: {message} in place of {text!r}")
                return
        except Cut:
            world.counts["cancelled"] += 1
            if asked:
                return  # Its job is given up with the connection, and the upload with the job.
        except TimeoutError:
            return world.complain(f"{upload_id}: no answer after {PATIENCE} s")
        except LOST as error:
            if life == world.life:
                return world.complain(f"upload: {error}")
            world.counts["killed"] += 1
            if world.is_over():
                return


async def reply(client, kind):
    """The next message of this kind, or an error."""
    while (message := await client.next())["type"] not in (kind, "error"):
        pass
    return message


async def live(world):
    """A stream, faster than it is spoken; what is committed must be the transcription."""
    rng, stream_id, committed = world.rng, world.name("stream"), []
    with wave.open(str(DATA / "theo-7309.wav")) as file:
        rate, speech = file.getframerate(), file.readframes(file.getnframes())
    speech = (speech + bytes(2 * rate)) * rng.randint(1, 3)
    async with Client(world) as client:
        try:
            await client.send({"type": "stream_start", "stream_id": stream_id, "sample_rate": rate})
            while True:
                message = await client.next()
                if message["type"] == "error":
                    if message["code"] not in REFUSALS:
                        world.complain(f"stream: {message}")
                    return world.refuse(message["code"])
                if message.get("state") == "streaming":
                    break
            for at in range(0, len(speech), rate // 5):
                await client.send(speech[at:at + rate // 5])
                await asyncio.sleep(0.02)
                client.may_cut(0.002)
            await client.send({"type": "stream_stop"})
            while True:
                message = await client.next()
                if message["type"] == "partial":
                    committed.append(message["committed"])
                elif message["type"] == "transcription":
                    break
                elif message["type"] == "error":
                    if message["code"] not in REFUSALS:
                        world.complain(f"stream: {message}")
                    return world.refuse(message["code"])
            if "".join(committed) != message["transcription"]:
                world.complain(f"committed {''.join(committed)!r}, transcribed {message['transcription']!r}")
            world.counts["answered"] += 1
        except Cut:
            world.counts["cancelled"] += 1
            client.cut()
        except TimeoutError:
            world.complain(f"{stream_id}: no end after {PATIENCE} s")
        except LOST as error:
            world.lost(client.life, 1, f"stream: {error}")


async def garbage(world):
    """Messages that are none, each of which has its code; and bytes that are not even WebSocket."""
    rng = world.rng
    if rng.random() < 0.5:
        await world.up.wait()
        life = world.life
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", world.server.port)
            upgrade = (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
            writer.write(rng.choice([b"", upgrade, upgrade[:rng.randrange(len(upgrade))]]) + rng.randbytes(rng.randrange(5000)))
            await writer.drain()
            await asyncio.sleep(rng.random())
            writer.transport.abort()
        except OSError as error:
            if life == world.life and not isinstance(error, ConnectionError):
                world.complain(f"the server takes no connections: {error}")
        return
    async with Client(world) as client:
        asked = 0
        try:
            for _ in range(rng.randint(1, 20)):
                await client.send(rng.choice([
                    "", "{", "[]", "{}", '{"type":7}', '{"type":"audio"}', '{"type":"upload_chunk","upload_id":"x"}',
                    '{"type":"upload_complete","upload_id":"nobody"}', '{"type":"stream_stop"}', "\u00e9" * 100, b"\xff\xfe",
                    '{"type":"ping","x":[' + "0," * 20000 + "0]}", "[" * 300]))
                asked += 1
                client.may_cut(0.02)
            while asked:
                message = await client.next()
                if message["type"] == "error":
                    asked -= 1
                    world.refuse(message["code"])
        except Cut:
            world.counts["cancelled"] += asked
            client.cut()
        except TimeoutError:
            world.complain(f"garbage: {asked} messages without an error after {PATIENCE} s")
        except LOST as error:
            world.lost(client.life, asked, f"garbage: {error}")


async def behave(world):
    while not world.is_over():
        kind = world.rng.choice([audio, audio, audio, upload, upload, live, garbage])
        await world.up.wait()
        life = world.life
        try:
            await kind(world)
        except TimeoutError:
            world.complain(f"{kind.__name__}: no connection after {PATIENCE} s")
        except LOST as error:
            if life == world.life:
                world.complain(f"{kind.__name__}: no connection: {error}")
            await asyncio.sleep(0.1)
        await asyncio.sleep(world.rng.random() * 0.2)


async def fate(world):
    """Kills the server and starts it again."""
    while True:
        since = time.monotonic()
        world.up.set()
        until = min(since + world.arguments.life * world.rng.uniform(0.8, 1.2), world.end)
        if world.end - until < world.arguments.life / 2:
            until = world.end  # The last life is a long one.
        while time.monotonic() < until:
            await asyncio.sleep(0.5)
            if not world.server.is_alive():
                world.complain(f"the server died by itself: {world.server.log.read_text(errors='replace')[-2000:]}")
                return
            world.memory[world.life].append((time.monotonic() - since, world.server.memory()))
        if world.is_over():
            return
        world.up.clear()
        world.life += 1
        world.kills += 1
        await asyncio.to_thread(world.server.kill)
        await asyncio.to_thread(world.server.start)


async def main(arguments):
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(arguments.imesli, arguments.checkpoint, f"{folder}/log", "--spool-dir", folder, "--states", "1",
                        "--threads", "1", "--max-requests", "24", "--max-uploads", "12", "--max-streams", "6",
                        "--max-memory-mib", "256", "--stream-resume", "5", "--shutdown-timeout", "60")
        os.environ["IMESLI_LOG_LEVEL"] = "info"
        server.start()
        world = World(arguments, server, rng)
        try:
            clients = [asyncio.create_task(behave(world)) for _ in range(arguments.clients)]
            await fate(world)
            _, late = await asyncio.wait(clients, timeout=PATIENCE + 10)
            for task in late:
                task.print_stack()
                task.cancel()
                world.complain("a client does not come to its end")
            await asyncio.sleep(6)
            descriptors = server.descriptors() if server.is_alive() else 0
            if descriptors > 100:
                world.complain(f"{descriptors} files are open when all clients are gone")
            if server.is_alive() and (code := server.kill(signal.SIGTERM)) != 0:
                world.complain(f"exit code {code} after SIGTERM")
        finally:
            server.kill()
    medians = []
    for life, samples in world.memory.items():
        settled = [memory for seconds, memory in samples if seconds > SETTLED]
        if len(settled) < 20:
            continue
        first, second = (statistics.median(half) for half in (settled[:len(settled) // 2], settled[len(settled) // 2:]))
        medians += [first, second]
        if second > first * (1 + arguments.flat / 100):
            world.complain(f"life {life}: {first:.1f} MB usual in its first half, {second:.1f} MB in its second")
    counts, codes = world.counts, ", ".join(f"{code} {count}" for code, count in world.codes.most_common())
    memory = f"{min(medians):.1f} to {max(medians):.1f} MB" if medians else "not measured"
    print(f"{arguments.minutes:g} min, {arguments.clients} clients, {world.kills} kills: {sum(counts.values())} requests, "
          f"{counts['answered']} answered, {counts['refused']} refused ({codes}), {counts['cancelled']} given up, "
          f"{counts['killed']} on their way at a kill; {world.chunks} chunks, {world.resumed} uploads gone on with; "
          f"usual memory {memory}; {len(world.wrong)} wrong")
    sys.exit(1 if world.wrong else 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--life", type=float, default=75, help="seconds between two kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--flat", type=float, default=20, help="percent that the usual memory may grow by in a life")
    parser.add_argument("imesli")
    parser.add_argument("checkpoint")
    asyncio.run(main(parser.parse_args()))
