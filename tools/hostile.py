#!/usr/bin/env python3
"""Hostile clients beside an honest one: how much longer does the honest one wait, and what memory do they cost?

    pip install websockets
    hostile.py [--only WORDS] [--samples 20] [--connections 10000] [--most 1.2] IMESLI CHECKPOINT

Starts servers of its own on 127.0.0.1, one for each attack of attacks.py. An honest client connects about once a second, sends
the same message of 3 s, and waits for its text: --samples times before the attack and as often while it goes on. Prints a
table; exits with 1 when the usual time (the median) grew by more than --most, when a text was wrong or did not come, or when
the server held more memory than it says it may: what it held before, --max-memory-mib, and 100 kB for each connection.
The attackers run at the lowest priority, because they stand for other machines. Linux.
"""
import argparse, asyncio, base64, json, math, pathlib, resource, ssl, statistics, subprocess, sys, tempfile, time

import websockets

from ownserver import Server, root

AUDIO, TEXT = root / "tests/data/theo-7309.wav", "seven three zero nine"
MEMORY_MIB = 256
CONNECTION_KB = 100
# How many of each; None: --connections.
AMOUNTS = {"slow headers": 200, "slow TLS handshakes": 200, "slow message bodies": 16, "slow readers": 100,
           "half-open sockets": 500, "tiny frames": 4, "empty fragments": 4, "compressed frames": 20, "gzip bodies": 8,
           "long silence in FLAC": 2, "endless silence in FLAC": 2, "idle connections": None}


async def ask(url, context, message):
    """Seconds from the connection to the text, and what was wrong."""
    begun = time.monotonic()
    try:
        async with asyncio.timeout(60), websockets.connect(url, ssl=context, max_size=None, compression=None) as socket:
            await socket.send(message)
            async for text in socket:
                answer = json.loads(text)
                if answer["type"] in ("transcription", "error"):
                    found = answer.get("transcription", answer.get("code"))
                    return time.monotonic() - begun, None if found == TEXT else f"the honest client got {found!r}"
    except (OSError, websockets.WebSocketException) as error:
        return time.monotonic() - begun, f"the honest client: {type(error).__name__}: {error}"
    return time.monotonic() - begun, "the honest client got nothing"


class Honest:
    """What an honest client meets with, and the server's memory meanwhile."""

    def __init__(self, server, context):
        self.server, self.context = server, context
        self.message = json.dumps({"type": "audio", "audio_data": base64.b64encode(AUDIO.read_bytes()).decode()})
        self.wrong, self.most = set(), 0.0

    async def times(self, samples):
        times = []
        url = f"{'wss' if self.context else 'ws'}://127.0.0.1:{self.server.port}"
        for _ in range(samples):
            took, wrong = await ask(url, self.context, self.message)
            times.append(took)
            self.wrong |= {wrong} if wrong else set()
            self.most = max(self.most, self.server.memory())
            await asyncio.sleep(max(0.0, 0.8 - took))
        return times


def percentile(times, share):
    return sorted(times)[min(len(times) - 1, math.ceil(share * len(times)) - 1)]


async def attack(name, amount, arguments, folder):
    """One row of the table, and what is wrong with it."""
    tls = "TLS" in name
    server = Server(arguments.imesli, arguments.checkpoint, f"{folder}/log", "--spool-dir", folder, "--states", "1",
                    "--threads", "1", "--max-connections", str(amount + 100), "--max-memory-mib", str(MEMORY_MIB),
                    *(["--tls-self-signed", "--certs-dir", folder] if tls else []))
    server.start()
    context = ssl._create_unverified_context() if tls else None
    honest = Honest(server, context)
    attackers = None
    try:
        await honest.times(3)  # Buffers get their size.
        before, held = await honest.times(arguments.samples), server.memory()
        command = [sys.executable, str(pathlib.Path(__file__).with_name("attacks.py")), name, str(server.port), str(amount)]
        attackers = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        ready = await asyncio.wait_for(asyncio.to_thread(attackers.stdout.readline), 120)
        if ready.strip() != "ready":
            honest.wrong.add("the attack did not begin")
        await asyncio.sleep(2)
        honest.most = server.memory()
        during = await honest.times(arguments.samples)
        open_files = server.descriptors()
        if attackers.poll() is not None:
            honest.wrong.add("the attack ended early")
    finally:
        if attackers:
            attackers.kill()
            attackers.wait()
        server.kill()
    ratio = statistics.median(during) / statistics.median(before)
    bound = held + MEMORY_MIB * 1.048576 + CONNECTION_KB * amount / 1000
    wrong = sorted(honest.wrong)
    if ratio > arguments.most:
        wrong.append(f"the honest client waits {ratio:.2f} times as long")
    if honest.most > bound:
        wrong.append(f"{honest.most:.0f} MB are more than {bound:.0f} MB")
    milliseconds = [f"{1000 * value:.0f}" for times in (before, during)
                    for value in (statistics.median(times), percentile(times, 0.95))]
    row = [f"{amount} × {name}", *milliseconds, f"{ratio:.2f}", f"{held:.0f}", f"{honest.most:.0f}", f"{bound:.0f}", str(open_files)]
    print("| " + " | ".join(row) + " |", flush=True)
    for line in wrong:
        print(f"WRONG: {name}: {line}", file=sys.stderr)
    return bool(wrong)


async def main(arguments):
    # Both ends of a connection are on this machine, in processes that inherit the limit.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    connections = min(arguments.connections, most - 500)
    if connections < arguments.connections:
        print(f"{connections} idle connections, not {arguments.connections}: the hard limit of files is {most}", file=sys.stderr)
    print("| attack | before: median, ms | 95 % | during: median, ms | 95 % | ratio of medians | memory before, MB | most, MB "
          "| bound, MB | files open |\n|---|---|---|---|---|---|---|---|---|---|")
    failed = False
    for name, amount in AMOUNTS.items():
        if arguments.only in name:
            with tempfile.TemporaryDirectory() as folder:
                failed |= await attack(name, connections if amount is None else amount, arguments, folder)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--only", default="", help="attacks whose name has this in it")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--most", type=float, default=1.2, help="how many times as long the honest client may wait")
    parser.add_argument("imesli")
    parser.add_argument("checkpoint")
    asyncio.run(main(parser.parse_args()))
