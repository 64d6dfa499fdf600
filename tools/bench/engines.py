"""The engines: processes that load a model once, and do one piece of work at a time.

An engine is started for a work (`start`), does it as often as asked (`run`, which gives the seconds it took), and is
stopped. Each raises `Wrong` when it wrote another number of tokens than was asked of it.
"""
import base64, collections, concurrent.futures, json, os, re, subprocess, sys, threading, time

from websockets.sync.client import connect

from work import WINDOW

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 3600  # seconds for any answer


class Wrong(Exception):
    """An engine that did something else than it was asked for: nothing is measured then."""


class Process:
    """A process and what it says on standard error."""

    def __init__(self, command, **options):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("IMESLI_")}
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**environment, "HF_HUB_OFFLINE": "1"}, **options)
        self.command, self.log, self.news = command, collections.deque(maxlen=200), threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self.news:
                self.log.append(line.rstrip())
                self.news.notify_all()
        with self.news:
            self.news.notify_all()

    def wait_for(self, pattern, seconds=120):
        """The first line of the log that has it."""
        end = time.monotonic() + seconds
        with self.news:
            while True:
                for line in self.log:
                    if found := re.search(pattern, line):
                        return found
                if not self.reader.is_alive() or not self.news.wait(max(0.0, end - time.monotonic())):
                    self.fail(f"never said {pattern!r}")

    def fail(self, what):
        last = "\n    ".join(list(self.log)[-8:])
        raise Wrong(f"{os.path.basename(self.command[0])} {what}; its last words:\n    {last}")

    def peak_mb(self):
        """Peak resident memory in 10⁶ bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1.024 / 1000
        raise Wrong("there is no VmHWM in /proc")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


class Engine:
    """What all engines are to the measurements: a process of their own, from start() to stop()."""

    child = None

    def peak_mb(self):
        return self.child.peak_mb()

    def pid(self):
        return self.child.process.pid

    def stop(self):
        if self.child:
            self.child.stop()


class Imesli(Engine):
    """The server itself, over WebSocket as its clients do it."""

    def __init__(self, program, model, context="full", more=()):
        self.command = [
            program, "--checkpoint", model, "--host", "127.0.0.1", "--port", "0", "--language", "en", "--cpu",
            "--beam-size", "5", "--vad", "off", "--loop-guard", "off", "--audio-context", context, *more]

    def start(self, work, window_tokens=None):
        self.limit = window_tokens or work.window_tokens
        self.child = Process([*self.command, "--max-tokens", str(self.limit)], stdout=subprocess.DEVNULL)
        self.address = self.child.wait_for(r"listening on (ws://\S+)")[1]
        return self

    def connect(self):
        return connect(self.address, max_size=None, ping_interval=None)

    def ask(self, socket, data):
        """The answer to a file in base64."""
        socket.send(json.dumps({"type": "audio", "audio_id": "bench", "audio_data": data}))
        while True:
            message = json.loads(socket.recv(PATIENCE))
            if message["type"] == "error":
                raise Wrong(f"imesli: {message['code']}: {message['message']}")
            if message["type"] == "transcription":
                # A text that ended by itself has fewer tokens than its window was to have.
                # One whose tokens are no text has no segment.
                if message["unended"] < max(1, len(message["segments"])):
                    raise Wrong(f"of {len(message['segments'])} texts only {message['unended']} were cut by the limit")
                return message

    def run(self, work, files):
        data = [[read(file) for file in client] for client in files]
        sockets = [self.connect() for _ in data]
        for socket in sockets:
            socket.recv(PATIENCE)  # `ready`
        begun = time.perf_counter()
        if work.clients == 1:
            self.answer = self.ask(sockets[0], data[0][0])
        else:
            with concurrent.futures.ThreadPoolExecutor(len(data)) as pool:
                list(pool.map(lambda pair: [self.ask(pair[0], file) for file in pair[1]], zip(sockets, data)))
        seconds = time.perf_counter() - begun
        for socket in sockets:
            socket.close()
        return seconds

    def windows(self, work, file):
        """The windows that a long recording is cut into: with a token for each, none ends by itself."""
        self.start(work, 1)
        try:
            self.run(work, [[file]])
            return self.answer["unended"]
        finally:
            self.stop()


def read(file):
    with open(file, "rb") as stream:
        return base64.b64encode(stream.read()).decode()


class Worker(Engine):
    """A process that takes its work as lines of JSON."""

    def __init__(self, command):
        self.command = command

    def start(self, work):
        self.child = Process(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def ask(self, expected, **request):
        """The seconds it took, by the worker's own clock; so many tokens are expected."""
        self.child.process.stdin.write(json.dumps(request) + "\n")
        self.child.process.stdin.flush()
        line = self.child.process.stdout.readline()
        if not line:
            self.child.reader.join(5)
            self.child.fail("ended")
        answer = json.loads(line)
        if answer["tokens"] != expected:
            self.child.fail(f"wrote {answer['tokens']} tokens, not {expected}")
        return answer["seconds"]


