"""Compare imesli's tokens with transformers' generate on the same checkpoint, file by file, and print a table.

    python3 -m venv venv && venv/bin/pip install torch transformers soundfile safetensors
    venv/bin/python tools/compare_with_transformers.py CHECKPOINT GGML… --files FILE.wav… [--beams 5 1]
        [--max-tokens N] [--imesli target/release/imesli] [--fail-below SHARE] [--prompt 50258 50259 50359 50363]

Each FILE is 16 kHz mono WAV of at most 30 s. A row of the table is a GGML file and a beam size: in how many files
all tokens are equal. Where they differ, both token lists are scored by transformers (teacher-forced, the sum of
log-probabilities over the length, which is what its beam search ranks by), so that a tie can be told from a fault:
the reference found a text that is hardly better by its own measure, or even a worse one.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

END_OF_TEXT = 50257


def load(path):
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 16000 and samples.ndim == 1, f"{path} is not 16 kHz mono"
    return samples / max(np.abs(samples).max(), 1e-9) * 0.9  # as the server does


class Reference:
    def __init__(self, checkpoint, prompt):
        self.model = WhisperForConditionalGeneration.from_pretrained(checkpoint).float().eval()
        self.extract = WhisperFeatureExtractor(feature_size=self.model.config.num_mel_bins)
        self.prompt = prompt

    def features(self, path):
        return self.extract(load(path), sampling_rate=16000, return_tensors="pt").input_features

    @torch.no_grad()
    def tokens(self, path, beams, max_tokens):
        length = min(448, len(self.prompt) + max_tokens) if max_tokens else 448
        ids = self.model.generate(self.features(path), max_length=length, num_beams=beams, do_sample=False,
                                  decoder_input_ids=torch.tensor([self.prompt]))[0].tolist()
        ids = ids[len(self.prompt):] if ids[:len(self.prompt)] == self.prompt else ids
        ids = ids[:max_tokens]  # generate does not count the whole prompt
        return ids[:ids.index(END_OF_TEXT)] if END_OF_TEXT in ids else ids

    @torch.no_grad()
    def score(self, path, tokens, ended=True):
        generated = tokens + [END_OF_TEXT] * ended
        logits = self.model(self.features(path), decoder_input_ids=torch.tensor([self.prompt + generated])).logits[0]
        log_probs = logits.log_softmax(-1)[len(self.prompt) - 1:-1]
        return float(log_probs.gather(1, torch.tensor(generated)[:, None]).sum() / max(1, len(generated)))


def imesli_tokens(program, ggml, files, beams, max_tokens, language):
    command = [program, "transcribe", "--checkpoint", ggml, "--format", "json", "--beam-size", str(beams),
               "--vad", "off", "--loop-guard", "off", "--audio-context", "full", "--log-level", "error"] + (["--language", language] if language else [])
    if max_tokens:
        command += ["--max-tokens", str(max_tokens)]
    lines = subprocess.run([*command, *files], check=True, capture_output=True, text=True).stdout.splitlines()
    found = {}
    for line in map(json.loads, lines):
        assert len(line["windows"]) == 1, f"{line['file']} is over 30 s"
        found[line["file"]] = line["windows"][0]["tokens"]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("ggml", nargs="+")
    parser.add_argument("--files", nargs="+", required=True)
    parser.add_argument("--beams", type=int, nargs="+", default=[5, 1])
    parser.add_argument("--max-tokens", type=int, help="generate at most so many, as for random weights that never end")
    parser.add_argument("--language", default="en")
    parser.add_argument("--prompt", type=int, nargs="+", default=[50258, 50259, 50359, 50363],
                        help="the decoder's first tokens; <|startoftranscript|><|en|><|transcribe|><|notimestamps|>")
    parser.add_argument("--imesli", default="target/release/imesli")
    parser.add_argument("--fail-below", type=float, default=0, help="exit 1 when a row's share is below this")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    reference = Reference(arguments.checkpoint, arguments.prompt)
    failed, rows, notes = False, [], []
    for beams in arguments.beams:
        wanted = {file: reference.tokens(file, beams, arguments.max_tokens) for file in arguments.files}
        for ggml in arguments.ggml:
            found = imesli_tokens(arguments.imesli, ggml, arguments.files, beams, arguments.max_tokens, arguments.language)
            differing = [file for file in arguments.files if found[file] != wanted[file]]
            share = 1 - len(differing) / len(arguments.files)
            failed |= share < arguments.fail_below
            rows.append(f"| {Path(ggml).name} | {beams} | {len(arguments.files)} | {len(arguments.files) - len(differing)} | {share:.1%} |")
            for file in differing:
                ours, theirs = found[file], wanted[file]
                first = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
                ended = not arguments.max_tokens
                notes.append(f"| {Path(ggml).name} | {beams} | {Path(file).name} | {first} | {theirs[first:first + 3]} | {ours[first:first + 3]} "
                             f"| {reference.score(file, theirs, ended):.5f} | {reference.score(file, ours, ended):.5f} |")
            print(rows[-1], file=sys.stderr, flush=True)
    print("| GGML | beams | files | equal | share |\n|---|---|---|---|---|", *rows, sep="\n")
    if notes:
        print("\n| GGML | beams | file | first difference at token | transformers | imesli | score of theirs | score of ours |\n|---|---|---|---|---|---|---|---|", *notes, sep="\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
