#!/usr/bin/env python3
"""How many machines do 100, 1,000 and 10,000 people want who speak at the same time, and what gets tight next?

    scale_limits.py [--final S] [--shown S] [--price USD] [--seconds S] [--stations N]    prints Markdown
    scale_limits.py --write docs/scale.md        puts it between the marks there
    scale_limits.py --check docs/scale.md        exits with 1 where it is not what stands there

A simulation of events, with fixed seeds, of live streams on the workers that they stay with. It follows src/asr/live/schedule.rs
and stream.rs: a phrase is heard every 0.4 s and after a rest of one and a half times what the last window took, once more when
the voice pauses for 0.25 s, and is over after 0.7 s; phrases go ahead of partials; a partial gives way to its phrase. Streams
that get rarer partials ask for less: so a worker is never overrun by partials, and what grows is the time until a word is
shown. Where each number comes from stands beside it: MEASURED, CODE (read there), or ASSUMED. Nothing here is a measurement
of a cluster.
"""
import argparse, collections, heapq, math, pathlib, random, sys

# MEASURED, docs/benchmarks.md: seconds for a message of so many seconds, whisper-small q8_0, two cores of a Xeon, beam 5, four tokens
# for each second of audio.
MESSAGE = {
    "all 30 s computed": [(1, 1.03), (3, 1.17), (5, 1.30), (10, 1.53), (20, 2.07), (30, 2.65)],
    "1 s margin": [(1, 0.13), (3, 0.28), (5, 0.37), (10, 0.69), (20, 1.61), (30, 2.65)],
}
TOKENS = 4.0  # for each second of audio: as in that benchmark
# MEASURED, docs/performance.md, on another machine (EPYC): a step of the search with five beams. Greedy steps read the same
# weights, and are taken to be no faster. Times of words, which live windows have as well, are not in either figure.
STEP = 0.0104
CORES = 2  # of the worker that was measured
WORKER_MB = 472  # MEASURED, docs/benchmarks.md
# CODE: src/asr/live/schedule.rs, stream.rs; src/serve/protocol (stream_start).
EARLY, REST, SURE, SILENCE, LONGEST, MARGIN = 0.4, 1.5, 0.25, 0.7, 20.0, 1.0
# CODE: samples of 16 bits go to the worker, the whole phrase so far each time.
BYTES = 32_000
# CODE: src/serve/streams.rs: what a stream has set aside, with --max-stream-backlog 60.
STREAM_BYTES = 60 * 64_000 + (8 << 20)
# MEASURED, docs/voice.md: 9.5 s of a core for an hour of audio; docs/operations.md: 10,000 idle connections, 407 - 54 MB.
DETECTOR = 9.5 / 3600
CONNECTION_MB = (407 - 54) / 10_000
# MEASURED, docs/scale.md: of a core for each stream, the detector included.
DOOR_SHARE = 0.01
# ASSUMED.
SPEECH, SPREAD, PAUSE = 3.0, 0.6, 1.0  # seconds: voiced stretches (mean, and sigma of their logarithm); pauses (mean)
UNSURE = 1.0  # seconds before the last look that are not committed yet, and are searched for again
JITTER = 0.1  # of a window's time, up or down
HOP = 0.004  # seconds that the broker adds to a window
ANSWER, HEAD = 3_000, 600  # bytes of a window's answer, and around its audio
FRAME_OVERHEAD = 90  # bytes of WebSocket, TLS, TCP and IP around a frame of 100 ms
DOOR_STREAMS = 500  # for each door
BROKER_MB_S = 1_000  # that a broker passes on, of 1,250 that 10 Gbit/s are


def between(table, x):
    """A straight line from point to point; level outside."""
    x = min(max(x, table[0][0]), table[-1][0])
    for (x0, y0), (x1, y1) in zip(table, table[1:]):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def encode(table, length):
    """What of a message's time is not its search."""
    return max(between(table, length) - STEP * TOKENS * min(max(length, 1), 30), 0.02)


