"""How far imesli's word and segment times are from the truth, on strings of digits with known times.

    pip install torch openai-whisper scipy transformers   # for tools/demo/data.py, which makes the strings
    python tools/measure_word_times.py ../shared/data/fsdd [--strings 40] [--kinds short runs noisy]
        [--checkpoint checkpoint] [--beams 5] [--imesli target/release/imesli] [--fail-above SECONDS]

The strings are those of tools/demo/evaluate.py: clips of the test split, laid at known times. Words are matched to
what was said by edit distance, and only those that were heard right are measured. "as the attention says" are the
times before pauses are looked at. Segments are measured against phrases, between pauses of 0.6 s or more; those whose
first and last word are those of a phrase count. --fail-above: exit 1 when a median with pauses is over it.
"""
import argparse, json, os, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "demo"))
import numpy as np
from data import PHRASE_GAP, load_clips
from evaluate import KINDS, write


def matches(said, heard):
    """Pairs of places at which both lists have the same word, by the least edit distance."""
    cost = np.zeros((len(said) + 1, len(heard) + 1), int)
    cost[:, 0], cost[0, :] = range(len(said) + 1), range(len(heard) + 1)
    for i, a in enumerate(said, 1):
        for j, b in enumerate(heard, 1):
            cost[i, j] = min(cost[i - 1, j - 1] + (a != b), cost[i - 1, j] + 1, cost[i, j - 1] + 1)
    i, j, pairs = len(said), len(heard), []
    while i and j:
        if cost[i, j] == cost[i - 1, j - 1] + (said[i - 1] != heard[j - 1]):
            i, j = i - 1, j - 1
            pairs += [(i, j)] * (said[i] == heard[j])
        elif cost[i, j] == cost[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]


def transcribe(arguments, files, timestamps):
    command = [arguments.imesli, "transcribe", "--checkpoint", arguments.checkpoint, "--format", "json",
               "--timestamps", timestamps, "--beam-size", str(arguments.beams), "--vad", "off", "--log-level", "error", *files]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def phrases(words):
    """First and last place of each run of words without a long pause."""
    groups = []
    for place, word in enumerate(words):
        if groups and word["start"] - words[place - 1]["end"] < PHRASE_GAP:
            groups[-1][1] = place
        else:
            groups.append([place, place])
    return groups


def segment_errors(truth, found, words_of):
    """Errors of the bounds of segments that are phrases, and how many phrases there were."""
    spans, heard = [], []
    for segment in found["segments"]:
        words = words_of(segment)
        spans.append((len(heard), len(heard) + len(words) - 1, segment))
        heard += words
    place = dict(matches([w["word"] for w in truth["words"]], heard))
    groups, starts, ends = phrases(truth["words"]), [], []
    for first, last in groups:
        for begin, end, segment in spans:
            if place.get(first) == begin and place.get(last) == end:
                starts.append(abs(segment["start"] - truth["words"][first]["start"]))
                ends.append(abs(segment["end"] - truth["words"][last]["end"]))
    return starts, ends, len(groups)


def cells(errors):
    if not len(errors):
        return "— | — | — | —"
    return f"{np.median(errors):.3f} | {np.mean(errors):.3f} | {np.percentile(errors, 90):.3f} | {np.max(errors):.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--strings", type=int, default=40, help="of each kind")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=["short", "runs", "noisy"])
    parser.add_argument("--checkpoint", default="checkpoint")
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--imesli", default="target/release/imesli")
    parser.add_argument("--fail-above", type=float, default=float("inf"))
    arguments = parser.parse_args()
    word_rows, segment_rows, worst = [], [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        write(load_clips(arguments.data)["test"], folder, arguments.kinds, arguments.strings)
        for kind in arguments.kinds:
            with open(f"{folder}/{kind}/truth.jsonl") as file:
                truths = [json.loads(line) for line in file]
            files = [f"{folder}/{kind}/{truth['file']}" for truth in truths]
            by_words = transcribe(arguments, files, "word")
            by_model = transcribe(arguments, files, "segment")
            errors = {"as the attention says": ([], []), "with pauses": ([], [])}
            said = 0
            for truth, found in zip(truths, by_words):
                assert found["word_times"] == "attention", found
                words = [word for segment in found["segments"] for word in segment["words"]]
                raw = [time for window in found["windows"] for time in window["token_times"]]
                said += len(truth["words"])
                names = [word["word"].strip(" ,.") for word in words]
                for i, j in matches([w["word"] for w in truth["words"]], names):
                    start, end = truth["words"][i]["start"], truth["words"][i]["end"]
                    starts, ends = errors["with pauses"]
                    starts.append(abs(words[j]["start"] - start)), ends.append(abs(words[j]["end"] - end))
                    if len(raw) == len(words):  # each digit is one token; not so where windows overlap
                        starts, ends = errors["as the attention says"]
                        starts.append(abs(raw[j][0] - start)), ends.append(abs(raw[j][1] - end))
            for name, (starts, ends) in errors.items():
                word_rows.append(f"| {kind} | {name} | {len(starts)} of {said} | {cells(starts)} | {cells(ends)} |")
            worst = max(worst, np.median(errors["with pauses"][0]))
            for name, results, words_of in [
                ("of the model (`segment`)", by_model, lambda s: s["text"].replace(",", " ").replace(".", " ").split()),
                ("of words (`word`)", by_words, lambda s: [w["word"].strip(" ,.") for w in s["words"]]),
            ]:
                starts, ends, count = [], [], 0
                for truth, found in zip(truths, results):
                    a, b, n = segment_errors(truth, found, words_of)
                    starts, ends, count = starts + a, ends + b, count + n
                print(kind, name, file=sys.stderr, flush=True)
                segment_rows.append(f"| {kind} | {name} | {len(starts)} of {count} | {cells(starts)} | {cells(ends)} |")
                worst = max(worst, np.median(starts + ends))
    columns = "".join(f" {name} | mean | 90 % | most |" for name in ("starts: median", "ends: median"))
    print(f"| strings | words | heard |{columns}\n|{'---|' * 11}", *word_rows, sep="\n")
    print(f"\n| strings | segments | are phrases |{columns}\n|{'---|' * 11}", *segment_rows, sep="\n")
    sys.exit(int(worst > arguments.fail_above))


if __name__ == "__main__":
    main()
