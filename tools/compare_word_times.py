"""Compare imesli's attention and token times with transformers on the same checkpoint, and print a table.

    python3 -m venv venv && venv/bin/pip install torch transformers soundfile safetensors openai-whisper
    venv/bin/python tools/compare_word_times.py CHECKPOINT GGML… --files FILE.wav… [--imesli target/release/imesli]
        [--language en] [--max-tokens N] [--fail-below SHARE]
    venv/bin/python tools/compare_word_times.py checkpoint --write FILE.json --files tests/data/nicolas-5521.wav

Each FILE is 16 kHz mono WAV of at most 30 s. transformers decodes the tokens that imesli found in one teacher-forced
pass, and its cross-attentions go through OpenAI's own code (whisper/timing.py: normalisation, median, DTW). A row of
the table is a GGML file: how many token starts are the same frame, and how many within 0.02 and 0.04 s. --write stores
the cross-attention of the first file for a test (tests/asr/words.rs) instead.
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
from whisper.timing import dtw_cpu, median_filter

END_OF_TEXT = 50257


def load(path):
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 16000 and samples.ndim == 1, f"{path} is not 16 kHz mono"
    return samples / max(np.abs(samples).max(), 1e-9) * 0.9  # as the server does


class Reference:
    def __init__(self, checkpoint, prompt):
        self.model = WhisperForConditionalGeneration.from_pretrained(checkpoint, attn_implementation="eager")
        self.model = self.model.float().eval()
        self.extract = WhisperFeatureExtractor(feature_size=self.model.config.num_mel_bins)
        self.prompt = prompt
        config = self.model.config
        self.heads = getattr(self.model.generation_config, "alignment_heads", None) or [
            [layer, head] for layer in range(config.decoder_layers // 2, config.decoder_layers)
            for head in range(config.decoder_attention_heads)]

    @torch.no_grad()
    def attention(self, path, text):
        """Heads × tokens × frames, a softmax over the frames that the recording has."""
        samples = load(path)
        features = self.extract(samples, sampling_rate=16000, return_tensors="pt").input_features
        ids = torch.tensor([[*self.prompt, *text, END_OF_TEXT]])[:, :448]
        layers = self.model(features, decoder_input_ids=ids, output_attentions=True).cross_attentions
        weights = torch.stack([layers[layer][0, head] for layer, head in self.heads])
        weights = weights[..., :max(1, len(samples) // 320)]
        return weights / weights.sum(-1, keepdim=True)

    def starts(self, path, text):
        weights = self.attention(path, text)
        deviation, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
        matrix = median_filter((weights - mean) / deviation, 7).mean(0)
        matrix = matrix[len(self.prompt) - 1:len(self.prompt) + len(text)]
        tokens, frames = dtw_cpu(-matrix.double().numpy())
        jumps = np.pad(np.diff(tokens), (1, 0), constant_values=1).astype(bool)
        return frames[jumps][:-1] * 0.02


def imesli(arguments, ggml):
    command = [arguments.imesli, "transcribe", "--checkpoint", ggml, "--format", "json", "--timestamps", "word",
               "--language", arguments.language, "--log-level", "error", *arguments.files]
    command += ["--max-tokens", str(arguments.max_tokens)] if arguments.max_tokens else []
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    for line in map(json.loads, lines):
        (window,) = line["windows"]
        text = [token for token in window["tokens"] if token < END_OF_TEXT]
        yield line["file"], text, [start for start, _ in window["token_times"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("ggml", nargs="*")
    parser.add_argument("--files", nargs="+", required=True)
    parser.add_argument("--imesli", default="target/release/imesli")
    parser.add_argument("--language", default="en")
    parser.add_argument("--max-tokens", type=int, help="generate at most so many, as for random weights that never end")
    parser.add_argument("--prompt", type=int, nargs="+", default=[50258, 50259, 50359, 50363],
                        help="the decoder's first tokens; <|startoftranscript|><|en|><|transcribe|><|notimestamps|>")
    parser.add_argument("--text", type=int, nargs="+", default=[1732, 1732, 732, 472], help="the tokens for --write")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--fail-below", type=float, default=0, help="exit 1 when fewer are within 0.02 s")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    reference = Reference(arguments.checkpoint, arguments.prompt)
    if arguments.write:
        weights = reference.attention(arguments.files[0], arguments.text)
        tokens = [*arguments.prompt, *arguments.text, END_OF_TEXT]
        rows = [[[round(w, 5) for w in row] for row in head] for head in weights.tolist()]
        found = {"heads": reference.heads, "tokens": tokens, "frames": weights.shape[-1], "weights": rows}
        arguments.write.write_text(json.dumps(found, separators=(",", ":")) + "\n")
        return
    failed = False
    print("| GGML | files | tokens | same frame | within 0.02 s | within 0.04 s | most |\n|---|---|---|---|---|---|---|")
    for ggml in arguments.ggml:
        differences = []
        for file, text, starts in imesli(arguments, ggml):
            differences += list(np.abs(np.array(starts) - reference.starts(file, text))) if text else []
        differences = np.array(differences)
        share = [np.mean(differences < limit) for limit in (0.01, 0.021, 0.041)]
        failed |= share[1] < arguments.fail_below
        print(f"| {Path(ggml).name} | {len(arguments.files)} | {len(differences)} | {share[0]:.1%} | {share[1]:.1%} "
              f"| {share[2]:.1%} | {differences.max():.2f} s |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
