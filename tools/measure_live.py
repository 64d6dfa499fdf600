#!/usr/bin/env python3
"""How soon, how steady and how right the text of live audio is, on strings of digits with known times.

    pip install websockets numpy soundfile
    measure_live.py [--strings 10] [--words 10] [--gaps 0.05 0.45] [--pauses 0.1] [--streams 1] [--noise 40] [--seed 1]
        [--pid PID] [--insecure] [--option NAME=VALUE …] ws://127.0.0.1:16391 ../shared/data/fsdd

A string has so many spoken digits (clips of the test split, index 2 to 4), silence of --gaps seconds between them and,
with the probability of --pauses, of 0.8 to 2 s, over white noise that is --noise dB below the speech. It is sent as it
would be spoken, 100 ms at a time, and then once more as a file. --streams: so many at the same time, each with
--strings. --pid is the server's, for its processor time (Linux). --option: a field of `stream_start`, as JSON.

Latency is from the end of a word in the audio, by the clock of its 100 ms, until the client has the word: as committed
text, and as text that may still change. Words that were not heard right are left out of it. "taken back" is what was
shown as text that may change, and was another word or none at its place in the next message. Exits with 1 when
something is missing, or when the committed texts together are not the transcription.
"""
import argparse, asyncio, base64, io, glob, json, os, random, ssl, sys, time, uuid

import numpy as np
import soundfile
import websockets

RATE = 16000  # twice that of the clips
PIECE = RATE // 10
NAMES = "zero one two three four five six seven eight nine".split()


def load_clips(folder):
    """{speaker: {digit: [samples]}} of the test split, without the silence around the word."""
    clips = {}
    for path in sorted(glob.glob(f"{folder}/*.wav")):
        digit, speaker, index = os.path.basename(path)[:-4].split("_")
        if not 2 <= int(index) <= 4:
            continue
        x, rate = soundfile.read(path, dtype="float32")
        assert 2 * rate == RATE, path
        x = 2 * np.fft.irfft(np.fft.rfft(x), 2 * len(x)).astype(np.float32)
        level = np.sqrt(np.convolve(x * x, np.ones(160) / 160, "same"))
        loud = np.nonzero(level > level.max() * 0.01)[0]
        x = x[loud[0]:loud[-1] + 1]
        clips.setdefault(speaker, {}).setdefault(int(digit), []).append(x / np.abs(x).max() * 0.7)
    if not clips:
        sys.exit(f"there are no clips in {folder}")
    return clips


def digits(clips, rng, gaps, pauses, begin):
    """An endless string of one speaker: (silence before the word in seconds, samples, word)."""
    speaker, gap = rng.choice(sorted(clips)), begin
    while True:
        digit = rng.randrange(10)
        yield gap, rng.choice(clips[speaker][digit]), NAMES[digit]
        gap = rng.uniform(0.8, 2) if rng.random() < pauses else rng.uniform(*gaps)


