"""A server of a script's own on this machine: started, killed, started again, watched. For chaos.py and hostile.py."""
import pathlib, re, signal, socket, subprocess, time

root = pathlib.Path(__file__).resolve().parent.parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`imesli` on 127.0.0.1, on a port that it keeps over its lives."""

    def __init__(self, imesli, checkpoint, log, *arguments):
        self.port, self.log = free_port(), pathlib.Path(log)
        self.command = [imesli, "--host", "127.0.0.1", "--port", str(self.port), "--checkpoint", checkpoint, *arguments]
        self.process = None

    def start(self, patience=120):
        """Waits until it listens. Its log begins anew."""
        with self.log.open("w") as log:
            self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=log, cwd=root)
        end = time.monotonic() + patience
        while not re.search("listening on", self.log.read_text(errors="replace")):
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the server did not start:\n{self.log.read_text(errors='replace')}")
            time.sleep(0.05)

    def kill(self, how=signal.SIGKILL, patience=60):
        """Ends it, and returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(patience)

    def is_alive(self):
        return self.process.poll() is None

    def memory(self):
        """What the process holds of its own (RssAnon), in MB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) * 1.024 / 1000

    def descriptors(self):
        return len(list(pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir()))
