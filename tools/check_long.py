"""Word error rates of long recordings, beside those of the same material cut by hand at the gaps between the digits.

    pip install torch openai-whisper scipy
    python tools/check_long.py ../shared/data/fsdd checkpoint [--minutes 1 5 30] [--kinds pauses dense runs]
        [--imesli target/release/imesli] [--most 0.2] [--keep FOLDER] [-- IMESLI_ARGUMENT…]

A recording is one string of digits of the test split; of short ones there are several (10 minutes in all). `whole` is what imesli makes of it: windows, overlaps, joins.
`by hand` is the average over several ways to cut it into pieces of 30, 29 and 28 s at most, each in the middle of the
silence between two digits, which only who made the string knows; each piece is transcribed by itself and the texts are
joined. What `whole` has more errors than that is what cutting and joining cost. Fails where that is over --most points.
"""
import argparse, json, os, random, subprocess, sys, tempfile
import numpy as np
from scipy.io import wavfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "demo"))
from data import NAMES, RATE, load_clips, noise, speech, word_errors

# kind: (silence between digits in seconds, probability of a pause, of a repeated digit)
KINDS = {"pauses": ((0.05, 0.45), 0.15, 0.0), "dense": ((0.0, 0.06), 0.0, 0.0), "runs": ((0.05, 0.45), 0.05, 0.7)}
LONGEST = (30, 29, 28)  # of the pieces that are cut by hand, in seconds: about those of imesli


def recording(clips, kind, minutes, number):
    gaps, pauses, runs = KINDS[kind]
    rng = random.Random(f"long {kind} {minutes} {number}")
    audio, words = speech(clips, rng, minutes * 60, 0.3, 10 ** 6, gaps, pauses, runs, vary=False, mixed=True)
    level = np.sqrt(np.mean(audio ** 2)) * 10 ** (-rng.uniform(30, 50) / 20)
    audio = audio + noise("white", len(audio), rng) * level
    return audio * (0.9 / np.abs(audio).max()), words


def cuts(words, longest, end):
    """Where to cut: behind as many words as fit."""
    middles = [(a[1] + b[0]) / 2 for a, b in zip(words, words[1:])]
    places = [0.0]
    while end - places[-1] > longest:
        places.append(max(m for m in middles if places[-1] < m <= places[-1] + longest))
    return [*places, end]


def write(path, audio):
    wavfile.write(path, RATE, np.round(audio * 32767).astype(np.int16))
    return path


def transcribe(args, files):
    command = [args.imesli, "--log-level", "error", "transcribe", "--checkpoint", args.checkpoint, "--format", "json",
               *args.arguments, *files]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def main():
    arguments = sys.argv[1:]
    rest = arguments[arguments.index("--") + 1:] if "--" in arguments else []
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("checkpoint")
    parser.add_argument("--minutes", type=int, nargs="+", default=[1, 5, 30])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--imesli", default="target/release/imesli")
    parser.add_argument("--most", type=float, default=0.2, help="points that the whole may have more")
    parser.add_argument("--keep", metavar="FOLDER", help="leave the recordings there")
    args = parser.parse_args(arguments[:arguments.index("--")] if "--" in arguments else arguments)
    args.arguments = rest
    clips, failed = load_clips(args.data)["test"], False
    print("| recordings | words | whole | by hand | windows with an overlap |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or scratch
        os.makedirs(folder, exist_ok=True)
        for minutes in args.minutes:
            for kind in args.kinds:
                total, errors, windows, overlaps, by_hand = 0, 0, 0, 0, [0] * len(LONGEST)
                for number in range(max(1, 10 // minutes)):
                    audio, words = recording(clips, kind, minutes, number)
                    said = [NAMES[d] for _, _, d in words]
                    path = write(f"{folder}/{kind}-{minutes}-{number}.wav", audio)
                    with open(path[:-3] + "txt", "w") as truth:
                        truth.write(" ".join(said) + "\n")
                    whole = transcribe(args, [path])[0]
                    ends = whole["segments"]
                    total += len(said)
                    windows += len(ends)
                    overlaps += sum(b["start"] < a["end"] - 0.5 for a, b in zip(ends, ends[1:]))
                    errors += word_errors(said, whole["text"].split())
                    for way, longest in enumerate(LONGEST):
                        places = cuts(words, longest, len(audio) / RATE)
                        pieces = [write(f"{scratch}/{i:04}.wav", audio[int(a * RATE):int(b * RATE)])
                                  for i, (a, b) in enumerate(zip(places, places[1:]))]
                        text = " ".join(line["text"] for line in transcribe(args, pieces))
                        by_hand[way] += word_errors(said, text.split())
                rates = errors / total, np.mean(by_hand) / total
                failed |= 100 * (rates[0] - rates[1]) > args.most
                print(f"| {max(1, 10 // minutes)} × {minutes} min, {kind} | {total} | {rates[0]:.2%} ({errors}) | "
                      f"{rates[1]:.2%} ({', '.join(map(str, by_hand))}) | {overlaps} of {windows} |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