def string(clips, args, number):
    """Samples as bytes, and the words with their ends in seconds."""
    rng = random.Random(f"live {args.seed} {number}")
    parts, words, at = [], [], 0
    for _, (gap, x, word) in zip(range(args.words), digits(clips, rng, args.gaps, args.pauses, rng.uniform(0.3, 0.6))):
        parts += [np.zeros(int(gap * RATE), np.float32), x * rng.uniform(0.6, 1)]
        at += len(parts[-2]) + len(x)
        words.append((at / RATE, word))
    return pcm(np.concatenate([*parts, np.zeros(RATE // 2, np.float32)]), rng, args.noise), words


def pcm(x, rng, decibels):
    """16-bit samples with noise."""
    level = np.sqrt(np.mean(x * x)) * 10 ** (-decibels / 20)
    x = x + np.random.default_rng(rng.getrandbits(32)).standard_normal(len(x)).astype(np.float32) * level
    return (np.clip(x, -1, 1) * 32767).astype("<i2").tobytes()


def distances(said, heard):
    """Rows of the table of edit distances."""
    ids = {word: i for i, word in enumerate({*said, *heard})}
    a, b = (np.array([ids[w] for w in words], int) for words in (said, heard))
    steps = np.arange(len(b) + 1)
    rows = [steps]
    for word in a:
        row = np.concatenate([[rows[-1][0] + 1], np.minimum(rows[-1][:-1] + (b != word), rows[-1][1:] + 1)])
        rows.append(np.minimum.accumulate(row - steps) + steps)
        yield rows.pop(0)
    yield rows.pop()


def word_errors(said, heard):
    *_, last = distances(said, heard)
    return int(last[-1])


def matches(said, heard):
    """Pairs of places at which both lists have the same word, by the least edit distance."""
    cost = list(distances(said, heard))
    i, j, pairs = len(said), len(heard), []
    while i and j:
        if cost[i][j] == cost[i - 1][j - 1] + (said[i - 1] != heard[j - 1]):
            i, j = i - 1, j - 1
            pairs += [(i, j)] * (said[i] == heard[j])
        elif cost[i][j] == cost[i - 1][j] + 1:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]


def connect(url, insecure):
    context = None
    if url.startswith("wss:"):
        context = ssl.create_default_context()
        if insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return websockets.connect(url, ssl=context, max_size=None, ping_timeout=None)


async def until(socket, wanted, messages=None):
    """The next message of a type; those before it are put into a list with their times."""
    async for text in socket:
        message = json.loads(text)
        if messages is not None:
            messages.append((time.monotonic(), message))
        if message["type"] == "error":
            raise RuntimeError(f"{message['code']}: {message['message']}")
        if message["type"] == wanted[0] and message.get(wanted[1]) == wanted[2]:
            return message
    raise RuntimeError("the server hung up")


async def speak(socket, audio):
    """Sends audio as fast as it is spoken: when that began, and when the end was told."""
    begun = time.monotonic()
    for number, at in enumerate(range(0, len(audio), 2 * PIECE), 1):
        await asyncio.sleep(begun + number * PIECE / RATE - time.monotonic())
        await socket.send(audio[at:at + 2 * PIECE])
    await socket.send(json.dumps({"type": "stream_stop"}))
    return begun, time.monotonic()


async def play(args, audio):
    """One string live: when it began, when its end was told, and all that was said, with times."""
    async with connect(args.url, args.insecure) as socket:
        stream_id, messages = str(uuid.uuid4()), []
        start = {"type": "stream_start", "stream_id": stream_id, "sample_rate": RATE, **args.options}
        await socket.send(json.dumps(start))
        await until(socket, ("state", "state", "streaming"))
        speaker = asyncio.create_task(speak(socket, audio))
        await until(socket, ("transcription", "audio_id", stream_id), messages)
        return *await speaker, messages


async def whole(args, audio):
    """The same as a file."""
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(audio, "<i2"), RATE, format="WAV", subtype="PCM_16")
    async with connect(args.url, args.insecure) as socket:
        audio_id = str(uuid.uuid4())
        data = base64.b64encode(file.getvalue()).decode()
        await socket.send(json.dumps({"type": "audio", "audio_id": audio_id, "audio_data": data}))
        return (await until(socket, ("transcription", "audio_id", audio_id)))["transcription"]


class Figures:
    """What was measured, over all strings."""

    def __init__(self):
        self.committed, self.first, self.volatile, self.stop = [], [], [], []
        self.shown = self.taken_back = self.said = self.live_errors = self.whole_errors = self.different = 0

    def add(self, begun, stopped, messages, words):
        said = [word for _, word in words]
        partials = [(t - begun, m) for t, m in messages if m["type"] == "partial"]
        ended, transcription = messages[-1][0], messages[-1][1]["transcription"]
        committed, before, since = "", [], {}  # since: when a place first had a word, without change
        stays = []  # when each word was committed
        for t, m in partials:
            committed += m["committed"]
            fixed, all_of_it = committed.split(), (committed + m["volatile"]).split()
            stays += [t] * (len(fixed) - len(stays))
            gone = sum(all_of_it[i:i + 1] != [word] for i, word in before)
            self.taken_back += gone
            for i, word in enumerate(all_of_it):
                if since.get(i, (None,))[0] != word:
                    since[i] = (word, t)
                    self.shown += i >= len(fixed)
            for i in [i for i in since if i >= len(all_of_it)]:
                del since[i]
            before = [(i, word) for i, word in enumerate(all_of_it) if i >= len(fixed)]
        self.different += committed != transcription
        self.said += len(said)
        self.live_errors += word_errors(said, transcription.split())
        for i, j in matches(said, committed.split()):
            end = words[i][0]
            self.committed.append(stays[j] - end)
            self.volatile.append(since[j][1] - end)
            self.first += [stays[j] - end] * (i == 0)
        self.stop.append(ended - stopped)


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(args):
    clips, figures, failed = load_clips(args.data), Figures(), []
    strings = [string(clips, args, number) for number in range(args.streams * args.strings)]

    async def one(stream):
        await asyncio.sleep(stream * 0.37)  # people don't speak in step
        for audio, words in strings[stream::args.streams]:
            try:
                figures.add(*await play(args, audio), words)
            except Exception as error:  # Whatever it was: it is one string less.
                failed.append(f"{type(error).__name__}: {error}")

    before = processor_seconds(args.pid) if args.pid else 0
    await asyncio.gather(*(one(stream) for stream in range(args.streams)))
    used = processor_seconds(args.pid) - before if args.pid else None
    for audio, words in strings:
        figures.whole_errors += word_errors([word for _, word in words], (await whole(args, audio)).split())
    seconds = sum(len(audio) for audio, _ in strings) / 2 / RATE
    table(args, figures, seconds, used, sum(len(words) for _, words in strings))
    for line in failed:
        print(f"FAILED: {line}", file=sys.stderr)
    return bool(failed or figures.different)


def table(args, f, seconds, used, all_words):
    def spread(name, values):
        cells = [f"{value:.2f} s" for value in (np.median(values), np.percentile(values, 90), np.max(values))] \
            if values else ["—"] * 3
        print(f"| {name} ({len(values)}) | {' | '.join(cells)} |")

    print(f"| {args.streams} × {args.strings} strings of {args.words} words, {seconds:.0f} s | median | 90 % | most |")
    print("|---|---|---|---|")
    spread("committed, after the end of the word", f.committed)
    spread("committed, first word of a stream", f.first)
    spread("first shown in the form that stays", f.volatile)
    spread("`transcription`, after `stream_stop`", f.stop)
    share = f"{f.taken_back / max(f.shown, 1):.1%} ({f.taken_back} of {f.shown})"
    print(f"| words that may change taken back | {share} | | |")
    if used is not None:
        print(f"| processor seconds for a second of audio | {used / seconds:.2f} | | |")
    print(f"| word errors, live | {f.live_errors / max(f.said, 1):.2%} ({f.live_errors} of {f.said}) | | |")
    print(f"| word errors, as a file | {f.whole_errors / all_words:.2%} ({f.whole_errors} of {all_words}) | | |")
    print(f"| streams whose `committed` are not their `transcription` | {f.different} of {len(f.stop)} | | |")


def option(text):
    name, value = text.split("=", 1)
    return name, json.loads(value)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--strings", type=int, default=10)
    parser.add_argument("--words", type=int, default=10)
    parser.add_argument("--gaps", type=float, nargs=2, default=(0.05, 0.45))
    parser.add_argument("--pauses", type=float, default=0.1)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--noise", type=float, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pid", type=int)
    parser.add_argument("--insecure", action="store_true")
    parser.add_argument("--option", type=option, action="append", default=[])
    parser.add_argument("url")
    parser.add_argument("data")
    arguments = parser.parse_args()
    arguments.options = dict(arguments.option)
    sys.exit(asyncio.run(measure(arguments)))
