#!/usr/bin/env python3
"""How much more two workers do than one, and what the way over the broker costs.

    pip install websockets
    measure_cluster.py [--seconds 5] [--clients 8] [--requests 40] [--rounds 3] [--embedded] [--samples 20] [--exact-audio]
        [--language en] [--max-tokens N] [--at-least RATIO] IMESLI GGML

Starts a broker (nats-server; NATS_SERVER names one), a door, and workers with one state on one thread each, all on this
machine. A round sends --requests messages of --seconds s from --clients clients to one worker, and the same to two: the
ratio is of their messages a second. --embedded: each round also does it with the engine in the server, with one state and
with two, and --samples single messages, one after the other, show how much longer one takes over the broker.

--language and --max-tokens are for models with random weights, whose texts never end; with the latter, nothing else is done
than what tools/bench does: no voice detection, no guard against loops, the whole audio context. Compares all texts with the
first: they must be the same with --exact-audio, and are counted otherwise (16 bits are not what was decoded). Exits with 1
when an answer is missing, a text that must be the same is not, or two workers do less than --at-least times what one does.
As many idle cores are needed as there are workers, and some of one for the rest: on two busy cores the ratio can't be 2.
"""
import argparse, asyncio, base64, io, json, os, re, shutil, signal, socket, statistics, subprocess, sys, tempfile
import time, wave
from pathlib import Path

