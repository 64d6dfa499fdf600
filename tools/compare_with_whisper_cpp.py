"""Holds our f16 files against whisper.cpp's own converter, byte for byte.

    compare_with_whisper_cpp.py SCRIPT MEL_FILTERS CONVERT CHECKPOINT...

SCRIPT is whisper.cpp's models/convert-h5-to-ggml.py, MEL_FILTERS the whisper/assets/mel_filters.npz of the
openai-whisper package, CONVERT our program. Needs torch and transformers. A checkpoint without a
vocab.json is refused by SCRIPT; so is one whose max_length is not the length of its position embedding.
`tests/data/checkpoint` can be given too: its f16.bin is then taken as the weights.
"""
import hashlib
import pathlib
import shutil
import subprocess
import sys
import tempfile

script, mel, convert, *checkpoints = sys.argv[1:]
different = 0
for checkpoint in map(pathlib.Path, checkpoints):
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        assets = work / "repository" / "whisper" / "assets"
        assets.mkdir(parents=True)
        shutil.copy(mel, assets / "mel_filters.npz")
        model = work / "model"
        model.mkdir()
        for file in checkpoint.iterdir():
            if file.suffix == ".json" and not file.name.startswith("ggml-"):
                shutil.copy(file, model)
            elif file.name in ("model.safetensors", "pytorch_model.bin", "merges.txt"):
                (model / file.name).symlink_to(file.resolve())
        if not any(model.glob("*model*")):
            (model / "pytorch_model.bin").symlink_to((checkpoint / "f16.bin").resolve())

        subprocess.run([sys.executable, script, model, work / "repository", work], check=True,
                       stdout=subprocess.DEVNULL)
        subprocess.run([convert, "--checkpoint", model, "--quantize", "f16", "--out", work / "ours.bin"], check=True)
        theirs, ours = (work / "ggml-model.bin").read_bytes(), (work / "ours.bin").read_bytes()
        same = theirs == ours
        different += not same
        print("same     " if same else "DIFFERENT", hashlib.sha256(theirs).hexdigest(), len(theirs), checkpoint)
sys.exit(1 if different else 0)
