"""What the engines are given to do: recordings of speech, and how many tokens are wanted of them."""
import dataclasses, glob, math, os, wave

import numpy as np

RATE = 16000
WINDOW = 30  # seconds
TOKENS_PER_SECOND = 4
LONG = 300  # seconds, the file of 5 minutes
CLIENTS, MESSAGES, MESSAGE_SECONDS = 8, 2, 5


@dataclasses.dataclass(frozen=True)
class Work:
    """One client with a recording, or several at once with messages."""

    name: str
    seconds: int  # of the recording, or of each message
    clients: int = 1

    @property
    def audio_seconds(self):
        return self.seconds if self.clients == 1 else self.clients * MESSAGES * self.seconds

    @property
    def window_tokens(self):
        """The tokens that a full window, or a shorter recording, is forced to."""
        return min(self.seconds, WINDOW) * TOKENS_PER_SECOND

    @property
    def tokens(self):
        """The tokens of all of it."""
        return self.audio_seconds * TOKENS_PER_SECOND

    @property
    def windows(self):
        return math.ceil(self.seconds / WINDOW)

    @property
    def title(self):
        if self.clients > 1:
            return f"{self.clients} clients at once, {MESSAGES} × {self.seconds} s each"
        return f"{self.seconds} s" if self.seconds < 60 else f"{self.seconds // 60} min"

    def default_rounds(self):
        if self.clients > 1:
            return 3
        return 5 if self.seconds <= 10 else 3 if self.seconds <= WINDOW else 2


WORKS = {work.name: work for work in (
    *(Work(f"{seconds}s", seconds) for seconds in (1, 3, 5, 10, 20, 30)),
    Work("5min", LONG),
    Work("clients", MESSAGE_SECONDS, CLIENTS),
)}


def read_wav(path):
    """Samples at 16 kHz between -1 and 1; of a WAV file with 16-bit mono at 8 or 16 kHz."""
    with wave.open(path) as file:
        assert file.getsampwidth() == 2 and file.getnchannels() == 1, path
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    if rate == RATE:
        return samples
    assert 2 * rate == RATE, path
    return 2 * np.fft.irfft(np.fft.rfft(samples), 2 * len(samples)).astype(np.float32)


def write_wav(path, samples):
    with wave.open(path, "wb") as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


class Audio:
    """Recordings cut from five minutes of speech, and where it comes from."""

    def __init__(self, folder, shared):
        sources = sorted(glob.glob(f"{shared}/data/speech/*.wav")) + sorted(glob.glob(f"{shared}/data/fsdd/*_[234].wav"))
        self.source = "../shared/data (a speech of 11 s, then spoken digits)"
        if not sources:
            sources = sorted(glob.glob("tests/data/*-[0-9]*.wav"))
            sources = [path for path in sources if os.path.basename(path).count("-") == 1]
            self.source = "tests/data (spoken digits, again and again)"
        if not sources:
            raise SystemExit("there is no speech: neither ../shared/data nor tests/data has any")
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        wanted = max(LONG, CLIENTS * MESSAGE_SECONDS) * RATE
        parts, length, gap = [], 0, np.zeros(RATE // 5, np.float32)
        while length < wanted:
            for path in sources:
                parts += [read_wav(path), gap]
                length += len(parts[-2]) + len(gap)
        self.speech = np.concatenate(parts)[:wanted]

    def file(self, seconds, begin=0):
        """The path of so many seconds of it."""
        path = os.path.join(self.folder, f"{seconds}s-from-{begin}s.wav")
        write_wav(path, self.speech[begin * RATE:(begin + seconds) * RATE])
        return path

    def clients(self, work):
        """For each client its messages: paths."""
        return [[self.file(work.seconds, client * work.seconds)] * MESSAGES for client in range(work.clients)]