import websockets

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 600  # seconds for an answer
USUAL = ("/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def nats_server():
    path = os.pathsep.join([os.environ.get("PATH", ""), *USUAL])
    found = shutil.which(os.environ.get("NATS_SERVER", "nats-server"), path=path)
    return found or sys.exit("there is no nats-server (tools/setup.sh --cluster installs it)")


class Process:
    """A program, and what it says, in a file."""

    def __init__(self, folder, name, wanted, *command):
        self.name, self.log = name, folder / f"{name}-{time.monotonic_ns()}.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("IMESLI_")}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT)
        end = time.monotonic() + 120
        while not (found := re.search(wanted, self.log.read_text(errors="replace"))):
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                sys.exit(f"{name} did not start:\n{self.log.read_text(errors='replace')}")
            time.sleep(0.02)
        self.found = found

    def stop(self):
        """Asks it to end. What it did not end by itself is said."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            print(f"{self.name} had to be killed", file=sys.stderr)


def message(seconds):
    """One `audio` message with so many seconds of speech."""
    with wave.open(str(ROOT / "tests/data/theo-7309.wav")) as file:
        parameters, speech = file.getparams(), file.readframes(file.getnframes())
    size = int(seconds * parameters.framerate) * parameters.nchannels * parameters.sampwidth
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams(parameters)
        file.writeframes((speech * (size // len(speech) + 1))[:size])
    data = base64.b64encode(out.getvalue()).decode()
    return json.dumps({"type": "audio", "audio_id": "measure", "audio_data": data})


class World:
    def __init__(self, arguments, folder):
        self.arguments, self.folder = arguments, folder
        self.message, self.text, self.others, self.asked = message(arguments.seconds), None, 0, 0
        self.decoding = ["--max-requests", "1000", "--max-requests-per-connection", "1000"]
        if arguments.language:
            self.decoding += ["--language", arguments.language]
        if arguments.max_tokens:
            self.decoding += ["--max-tokens", str(arguments.max_tokens), "--vad", "off", "--loop-guard", "off",
                              "--audio-context", "full"]
        self.running = []

    def start(self, *command):
        self.running.append(process := Process(self.folder, *command))
        return process

    def stop(self, process):
        self.running.remove(process)
        process.stop()

    def serve(self, name, *more):
        """A server on a port of its own."""
        return self.start(name, r"listening on (ws://\S+)", self.arguments.imesli, "--host", "127.0.0.1", "--port", "0",
                          *self.decoding, *more)

    def worker(self, name):
        return self.start(name, "the worker is ready", self.arguments.imesli, "worker", "--nats", self.broker, "--name",
                          name, *self.model(1))

    def model(self, states):
        return ("--checkpoint", self.arguments.ggml, "--cpu", "--states", str(states), "--threads", "1")

    async def ask(self, client):
        await client.send(self.message)
        while True:
            answer = json.loads(await asyncio.wait_for(client.recv(), PATIENCE))
            if answer["type"] == "error":
                raise SystemExit(f"{answer['code']}: {answer['message']}")
            if answer["type"] == "transcription":
                break
        self.asked += 1
        if self.text is None:
            self.text = answer["transcription"]
        self.others += answer["transcription"] != self.text

    async def rate(self, url, states):
        """Messages a second."""
        arguments = self.arguments
        left = iter(range(arguments.requests))
        clients = [await websockets.connect(url, max_size=None, ping_interval=None) for _ in range(arguments.clients)]

        async def work(client):
            for _ in left:
                await self.ask(client)

        try:
            # Each state's buffers grow with its first audio; two more, because either may get both.
            await asyncio.gather(*(self.ask(client) for client in clients[:2 * states]))
            begun = time.perf_counter()
            await asyncio.gather(*map(work, clients))
            return arguments.requests / (time.perf_counter() - begun)
        finally:
            for client in clients:
                await client.close()

    async def latency(self, url):
        """Seconds of single messages, each."""
        times = []
        async with websockets.connect(url, max_size=None, ping_interval=None) as client:
            await self.ask(client)
            for _ in range(self.arguments.samples):
                begun = time.perf_counter()
                await self.ask(client)
                times.append(time.perf_counter() - begun)
        return times

    async def known(self, workers):
        """Waits until the door would take a request. It does not say how many workers it knows; the second gets 2 s."""
        host, port = self.door.removeprefix("ws://").rstrip("/").rsplit(":", 1)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /ready HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
            if answer.split(b" ", 2)[1] == b"200":
                await asyncio.sleep(2 if workers > 1 else 0.5)
                return
            await asyncio.sleep(0.1)
        raise SystemExit("the door did not find its workers within 30 s")

    async def embedded(self, states, singles):
        server = self.serve(f"embedded-{states}", *self.model(states))
        url = server.found[1]
        try:
            return await self.rate(url, states), await self.latency(url) if singles else []
        finally:
            self.stop(server)


def spread(values, unit=""):
    values = sorted(values)
    return f"{statistics.median(values):.3g}{unit} ({values[0]:.3g} to {values[-1]:.3g})"


async def main(arguments):
    with tempfile.TemporaryDirectory() as folder:
        world = World(arguments, Path(folder))
        try:
            ratio = await measure(world)
        finally:
            for process in reversed(world.running[:]):
                world.stop(process)
    must = arguments.exact_audio
    if world.others:
        print(f"{world.others} of {world.asked} texts differ from the first" + (": WRONG" if must else ""))
    if too_slow := ratio < arguments.at_least:
        print(f"at least {arguments.at_least:g} was wanted: WRONG")
    sys.exit(1 if too_slow or (world.others and must) else 0)


async def measure(world):
    """Measures and tells all; the median of the ratios."""
    arguments, port = world.arguments, free_port()
    world.broker = f"nats://127.0.0.1:{port}"
    world.start("broker", "Server is ready", nats_server(), "-js", "-sd", str(world.folder / "store"), "-a", "127.0.0.1",
                "-p", str(port))
    exact = ["--exact-audio"] if arguments.exact_audio else []
    world.door = world.serve("door", "--engine", world.broker, "--max-pending", "1000", *exact).found[1]
    rates, singles = {name: [] for name in ("embedded 1", "workers 1", "embedded 2", "workers 2")}, {"door": [], "server": []}
    first = world.worker("worker-1")
    await world.known(1)
    for number in range(arguments.rounds):
        if arguments.embedded:
            rate, times = await world.embedded(1, True)
            rates["embedded 1"].append(rate)
            singles["server"] += times
        rates["workers 1"].append(await world.rate(world.door, 1))
        if arguments.embedded:
            singles["door"] += await world.latency(world.door)
            rates["embedded 2"].append((await world.embedded(2, False))[0])
        second = world.worker("worker-2")
        await world.known(2)
        rates["workers 2"].append(await world.rate(world.door, 2))
        world.stop(second)
        print(f"round {number + 1}: " + ", ".join(f"{name}: {values[-1]:.3g}/s" for name, values in rates.items() if values),
              flush=True)
    world.stop(first)
    ratios = [two / one for one, two in zip(rates["workers 1"], rates["workers 2"])]
    print(f"{arguments.requests} messages of {arguments.seconds:g} s from {arguments.clients} clients, {arguments.rounds} rounds, "
          f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2g}")
    for name, values in rates.items():
        if values:
            print(f"{name}: {spread(values, '/s')}")
    print(f"two workers to one: {spread(ratios)}")
    if arguments.embedded:
        for states in (1, 2):
            over = [workers / own for own, workers in zip(rates[f"embedded {states}"], rates[f"workers {states}"])]
            print(f"{states} over the broker to {states} in the server: {spread(over)}")
        door, server = (statistics.median(singles[name]) for name in ("door", "server"))
        print(f"one message, median of {len(singles['door'])}: {1000 * door:.1f} ms over the broker, {1000 * server:.1f} ms in the "
              f"server, {1000 * (door - server):+.1f} ms")
    return statistics.median(ratios)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=40, help="messages of a measurement, all clients together")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--embedded", action="store_true", help="also the engine in the server, and single messages")
    parser.add_argument("--samples", type=int, default=20, help="single messages of a round")
    parser.add_argument("--exact-audio", action="store_true", help="32-bit floats over the broker, and the same texts")
    parser.add_argument("--language")
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--at-least", type=float, default=0, help="the ratio that is wanted")
    parser.add_argument("imesli")
    parser.add_argument("ggml")
    arguments = parser.parse_args()
    # The processes run in the repository's folder.
    arguments.imesli, arguments.ggml = (str(Path(path).resolve()) for path in (arguments.imesli, arguments.ggml))
    asyncio.run(main(arguments))
