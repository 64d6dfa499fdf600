"""Word error rates of the digit model on strings of the test split, through transformers' generate.

    pip install torch transformers openai-whisper safetensors scipy
    python tools/demo/evaluate.py ../shared/data/fsdd checkpoint --strings 100
    python tools/demo/evaluate.py ../shared/data/fsdd --write OUT_DIR --strings 100

The second form writes the strings as 16 kHz 16-bit WAV files with a `truth.jsonl` in each folder, one line per file:
{"file", "text", "words": [{"word", "start", "end"}]}, so that other programs are measured on the same audio. Seeds are
fixed: a string depends on its kind and number alone.
"""
import argparse, json, os, random, re
import numpy as np, torch
from scipy.io import wavfile
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.utils import logging
from data import NAMES, RATE, load_clips, noise, speech, tokenizer, word_errors

# kind: (seconds, digits, silence between digits, probability of a pause, of a repeated digit, signal to noise in dB)
KINDS = {
    "short": (28, (2, 12), (0.05, 0.45), 0.2, 0.0, (30, 60)),
    "runs": (28, (4, 16), (0.05, 0.45), 0.05, 0.7, (30, 60)),
    "noisy": (28, (2, 12), (0.05, 0.45), 0.2, 0.0, (0, 10)),
    "full60": (60, None, (0.05, 0.45), 0.02, 0.0, (30, 60)),
}


def string(clips, kind, number):
    """Audio of peak 0.9 and its words [(start s, end s, digit)]."""
    seconds, digits, gaps, pauses, runs, snr = KINDS[kind]
    rng = random.Random(f"{kind} {number}")
    most = rng.randint(*digits) if digits else 10 ** 6
    audio, words = speech(clips, rng, seconds, rng.uniform(0.1, 0.6), most, gaps, pauses, runs, vary=False)
    if digits:  # ends half a second after the last word
        audio = audio[:int((words[-1][1] + 0.5) * RATE)]
    level = np.sqrt(np.mean(audio ** 2)) * 10 ** (-rng.uniform(*snr) / 20)
    audio = audio + noise("white", len(audio), rng) * level
    return audio * (0.9 / np.abs(audio).max()), words


def without_digits(number):
    """30 s windows with nothing to transcribe: silence first, then noise of several kinds and levels."""
    rng = random.Random(f"empty {number}")
    if number == 0:
        return "silence", np.zeros(30 * RATE, np.float32)
    kind = ["white", "pink", "hum", "clicks"][number % 4]
    x = noise(kind, int(rng.uniform(3, 30) * RATE), rng)
    return kind, x * (rng.choice([0.9, 0.3, 0.03, 0.003]) / np.abs(x).max())


def halves(audio, words):
    """The two windows of a recording of 60 s: (audio, digits for certain, digits that the cut leaves in doubt)."""
    for begin in (0, 30):
        end = begin + 30
        here = [w for w in words if w[1] > begin and w[0] < end]
        sure = [w for w in here if w[0] >= begin and w[1] <= end]
        yield audio[begin * RATE:end * RATE], sure, [w for w in here if w not in sure]


def errors_with_doubt(sure, doubt, heard):
    """A digit that the edge of the window cuts may be given or not."""
    name = lambda words: [NAMES[d] for _, _, d in sorted(words)]
    choices = [sure, *([*sure, d] for d in doubt), [*sure, *doubt]]
    return min(word_errors(name(c), heard) for c in choices)


class Recogniser:
    def __init__(self, folder, beams, device):
        self.model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval().to(device)
        self.features, self.beams, self.device = WhisperFeatureExtractor(feature_size=80), beams, device

    @torch.no_grad()
    def __call__(self, windows, timestamps):
        texts = []
        for k in range(0, len(windows), 10):
            mel = self.features(windows[k:k + 10], sampling_rate=RATE, return_tensors="pt").input_features
            ids = self.model.generate(mel.to(self.device), language="en", task="transcribe", num_beams=self.beams,
                                      return_timestamps=timestamps)
            texts += [tokenizer.decode([t for t in row if t < tokenizer.eot]) for row in ids.tolist()]
        return [re.findall(r"[a-z]+", text) for text in texts]


def write(clips, folder, kinds, count):
    for kind in kinds:
        os.makedirs(f"{folder}/{kind}", exist_ok=True)
        with open(f"{folder}/{kind}/truth.jsonl", "w") as truth:
            for number in range(count):
                audio, words = string(clips, kind, number)
                file = f"{kind}-{number:03}.wav"
                wavfile.write(f"{folder}/{kind}/{file}", RATE, np.round(audio * 32767).astype(np.int16))
                words = [{"word": NAMES[d], "start": round(s, 3), "end": round(e, 3)} for s, e, d in words]
                text = " ".join(w["word"] for w in words)
                truth.write(json.dumps({"file": file, "text": text, "words": words}) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("--strings", type=int, default=50, help="number of strings of each kind")
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--write", metavar="FOLDER", help="write the strings out instead of measuring a checkpoint")
    args = parser.parse_args()
    clips = load_clips(args.data)["test"]
    if args.write:
        return write(clips, args.write, args.kinds, args.strings)
    logging.set_verbosity_error()
    recognise = Recogniser(args.checkpoint, args.beams, "cuda" if torch.cuda.is_available() else "cpu")
    print(f"| {'windows of 30 s':24} | words | without timestamps | with timestamps |\n|---|---|---|---|")
    for kind in args.kinds:
        items = []
        for number in range(args.strings):
            audio, words = string(clips, kind, number)
            items += halves(audio, words) if kind == "full60" else [(audio, words, [])]
        total, cells = sum(len(sure) for _, sure, _ in items), []
        for timestamps in (False, True):
            heard = recognise([audio for audio, _, _ in items], timestamps)
            cells.append(sum(errors_with_doubt(s, d, h) for (_, s, d), h in zip(items, heard)) / total)
        name = "full60, its halves" if kind == "full60" else kind
        print(f"| {name:24} | {total:5} | {cells[0]:18.1%} | {cells[1]:15.1%} |", flush=True)
    windows = [without_digits(number)[1] for number in range(args.strings)]
    cells = [np.mean([bool(h) for h in recognise(windows, timestamps)]) for timestamps in (False, True)]
    print(f"| {'no digits: invented text':24} | {len(windows):5} | {cells[0]:18.1%} | {cells[1]:15.1%} |")


if __name__ == "__main__":
    main()