def pieces(rng, until):
    """What somebody says: phrases, each with where it starts, when it is due, and where its voice pauses and goes on."""
    at, found, open_ = rng.uniform(0, 4), [], None
    free = 0.0
    while at < until:
        end = at + min(max(rng.lognormvariate(math.log(SPEECH) - SPREAD**2 / 2, SPREAD), 0.2), 30)
        resumes = end + 0.1 + rng.expovariate(1 / PAUSE)
        if open_ is None:
            open_ = {"start": max(free, at - MARGIN), "seen": at + 0.064, "pauses": []}
        while end - open_["start"] > LONGEST:  # cut behind a word in its second half
            due = open_["start"] + LONGEST
            at_cut = open_["start"] + LONGEST * rng.uniform(0.55, 0.95)
            found.append(open_ | {"due": due, "end": at_cut, "last": None})
            open_ = {"start": at_cut, "seen": due, "pauses": []}
        open_["pauses"].append((end, resumes))
        if resumes - end >= SILENCE:
            free = end + SILENCE
            found.append(open_ | {"due": free, "end": free, "last": end})
            open_ = None
        at = resumes
    return found


class Stream:
    def __init__(self, rng, until):
        self.todo = collections.deque(pieces(rng, until))
        self.looked, self.cost = 0.0, 0.0
        self.running, self.guess = None, None  # the window; the pause that was heard to its end

    def next(self, now, finished):
        """What is to be heard now, or when to ask again: (kind, start, end, pieces) or a time or None."""
        while self.todo:
            piece = self.todo[0]
            kind = self.running and self.running["kind"]
            if now < piece["due"]:
                return None if kind else self.early(piece, now)
            if kind == "phrase" or (kind == "guess" and self.running["pause"] == piece["last"]):
                return None
            if piece["last"] is not None and self.guess == piece["last"]:
                finished(now - piece["last"])
                self.todo.popleft()
                continue
            count, end = 1, piece["end"]
            if piece["last"] is not None:  # who is late has several heard at once
                for later in list(self.todo)[1:]:
                    if later["due"] > now or later["last"] is None or later["end"] - piece["start"] > LONGEST:
                        break
                    count, end = count + 1, later["end"]
            else:
                end = piece["due"]
            return {"kind": "phrase", "start": piece["start"], "end": end, "count": count, "pause": None}
        return None

    def early(self, piece, now):
        if now < piece["seen"]:
            self.looked = max(self.looked, piece["seen"])
            return piece["seen"]
        voice_end = now
        for end, resumes in piece["pauses"]:
            if end <= now < resumes:
                voice_end = end
                if self.guess == end:
                    return min(resumes, piece["due"])
        rested = self.looked + REST * self.cost
        if now < rested:
            return min(rested, piece["due"])
        if now - voice_end >= SURE:
            return {"kind": "guess", "start": piece["start"], "end": now, "count": 0, "pause": voice_end}
        if now - self.looked >= EARLY - 1e-9:
            return {"kind": "partial", "start": piece["start"], "end": now, "count": 0, "pause": None}
        sure = voice_end + SURE if voice_end < now else math.inf
        return min(self.looked + EARLY, sure, piece["due"])


class Totals:
    def __init__(self):
        self.final, self.shown, self.windows, self.audio, self.busy, self.time = [], [], 0, 0.0, 0.0, 0.0


