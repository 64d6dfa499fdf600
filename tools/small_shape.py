#!/usr/bin/env python3
"""Makes a checkpoint in the shape of whisper-small whose weights mean nothing, for measurements of speed.

    small_shape.py CHECKPOINT FOLDER

CHECKPOINT is one in Hugging Face's format with fewer and smaller layers, such as checkpoint/, whose names of tensors and
settings are taken. FOLDER, which may not exist yet, then has config.json and model.safetensors, 483 MB. Needs no packages.
The same at each run: 16-bit floats of a spread of 0.02, the same two MiB again and again; texts of it never end by themselves.
"""
import json
import random
import re
import struct
import sys
from math import prod
from pathlib import Path

# https://huggingface.co/openai/whisper-small/blob/main/config.json
WIDTH, INNER, LAYERS, HEADS = 768, 3072, 12, 12
SHAPE = {"d_model": WIDTH}
for side in ("encoder", "decoder"):
    SHAPE |= {f"{side}_layers": LAYERS, f"{side}_ffn_dim": INNER, f"{side}_attention_heads": HEADS}


def tensors(config, header):
    """Names and shapes: those of the smaller one, widened, with as many layers as there should be."""
    wide = {config["d_model"]: WIDTH, config["encoder_ffn_dim"]: INNER}
    for name, about in header.items():
        shape = [wide.get(length, length) for length in about.get("shape", [])]
        layer = re.search(r"\.layers\.(\d+)\.", name)
        if name == "__metadata__" or (layer and layer[1] != "0"):
            continue
        for number in range(LAYERS) if layer else [0]:
            yield name.replace(".layers.0.", f".layers.{number}."), shape


def main(checkpoint, folder):
    config = json.loads((checkpoint / "config.json").read_text())
    with (checkpoint / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config | SHAPE))
    # https://huggingface.co/docs/safetensors: the length of the header, the header, the data.
    end, widened = 0, {}
    for name, shape in tensors(config, header):
        begin, end = end, end + 2 * prod(shape)
        widened[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(widened).encode()
    dice = random.Random(1)
    block = b"".join(struct.pack("<e", dice.gauss(0, 0.02)) for _ in range(1 << 20))
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for begin in range(0, end, len(block)):
            file.write(block[: end - begin])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
