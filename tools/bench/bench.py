#!/usr/bin/env python3
"""Measures imesli beside other engines and writes docs/benchmarks.md. `make bench` runs it, by tools/bench.sh.

    make bench BENCH_ARGS="--shapes small --rounds 3"

Results are kept in target/bench/results.json after each work: what was measured before stays in it until the same work
of the same shape is measured again, and --render writes the page from it.
"""
import argparse, datetime, json, os, shlex, signal, sys

import costs, machine, report, speed
from engines import NAMES, OPTIONAL, Engines, Wrong
from work import WORKS, Audio

SHAPES = ["tiny", "base", "small"]
QUICK = dict(shapes=["tiny"], works=["1s", "3s", "5s", "costs"], rounds=1)


def choices(known):
    def parse(text):
        names = [name for name in text.replace(",", " ").split() if name]
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}; there are {', '.join(known)}")
        return names
    return parse


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    works = [*WORKS, "costs"]
    parser.add_argument("--shapes", type=choices(SHAPES), help=f"of {','.join(SHAPES)} [default: all]")
    parser.add_argument("--works", type=choices(works), help=f"of {','.join(works)} [default: all]. costs: memory, start, "
                        "size, conversion, and the server's own time")
    parser.add_argument("--engines", type=choices(NAMES), help=f"of {','.join(NAMES)} "
                        f"[default: all but {','.join(OPTIONAL)}]. Ratios need faster-int8")
    parser.add_argument("--rounds", type=int, help="[default: 5 up to 10 s, 3 up to 30 s and for clients, 2 for 5 min]")
    parser.add_argument("--threads", type=int, default=2, help="[default: 2]")
    parser.add_argument("--quick", action="store_true", help="a trial: tiny, short works, one round; writes "
                        "target/bench/quick.md unless --out says otherwise")
    parser.add_argument("--render", action="store_true", help="measure nothing: write the page from the results")
    parser.add_argument("--results", help="[default: results.json in the bench folder, quick.json with --quick]")
    parser.add_argument("--out", help="[default: docs/benchmarks.md]")
    args = parser.parse_args()
    folder = os.environ["BENCH_FOLDER"]
    for name, value in QUICK.items():
        if args.quick and getattr(args, name) is None:
            setattr(args, name, value)
    args.shapes, args.works = args.shapes or SHAPES, args.works or works
    args.engines = args.engines or [name for name in NAMES if name not in OPTIONAL]
    args.results = args.results or os.path.join(folder, "quick.json" if args.quick else "results.json")
    args.out = args.out or (os.path.join(folder, "quick.md") if args.quick else "docs/benchmarks.md")
    if args.rounds is not None and args.rounds < 1:
        parser.error("--rounds must be 1 or more")
    return args


def command():
    """What was run, without the names of folders of this machine."""
    words, given = [], iter(sys.argv[1:])
    for word in given:
        if word in ("--out", "--results"):
            next(given, None)
        elif not word.startswith(("--out=", "--results=")):
            words.append(word)
    return f"make bench BENCH_ARGS={shlex.quote(shlex.join(words))}" if words else "make bench"


def say(line):
    print(f"{datetime.datetime.now():%H:%M:%S} {line}", file=sys.stderr, flush=True)


class Results:
    """What has been measured so far, on disk after each step."""

    def __init__(self, path):
        self.path, self.all = path, {"runs": [], "shapes": {}}
        if os.path.exists(path):
            with open(path) as file:
                self.all = json.load(file)
        self.run = None

    def begin(self, **run):
        self.all["runs"].append(run)
        self.run = len(self.all["runs"]) - 1

    def put(self, shape, work, values):
        self.all["shapes"].setdefault(shape, {})[work] = {"run": self.run, **values}
        part = self.path + ".part"
        with open(part, "w") as file:
            json.dump(self.all, file, indent=1)
        os.replace(part, self.path)


def measure_shape(shape, args, programs, audio, results):
    folder = os.environ["BENCH_FOLDER"]
    checkpoint = os.path.join(os.environ["BENCH_CHECKPOINTS"], shape)
    if not os.path.exists(os.path.join(checkpoint, "config.json")):
        sys.exit(f"there is no checkpoint {checkpoint}: tools/bench.sh makes it, or set BENCH_CHECKPOINTS")
    made = os.path.join(folder, shape)
    conversions = costs.convert(programs, checkpoint, made, args.engines, say)
    engines = Engines(programs, checkpoint, made, args.threads)
    if "costs" in args.works:
        found = {
            "conversions": conversions,
            "memory": costs.memory(engines, args.engines, audio, say),
            "starts": costs.starts(engines, args.engines, audio, say),
            "sizes": costs.sizes(programs),
        }
        if "imesli-q8_0" in args.engines:
            found["own_time"] = costs.own_time(engines, audio, say)
        results.put(shape, "costs", found)
    for name in [name for name in args.works if name != "costs"]:
        work = WORKS[name]
        names = engines.of(work, args.engines)
        rounds = args.rounds or work.default_rounds()
        results.put(shape, name, speed.measure(engines, work, names, audio, rounds, say))


def main():
    args = arguments()
    # As after Ctrl-C, the engines are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = Results(args.results)
    if not args.render:
        programs = {
            "imesli": os.environ["IMESLI"],
            "convert": os.environ["CONVERT"],
            "whisper-defaults": os.environ["WHISPER_DEFAULTS"],
        }
        audio = Audio(os.path.join(os.environ["BENCH_FOLDER"], "audio"), "../shared")
        results.begin(
            date=machine.today(), command=command(), machine=machine.machine(), versions=machine.versions(),
            threads=args.threads, audio=audio.source)
        try:
            for shape in args.shapes:
                say(f"whisper-{shape}")
                measure_shape(shape, args, programs, audio, results)
        except Wrong as error:
            sys.exit(f"FAILED: {error}")
    if not results.all["shapes"]:
        sys.exit(f"nothing was measured yet: there is no {args.results}")
    with open(args.out, "w") as file:
        file.write(report.page(results.all))
    say(f"wrote {args.out}")


if __name__ == "__main__":
    main()