class WhisperDefaults(Worker):
    """whisper.cpp as whisper-rs sets it up; it has one state, so clients wait for each other."""

    def __init__(self, program, model, threads):
        super().__init__([program, model, str(threads)])

    def run(self, work, files):
        each = work.tokens // sum(map(len, files))
        return sum(
            self.ask(each, file=file, max_tokens=work.window_tokens) for client in files for file in client)


class Python(Worker):
    """faster-whisper or transformers."""

    def __init__(self, *arguments, batch=None):
        super().__init__([sys.executable, os.path.join(HERE, "python_worker.py"), *map(str, arguments)])
        self.batch = batch

    def run(self, work, files):
        if work.clients > 1:
            return self.ask(work.tokens, clients=files, tokens=work.window_tokens)
        more = {"batch": self.batch} if self.batch else {}
        return self.ask(work.tokens, file=files[0][0], tokens=work.window_tokens, **more)


MARGIN = "1.0"  # seconds of silence behind the audio


class Engines:
    """The engines by name, for one shape: its checkpoint, and a folder with what it was converted to."""

    def __init__(self, programs, checkpoint, made, threads):
        self.threads = threads
        # On a machine with more cores than the others are given, the server is not to take all of them.
        few = [] if os.cpu_count() == threads else ["--states", "1", "--threads", str(threads)]

        def imesli(kind, context="full"):
            return lambda *more: Imesli(programs["imesli"], f"{made}/ggml-{kind}.bin", context, more or few)

        def defaults(kind):
            return lambda: WhisperDefaults(programs["whisper-defaults"], f"{made}/ggml-{kind}.bin", threads)

        def faster(kind, workers=1, **more):
            return lambda: Python(
                "faster-whisper", f"{made}/ct2-{kind}", kind, workers, max(threads // workers, 1), **more)

        self.make = {
            "imesli-q8_0": imesli("q8_0"),
            "imesli-f16": imesli("f16"),
            "imesli-q5_0": imesli("q5_0"),
            "imesli-q8_0-margin": imesli("q8_0", MARGIN),
            "imesli-f16-margin": imesli("f16", MARGIN),
            "whisper-defaults-f16": defaults("f16"),
            "whisper-defaults-q8_0": defaults("q8_0"),
            "faster-int8": faster("int8"),
            "faster-int8-batched": faster("int8", batch=8),
            "faster-int8-2-workers": faster("int8", workers=2),
            "faster-float32": faster("float32"),
            "transformers": lambda: Python("transformers", checkpoint, threads),
        }

    @staticmethod
    def of(work, wanted):
        """The names of those that do this work."""
        only = {
            "faster-int8-batched": work.windows > 1,
            "faster-int8-2-workers": work.clients > 1,
            "transformers": work.name == "5s",
            # A full window has nothing to leave out.
            "imesli-q8_0-margin": work.seconds < WINDOW,
            "imesli-f16-margin": work.seconds < WINDOW,
        }
        return [name for name in wanted if only.get(name, True)]


OPTIONAL = ["faster-float32"]
NAMES = [
    "faster-int8", "faster-int8-batched", "faster-int8-2-workers", "imesli-q8_0", "imesli-f16", "imesli-q5_0",
    "imesli-q8_0-margin", "imesli-f16-margin", "whisper-defaults-f16", "whisper-defaults-q8_0", "transformers",
    *OPTIONAL]
