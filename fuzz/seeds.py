"""Makes the seeds from the tests' fixtures: seeds.py IMESLI

IMESLI is the program, which makes the seeds of the GGML reader.
"""
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile

import torch
from safetensors.torch import save_file

here = pathlib.Path(__file__).resolve().parent
fixtures = here.parent / "tests/data/checkpoint"
seeds = here / "seeds"
FILTERS, HEAD = 80 * 201 * 4, 14 * 4

# Small tables of each kind, of every type and with the names of real tensors.
t = lambda *shape: torch.arange(torch.Size(shape).numel()).reshape(shape).float() / 64  # noqa: E731
state = {"model.encoder.conv1.bias": t(32), "model.encoder.conv1.weight": t(4, 5, 3), "proj_out.weight": t(6, 7)}
state["model.decoder.embed_tokens.weight"] = state["proj_out.weight"]
kinds = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "i64": torch.int64}
for name, dtype in kinds.items():
    save_file({key: value.to(dtype).clone() for key, value in state.items()}, seeds / f"safetensors/{name}",
              metadata={"format": "pt"})

dims = {"n_mels": 80, "n_vocab": 40, "n_audio_ctx": 24, "n_audio_state": 32, "n_audio_head": 2, "n_audio_layer": 1,
        "n_text_ctx": 16, "n_text_state": 32, "n_text_head": 2, "n_text_layer": 1}
objects = {
    "tied": state,
    "strided": {key: value.half().transpose(0, -1) for key, value in state.items()},
    "parameters": {key: torch.nn.Parameter(value.bfloat16()) for key, value in state.items()},
    "openai": {"dims": dims, "model_state_dict": {key: value.double() for key, value in state.items()}},
    "ints": {key: value.long() for key, value in state.items()},
}
for name, value in objects.items():
    torch.save(value, seeds / f"pickle/{name}.zip")
    torch.save(value, seeds / f"pickle/{name}.legacy", _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(seeds / f"pickle/{name}.zip") as archive:
        pickled = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        (seeds / f"pickle/{name}.pkl").write_bytes(archive.read(pickled))
with zipfile.ZipFile(seeds / "pickle/packed.zip", "w", zipfile.ZIP_DEFLATED) as packed, \
        zipfile.ZipFile(seeds / "pickle/tied.zip") as source:
    for item in source.infolist():
        packed.writestr(item.filename, source.read(item))

with tempfile.TemporaryDirectory() as folder:
    for name in ("config.json", "vocab.json", "added_tokens.json"):
        shutil.copy(fixtures / name, folder)
    shutil.copy(fixtures / "f16.bin", f"{folder}/pytorch_model.bin")
    for kind in ("q8_0", "q4_0"):
        subprocess.run([sys.argv[1], "convert", "--checkpoint", folder, "--quantize", kind], check=True)
        bytes_ = pathlib.Path(f"{folder}/ggml-{kind}.bin").read_bytes()
        assert struct.unpack_from("<2I", bytes_, HEAD - 8) == (80, 201)
        (seeds / f"ggml/{kind}").write_bytes(bytes_[:HEAD] + bytes_[HEAD + FILTERS:])