def simulate(table, streams, servers, seconds, seed, totals):
    """Streams on one station of so many servers: what was seen goes to `totals`."""
    rng = random.Random(seed)
    everybody = [Stream(random.Random(f"{seed}/{index}"), seconds) for index in range(streams)]
    waiting = {"phrase": collections.deque(), "early": collections.deque()}
    free, order, events = servers, 0, [(0.0, index, "ask", stream, None) for index, stream in enumerate(everybody)]
    order = len(events)

    def push(at, what, stream, job):
        nonlocal order
        order += 1
        heapq.heappush(events, (at, order, what, stream, job))

    def begin(now):
        nonlocal free
        while free and (waiting["phrase"] or waiting["early"]):
            stream, job = (waiting["phrase"] or waiting["early"]).popleft()
            if job["gone"]:
                continue
            length = job["end"] - job["start"]
            tail = min(length, UNSURE + max(job["end"] - job["looked"], 0))
            first = encode(table, length)
            job["encoded"] = now + first
            took = HOP + (first + STEP * (TOKENS * tail + 2)) * rng.uniform(1 - JITTER, 1 + JITTER)
            free -= 1
            job["begun"] = now
            push(now + took, "done", stream, job)

    heapq.heapify(events)
    while events:
        now, _, what, stream, job = heapq.heappop(events)
        if now > seconds:
            break
        if what == "free":
            free += 1
            totals.busy += now - job["begun"]
        if what == "done":
            if job["stopped"]:
                continue
            free += 1
            totals.busy += now - job["begun"]
            stream.running, stream.cost = None, now - job["asked"]
            if job["kind"] == "phrase":
                for _ in range(job["count"]):
                    piece = stream.todo.popleft()
                    if piece["last"] is not None:
                        totals.final.append(now - piece["last"])
                totals.shown.append(now - min(job["looked"], job["end"]))
                stream.looked = max(stream.looked, job["end"])
            else:
                totals.shown.append(now - job["looked"])
                stream.looked = job["end"]
                if job["kind"] == "guess":
                    stream.guess = job["pause"]
        if what in ("ask", "done"):
            task = stream.next(now, totals.final.append)
            if isinstance(task, dict):
                if stream.running:  # gives way: at once, or when its encoder is done
                    old = stream.running
                    old["gone"] = True
                    if "begun" in old:
                        old["stopped"] = True
                        push(max(now, old["encoded"]), "free", stream, old)
                task |= {"asked": now, "looked": stream.looked, "gone": False, "stopped": False}
                stream.running = task
                waiting["phrase" if task["kind"] == "phrase" else "early"].append((stream, task))
                totals.windows += 1
                totals.audio += task["end"] - task["start"]
            elif task is not None:
                push(max(task, now + 1e-6), "ask", stream, None)
            if stream.running and stream.todo and now < stream.todo[0]["due"]:
                push(stream.todo[0]["due"], "ask", stream, None)
        begin(now)
    totals.time += seconds


def quantile(values, share):
    values = sorted(values)
    return values[min(int(share * len(values)), len(values) - 1)] if values else math.inf


def poisson(rng, mean):
    count, product = 0, rng.random()
    while product > math.exp(-mean):
        count, product = count + 1, product * rng.random()
    return count


def trial(table, share, placement, options):
    """`share` streams for each worker, placed evenly, at random, or heard by whoever is free: (totals, whether it will do)."""
    totals, rng = Totals(), random.Random(f"{options.seed}/{placement}")
    count = options.stations
    if share * count < 1:
        return totals, False
    if placement == "any":
        simulate(table, round(share * count), count, options.seconds, f"{options.seed}/any", totals)
    else:
        for station in range(count):
            streams = int(share) + (station < (share - int(share)) * count) if placement == "evenly" else poisson(rng, share)
            simulate(table, streams, 1, options.seconds, f"{options.seed}/{station}", totals)
    will_do = quantile(totals.final, 0.95) <= options.final and quantile(totals.shown, 0.95) <= options.shown
    return totals, will_do


def capacity(table, placement, options):
    """The most streams for each worker, in quarters, that will do, with what was seen then."""
    low, high = 0, 1  # in quarters of a stream; `low` will do
    while trial(table, high / 4, placement, options)[1] and high < 256:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if trial(table, middle / 4, placement, options)[1] else (low, middle)
    return low / 4, trial(table, low / 4, placement, options)[0]


def range_of(values):
    return " s, ".join(f"{quantile(values, share):.1f}" for share in (0.5, 0.95)) + " s"


