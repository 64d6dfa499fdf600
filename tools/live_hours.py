#!/usr/bin/env python3
"""Hours of live audio in one stream, faster than it is spoken: does the server's memory stay flat, is the text right?

    pip install websockets numpy soundfile
    live_hours.py --pid PID [--hours 4] [--ahead 26] [--flat 5] [--most-errors 100] [--insecure]
        ws://127.0.0.1:16391 ../shared/data/fsdd

The audio is strings of digits of many speakers with pauses, as in measure_live.py. No more is sent than --ahead
seconds behind the start of a phrase that is not complete: the server gives a stream up when that is 60 s. --pid is the
server's, whose resident memory is read at each partial (Linux). It comes and goes by some MB with each phrase, so a minute
of audio has what is usual in it (the median) and a most. Exits with 1 when a later minute's is more than --flat percent
above the tenth minute's, or its most above the most of the first ten; when the texts that were committed are not the
transcription; or with more than --most-errors percent of words wrong. Of the default server, four hours are the longest
stream.
"""
import argparse, asyncio, json, random, statistics, sys, time, uuid

import numpy as np

from measure_live import RATE, connect, digits, load_clips, pcm, word_errors

SETTLED = 10  # minutes of audio, after which memory is to be flat


def recording(clips, hours, said):
    """Pieces of audio of some seconds, a speaker each, up to so many hours. What is said in them goes into a list."""
    rng, left = random.Random("live hours"), int(hours * 3600 * RATE)
    while left > 0:
        parts = []
        words = digits(clips, rng, (0.05, 0.45), 0.1, rng.uniform(0.3, 1.5))
        for _, (gap, x, word) in zip(range(rng.randint(4, 16)), words):
            if left < int(gap * RATE) + len(x):
                left = 0
                break
            parts += [np.zeros(int(gap * RATE), np.float32), x * rng.uniform(0.6, 1)]
            left -= len(parts[-2]) + len(x)
            said.append(word)
        if parts:
            yield pcm(np.concatenate(parts), rng, 40)


def resident(pid):
    """VmRSS in MB, and of it what is the process's own (RssAnon)."""
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return tuple(int(fields[name].split()[0]) * 1.024 / 1000 for name in ("VmRSS", "RssAnon"))


class Stream:
    def __init__(self, args):
        self.args, self.committed, self.transcription = args, [], None
        self.waiting, self.new, self.failed = 0.0, asyncio.Event(), None
        self.memory = {}  # by the minute of audio: (VmRSS, RssAnon) at each partial

    async def listen(self, socket):
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "partial":
                self.committed.append(message["committed"])
                self.waiting = max(self.waiting, message["start"])
                self.sample()
            elif message["type"] == "error":
                self.failed = f"{message['code']}: {message['message']}"
            elif message["type"] == "transcription":
                self.transcription = message["transcription"]
            self.new.set()
            if self.transcription is not None or self.failed:
                return
        self.failed = "the server hung up"
        self.new.set()

    def sample(self):
        minute, now = int(self.waiting / 60), resident(self.args.pid)
        if minute not in self.memory:
            if self.memory and minute % 10 == 0:
                print("%d min: %.1f MB resident, %.1f MB its own" % (minute, *now), file=sys.stderr)
            self.memory[minute] = []
        self.memory[minute].append(now)

    async def speak(self, socket, pieces):
        sent = 0.0
        size = RATE // 10 * 2  # 100 ms
        for frame in (piece[at:at + size] for piece in pieces for at in range(0, len(piece), size)):
            sent += len(frame) / 2 / RATE
            while sent > self.waiting + self.args.ahead and not self.failed:
                self.new.clear()
                await self.new.wait()
            if self.failed:
                return sent
            await socket.send(frame)
        await socket.send(json.dumps({"type": "stream_stop"}))
        return sent


async def main(args):
    said, stream, begun = [], Stream(args), time.monotonic()
    async with connect(args.url, args.insecure) as socket:
        start = {"type": "stream_start", "stream_id": str(uuid.uuid4()), "sample_rate": RATE}
        await socket.send(json.dumps(start))
        listener = asyncio.create_task(stream.listen(socket))
        seconds = await stream.speak(socket, recording(load_clips(args.data), args.hours, said))
        await listener
    took = time.monotonic() - begun
    if stream.failed:
        sys.exit(f"after {stream.waiting:.0f} s of audio: {stream.failed}")
    errors = word_errors(said, stream.transcription.split()) / len(said)
    same = "".join(stream.committed) == stream.transcription
    print(f"{seconds / 3600:.2f} h of audio in {took / 3600:.2f} h, {len(said)} words, {errors:.2%} of them wrong")
    print(f"the texts that were committed are {'' if same else 'NOT '}the transcription")
    wrong = not same or 100 * errors > args.most_errors
    first = [minute for minute in stream.memory if minute <= SETTLED]
    later = [minute for minute in stream.memory if minute > SETTLED]
    if not later:
        sys.exit(f"under {SETTLED} minutes there is nothing to say of the memory")
    for name, column in (("resident", 0), ("of it the process's own", 1)):
        of = lambda how, minutes: [how(sample[column] for sample in stream.memory[minute]) for minute in minutes]
        for what, how, before in (("usual", statistics.median, first[-1:]), ("most", max, first)):
            then, since = max(of(how, before)), of(how, later)
            print(f"{name}, {what} of a minute: {then:.1f} MB {'in' if what == 'usual' else 'up to'} the tenth, then "
                  f"{min(since):.1f} to {max(since):.1f} MB ({max(since) / then - 1:+.1%}), {since[-1]:.1f} MB in the last")
            wrong |= column == 0 and max(since) > then * (1 + args.flat / 100)
    sys.exit(wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--hours", type=float, default=4)
    parser.add_argument("--ahead", type=float, default=26)
    parser.add_argument("--flat", type=float, default=5)
    parser.add_argument("--most-errors", type=float, default=100)
    parser.add_argument("--insecure", action="store_true")
    parser.add_argument("url")
    parser.add_argument("data")
    asyncio.run(main(parser.parse_args()))
