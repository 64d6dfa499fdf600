"""Makes Whispers of every generation with random weights, converts them, and compares the tokens with transformers'.

    venv/bin/python tools/check_generations.py FILE.wav… [--kinds en v3 …] [--full] [--quantize f32] [--max-tokens 40]
        [--imesli target/release/imesli] [--folder DIR]

FILE is 16 kHz mono WAV of at most 30 s. The vocabularies are Whisper's own (from openai-whisper), with their special
tokens; `kab` has an added language token, `words` an added word as well, `padded` rows that nothing names. Small models
of each kind; with --full, in the sizes of the real ones (large-v3 needs 20 GB of memory and of disk). Needs torch,
transformers, openai-whisper, soundfile. Exits with 1 where a token differs.
"""

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import whisper
import whisper.tokenizer
from transformers import WhisperConfig, WhisperForConditionalGeneration
from transformers.convert_slow_tokenizer import bytes_to_unicode

import compare_with_transformers as compare

# Rows, mel bins, languages; width, heads, layers of encoder and decoder in full size; tokens that are added.
KINDS = {
    "en": (51864, 80, 99, (384, 6, 4, 4), []),
    "multilingual": (51865, 80, 99, (768, 12, 12, 12), []),
    "v3": (51866, 128, 100, (1280, 20, 32, 32), []),
    "turbo": (51866, 128, 100, (1280, 20, 32, 4), []),
    "distil-en": (51864, 80, 99, (768, 12, 12, 4), []),
    "distil-v3": (51866, 128, 100, (1280, 20, 32, 2), []),
    "kab": (51866, 80, 99, (384, 6, 4, 4), ["<|kab|>"]),
    "words": (51867, 80, 99, (384, 6, 4, 4), ["<|kab|>", "azul"]),
    "kab-v3": (51867, 128, 100, (384, 6, 4, 4), ["<|kab|>"]),
    "padded": (51904, 80, 99, (384, 6, 4, 4), []),
}


def vocabulary(folder, english, languages, added):
    """vocab.json, added_tokens.json and tokenizer_config.json; the ids of the special tokens."""
    name = "gpt2" if english else "multilingual"
    assets = Path(whisper.__file__).parent / "assets"
    ranks = dict(line.split() for line in (assets / f"{name}.tiktoken").read_text().splitlines() if line)
    letters = bytes_to_unicode()
    vocab = {"".join(letters[b] for b in base64.b64decode(token)): int(rank) for token, rank in ranks.items()}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    special = dict(whisper.tokenizer.get_tokenizer(not english, num_languages=languages).encoding._special_tokens)
    first = max(special.values()) + 1
    special |= {token: first + i for i, token in enumerate(added)}
    (folder / "added_tokens.json").write_text(json.dumps(special))
    decoder = {str(i): {"content": token, "special": token.startswith("<|")} for token, i in special.items()}
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": decoder}))
    return special


def make(kind, folder, full):
    rows, mels, languages, (width, heads, encoder, decoder), added = KINDS[kind]
    if not full:
        width, heads, encoder, decoder = 128, 2, min(encoder, 3), min(decoder, 2)
    english = rows == 51864
    special = vocabulary(folder, english, languages, added)
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=rows, d_model=width, encoder_layers=encoder, decoder_layers=decoder, encoder_attention_heads=heads,
        decoder_attention_heads=heads, encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width, num_mel_bins=mels,
        init_std=0.06, pad_token_id=special["<|endoftext|>"], bos_token_id=special["<|endoftext|>"],
        eos_token_id=special["<|endoftext|>"], decoder_start_token_id=special["<|startoftranscript|>"],
        suppress_tokens=None, begin_suppress_tokens=None)
    model = WhisperForConditionalGeneration(config)
    model.generation_config.suppress_tokens = model.generation_config.begin_suppress_tokens = None
    model.save_pretrained(folder)
    language = "kab" if added else "fr"
    names = ["<|startoftranscript|>"] + ([] if english else [f"<|{language}|>", "<|transcribe|>"]) + ["<|notimestamps|>"]
    parameters = sum(p.numel() for p in model.parameters())
    return [special[name] for name in names], None if english else language, special["<|endoftext|>"], parameters


def check(kind, folder, options):
    prompt, language, compare.END_OF_TEXT, parameters = make(kind, folder, options.full)
    ggml = folder / f"ggml-{options.quantize}.bin"
    start = time.time()
    subprocess.run([options.imesli, "convert", "--checkpoint", folder, "--quantize", options.quantize], check=True)
    seconds = time.time() - start
    found = compare.imesli_tokens(options.imesli, ggml, options.files, 1, options.max_tokens, language)
    reference = compare.Reference(folder, prompt)
    wanted = {file: reference.tokens(file, 1, options.max_tokens) for file in options.files}
    equal = sum(found[file] == wanted[file] for file in options.files)
    for file in options.files:
        if found[file] != wanted[file]:
            print(f"{kind}: {file}: {found[file]} for {wanted[file]}", file=sys.stderr)
    distinct = len({token for tokens in wanted.values() for token in tokens})
    print(f"| {kind} | {parameters / 1e6:.0f} M | {ggml.stat().st_size / 1e6:.0f} MB | {seconds:.1f} s "
          f"| {equal} of {len(options.files)} | {distinct} |", flush=True)
    return equal == len(options.files)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--quantize", default="f32")
    parser.add_argument("--max-tokens", type=int, default=40)
    parser.add_argument("--imesli", default="target/release/imesli")
    parser.add_argument("--folder", help="for the checkpoints, which are deleted as soon as they were looked at")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("IMESLI_THREADS", "2")))
    print("| kind | parameters | GGML | converted in | files with equal tokens | distinct tokens |\n|---|---|---|---|---|---|")
    equal = True
    for kind in options.kinds:
        folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=options.folder))
        try:
            equal &= check(kind, folder, options)
        finally:
            shutil.rmtree(folder)
    sys.exit(not equal)


if __name__ == "__main__":
    main()