def report(options):
    lines = [
        "| streams for each worker | encoder | windows/s for each stream | audio of a window, mean | a word is shown within: 50 %, 95 % "
        "| a phrase is final after its last word: 50 %, 95 % | workers busy |",
        "|---|---|---|---|---|---|---|",
    ]
    for share in (1, 2, 4, 8):
        for mode, table in MESSAGE.items():
            seen = trial(table, share, "evenly", options)[0]
            time = options.seconds * share * options.stations
            lines.append(
                f"| {share} | {mode} | {seen.windows / time:.2f} | {seen.audio / seen.windows:.1f} s | {range_of(seen.shown)} "
                f"| {range_of(seen.final)} | {seen.busy / (options.seconds * options.stations):.0%} |"
            )
    found = {}
    for mode, table in MESSAGE.items():
        for placement in ("evenly", "random", "any"):
            found[mode, placement] = capacity(table, placement, options)
    lines += [
        "",
        "| a worker's streams are placed | encoder | streams for each worker that will do |",
        "|---|---|---|",
    ]
    names = {"evenly": "evenly", "random": "at random", "any": "not at all: whoever is free hears the next window"}
    lines += [f"| {names[placement]} | {mode} | {format(share, 'g') if share else 'none'} |" for (mode, placement), (share, _) in found.items()]
    lines += [
        "",
        "| speakers | encoder | workers | the same, placed at random | their cores | their memory | windows/s | broker, in and out each | doors | their cores "
        "| set aside for streams | from clients | a month |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for speakers in (100, 1_000, 10_000):
        for mode in MESSAGE:
            share, seen = found[mode, "evenly"]
            if not share:
                sys.exit(f"{mode}: not even one stream for each worker will do")
            by_chance = found[mode, "random"][0]
            by_chance = f"{math.ceil(speakers / by_chance):,}" if by_chance else "none will do"
            time = options.seconds * share * options.stations
            workers = math.ceil(speakers / share)
            windows = speakers * seen.windows / time
            broker = speakers * (seen.audio * BYTES + seen.windows * (HEAD + ANSWER)) / time / 1e6
            doors = max(2, math.ceil(speakers / DOOR_STREAMS))
            door_cores = math.ceil(speakers * DOOR_SHARE)
            clients = speakers * (BYTES + 10 * FRAME_OVERHEAD) / 1e6
            brokers = 3 * CORES * max(1, math.ceil(broker / BROKER_MB_S))
            cores = workers * CORES + max(door_cores, doors) + brokers
            lines.append(
                f"| {speakers:,} | {mode} | {workers:,} | {by_chance} | {workers * CORES:,} | {workers * WORKER_MB / 1000:,.0f} GB | {windows:,.0f} "
                f"| {broker:,.0f} MB/s | {doors} | {door_cores} | {speakers * STREAM_BYTES / 1e9:,.1f} GB | {clients:,.1f} MB/s "
                f"| {cores * options.price * 730:,.0f} USD |"
            )
    lines += [
        "",
        f"A word has to be shown within {options.shown:g} s and a phrase to be final {options.final:g} s after its last word, each for 95 of 100; a "
        f"core costs {options.price:g} USD an hour, 730 hours a month, brokers and doors included, traffic and disks not; "
        f"{options.stations} workers were simulated for {options.seconds:g} s.",
    ]
    return "\n".join(lines)


BEGIN, END = "<!-- tools/scale_limits.py begins -->", "<!-- tools/scale_limits.py ends -->"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--final", type=float, default=3.0, metavar="S", help="a phrase is final so long after its last word (3)")
    parser.add_argument("--shown", type=float, default=5.0, metavar="S", help="a word is shown within (5)")
    parser.add_argument("--price", type=float, default=0.04, metavar="USD", help="of a core for an hour (0.04): an assumption")
    parser.add_argument("--seconds", type=float, default=120.0, metavar="S", help="that are simulated (120)")
    parser.add_argument("--stations", type=int, default=40, metavar="N", help="workers that are simulated (40)")
    parser.add_argument("--seed", type=int, default=1)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--write", type=pathlib.Path, metavar="FILE", help="put it between the marks in this file")
    mode.add_argument("--check", type=pathlib.Path, metavar="FILE", help="compare it with what is between the marks")
    options = parser.parse_args()
    text = report(options)
    path = options.write or options.check
    if path is None:
        print(text)
        return
    page = path.read_text()
    before, begin, rest = page.partition(BEGIN)
    there, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{path} has no marks: {BEGIN} … {END}")
    if options.write:
        path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
    elif there.strip() != text.strip():
        sys.exit(f"{path} has other figures than these: tools/scale_limits.py --write {path}\n\n{text}")
    else:
        print(f"{path}: as computed")


if __name__ == "__main__":
    main()
