"""Voice activity: what is lost, what is made up, and what it costs, through the whole program.

    pip install torch transformers openai-whisper safetensors scipy
    python tools/measure_voice.py ../shared/data/fsdd target/release/imesli
    python tools/measure_voice.py ../shared/data/fsdd target/release/imesli --only quiet bang --strings 20

Makes recordings with known truth out of clips that the demo model was not trained on (seeds are fixed) and has `imesli
transcribe` write them down with voice activity detection; then without, as far as anything was left out (elsewhere the
model gets the same samples). With --earshot, the detector of that name (pip install earshot) listens to the same
recordings, with the same rules for stretches and margins, at two thresholds. Printed for each kind of recording:

    WER        word error rate; for recordings without speech, the share of those with any text
    missed     share of the words' time that no detected stretch of speech covers
    false      share of the time further than 0.5 s from any word that counts as speech
    skipped    share of all the time that does not go to the model
    lost       words of which any part does not go to the model
    s/h        seconds of listening for each hour of audio, by the clock
"""
import argparse, json, math, os, random, subprocess, sys, tempfile
import numpy as np
from scipy.io import wavfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "demo"))
from data import NAMES, RATE, load_clips, noise, speech, word_errors

NEAR = 0.5  # seconds around a word in which more speech is no false alarm


def babble(clips, n, rng):
    """Twelve voices at once, backwards: the spectrum and the rhythm of speech, no words."""
    total = np.zeros(n, np.float32)
    for _ in range(12):
        total += speech(clips, rng, n / RATE + 1, 0.0, 10 ** 6, (0.02, 0.2), 0.0, 0.0, cut=True)[0][:n][::-1]
    return total / np.sqrt(np.mean(total ** 2))


def string(clips, kind, number):
    """A string of digits with known times: (audio, words)."""
    rng = random.Random(f"voice {kind} {number}")
    begin = rng.uniform(0.1, 0.6)
    if kind == "gaps":  # half a minute or more in which two short strings stand far apart
        audio, words = speech(clips, rng, 60, rng.uniform(0.1, 12), rng.randint(2, 5), (0.05, 0.45), 0, 0, vary=False)
        more, later = speech(clips, rng, 60, words[-1][1] + rng.uniform(6, 25), rng.randint(2, 5), (0.05, 0.45), 0, 0,
                             vary=False)
        audio, words = audio + more, words + later
        end = words[-1][1] + rng.uniform(0.5, 8)
    else:
        audio, words = speech(clips, rng, 28, begin, rng.randint(2, 12), (0.05, 0.45), 0.2, 0, vary=False)
        end = words[-1][1] + 0.5
    audio = audio[:int(end * RATE)]
    loud = np.concatenate([audio[int(s * RATE):int(e * RATE)] for s, e, _ in words])
    level = np.sqrt(np.mean(loud ** 2))
    snr = {"white10": 10, "babble10": 10, "white0": 0}.get(kind, 50)
    hiss = babble(clips, len(audio), rng) if kind == "babble10" else noise("white", len(audio), rng)
    audio = audio + hiss * level * 10 ** (-snr / 20)
    audio = audio * (0.9 / np.abs(audio).max())
    if kind in ("quiet", "bang"):
        audio = audio * 10 ** (-40 / 20) / 0.9
    if kind == "bang":  # a click as loud as can be, in front of the words, behind them or in a gap between two
        gaps = [(a[1], b[0]) for a, b in zip(words, words[1:])] + [(0, words[0][0]), (words[-1][1], end)]
        start, stop = max(gaps, key=lambda gap: gap[1] - gap[0])
        at, length = int((start + stop) / 2 * RATE), int(0.01 * RATE)
        click = np.random.default_rng(number).standard_normal(length) * np.exp(-np.arange(length) / 30)
        audio[at:at + length] += (click / np.abs(click).max())[:len(audio) - at]
    return audio, words


def tones(rng, n):
    """Music-like: chords of a few harmonics with attack and decay, a melody above them, a bass below."""
    audio, t = np.zeros(n + 5 * RATE), 0
    while t < n:
        root, length = rng.choice([110, 123.5, 130.8, 146.8, 164.8, 196]), rng.choice([0.25, 0.5, 1.0])
        notes = [root / 2, *(root * 2 ** (s / 12) for s in rng.choice([(0, 4, 7), (0, 3, 7), (0, 5, 9)])),
                 root * 2 ** (rng.choice([12, 14, 16, 19, 24]) / 12)]
        x = np.arange(int(length * RATE * 1.5)) / RATE
        envelope = np.minimum(x / 0.01, 1) * np.exp(-x / rng.uniform(0.2, 0.8))
        for f in notes:
            for k in range(1, 6):
                audio[t:t + len(x)] += envelope * np.sin(2 * math.pi * f * k * x + rng.uniform(0, 6)) / k ** 1.5
        t += int(length * RATE)
    return audio[:n]


def empty(kind, number):
    """A recording without speech."""
    rng = random.Random(f"empty {kind} {number}")
    n = int(rng.uniform(3, 40) * RATE)
    if kind == "silence":
        return np.zeros(n) if number % 2 else np.round(noise("white", n, rng)) / 32768  # digital, or the last bit
    x = tones(rng, n) if kind == "tones" else noise(kind, n, rng)
    return x * (rng.choice([0.9, 0.3, 0.03, 0.003]) / np.abs(x).max())


SPOKEN = ["clean", "quiet", "bang", "white10", "babble10", "white0", "gaps"]
EMPTY = ["silence", "white", "pink", "brown", "hum", "clicks", "tones"]


def write(clips, folder, kind, count):
    """Writes the recordings of a kind; their paths and words."""
    os.makedirs(f"{folder}/{kind}", exist_ok=True)
    made = []
    for number in range(count):
        audio, words = string(clips, kind, number) if kind in SPOKEN else (empty(kind, number), [])
        path = f"{folder}/{kind}/{number:03}.wav"
        wavfile.write(path, RATE, np.clip(np.round(audio * 32767), -32768, 32767).astype(np.int16))
        made.append((path, len(audio) / RATE, sorted(words)))
    return made


def covered(ranges, start, end):
    return sum(max(0, min(r["end"], end) - max(r["start"], start)) for r in ranges)


def earshot(path, begin):
    """What it hears, as an entry of the program's JSON."""
    from earshot import Detector
    detector, x = Detector(), wavfile.read(path)[1].astype(np.float32)
    x = np.pad(x * (0.9 / max(1, np.abs(x).max())), (0, -len(x) % 256))
    spans, seconds = [], len(x) / RATE
    for at in range(0, len(x), 256):
        score, now = detector.predict_f32(x[at:at + 256]), at / RATE
        if spans and now - spans[-1]["end"] <= 0.25:
            if score >= begin - 0.15:
                spans[-1]["end"] = now + 0.016
        elif score >= begin:
            spans.append({"start": now, "end": now + 0.016})
    spans = [span for span in spans if span["end"] - span["start"] > 0.06]
    skipped, kept = [], 0
    for start, end in [(span["start"] - 1, span["end"] + 1) for span in spans] + [(seconds, seconds)]:
        if start - kept >= 2 or not spans:
            skipped.append({"start": kept, "end": start})
        kept = max(kept, end)
    return {"text": "", "speech": spans, "skipped": skipped, "listening_seconds": 0}


def transcribe(imesli, options, files):
    if not files:
        return []
    command = [imesli, "--log-level", "error", "transcribe", "--format", "json", *options, *files]
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    found = [json.loads(line) for line in out.splitlines()]
    assert len(found) == len(files)
    return found


def measure(made, found):
    errors = total = missed = spoken = false = quiet = skipped = lost = duration = cpu = 0
    for (_, seconds, words), one in zip(made, found):
        errors += word_errors([NAMES[d] for _, _, d in words], one["text"].split()) if words else bool(one["text"])
        total += len(words) if words else 1
        duration, cpu = duration + seconds, cpu + one["listening_seconds"]
        speech_ranges, skips = one.get("speech", []), one["skipped"]
        skipped += covered(skips, 0, seconds)
        spoken += sum(e - s for s, e, _ in words)
        missed += sum(e - s - covered(speech_ranges, s, e) for s, e, _ in words)
        lost += sum(covered(skips, s, e) > 0.01 for s, e, _ in words)
        edges = [0, *(t for s, e, _ in words for t in (s - NEAR, e + NEAR)), seconds]
        for a, b in zip(edges[::2], edges[1::2]):
            quiet += max(0, b - a)
            false += covered(speech_ranges, a, b) if b > a else 0
    share = lambda part, whole: part / whole if whole else float("nan")
    return share(errors, total), share(missed, spoken), share(false, quiet), skipped / duration, lost, cpu / duration * 3600


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("imesli")
    parser.add_argument("--checkpoint", default="checkpoint")
    parser.add_argument("--vad-model", help="a Silero model as whisper.cpp takes it")
    parser.add_argument("--earshot", action="store_true")
    parser.add_argument("--strings", type=int, default=100, help="recordings of each kind with speech")
    parser.add_argument("--empty", type=int, default=24, help="recordings of each kind without")
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=SPOKEN + EMPTY, default=SPOKEN + EMPTY)
    parser.add_argument("--write", metavar="FOLDER", help="keep the recordings there, and stop")
    args = parser.parse_args()
    clips = load_clips(args.data)["test"]
    ways = {"built in": []}
    if args.vad_model:
        ways[os.path.basename(args.vad_model)] = ["--vad-model", args.vad_model]
    common = ["--checkpoint", args.checkpoint, "--language", "en", "--beam-size", str(args.beams),
              "--threads", str(args.threads)]
    with tempfile.TemporaryDirectory() as folder:
        print("| recordings | detector | WER or invented | missed | false | skipped | lost | s/h |")
        print("|---|---|---|---|---|---|---|---|")
        for kind in args.only:
            made = write(clips, args.write or folder, kind, args.strings if kind in SPOKEN else args.empty)
            if args.write:
                with open(f"{args.write}/{kind}/truth.json", "w") as truth:
                    json.dump(made, truth)
                continue
            print_row = lambda way, cells: print(f"| {kind} | {way} | {' | '.join(cells)} |", flush=True)
            for way, options in ways.items():
                found = transcribe(args.imesli, [*common, *options], [path for path, _, _ in made])
                wer, *shares, lost, cpu = measure(made, found)
                cells = [f"{share:.2%}" if share == share else "" for share in shares]
                print_row(way, [f"{wer:.2%}", *cells, str(lost), f"{cpu:.1f}"])
            for begin in (0.5, 0.7) if args.earshot else ():
                _, *shares, lost, _ = measure(made, [earshot(path, begin) for path, _, _ in made])
                cells = [f"{share:.2%}" if share == share else "" for share in shares]
                print_row(f"earshot, {begin}", ["", *cells, str(lost), ""])
            again = [index for index, one in enumerate(found) if one["skipped"]]
            for index, one in zip(again, transcribe(args.imesli, [*common, "--vad", "off"],
                                                    [made[index][0] for index in again])):
                found[index] = one
            print_row("off", [f"{measure(made, found)[0]:.2%}", "", "", "", "", ""])


if __name__ == "__main__":
    main()
