"""Compares imesli's merge of a LoRA adapter with PEFT's, tensor by tensor: compare_with_peft.py BASE ADAPTER [IMESLI]

BASE is a checkpoint folder. ADAPTER is a PEFT adapter of it; where the folder is not there, it is made: rank 8, all
linear layers of attention and MLP, filled with random numbers. Prints the largest difference, and exits with 1 where it
is over 1e-5. Needs torch, transformers, peft.
"""
import pathlib
import struct
import subprocess
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import WhisperForConditionalGeneration

NAMES = [("model.", ""), ("layers", "blocks"), ("self_attn_layer_norm", "attn_ln"), ("self_attn", "attn"),
         ("encoder_attn_layer_norm", "cross_attn_ln"), ("encoder_attn", "cross_attn"), ("q_proj", "query"),
         ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out"), ("final_layer_norm", "mlp_ln"), ("fc1", "mlp.0"),
         ("fc2", "mlp.2"), ("embed_positions.weight", "positional_embedding"), ("embed_tokens", "token_embedding"),
         ("encoder.layer_norm", "encoder.ln_post"), ("decoder.layer_norm", "decoder.ln")]
LINEAR = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


def ggml(path):
    """The tensors of an f32 file, by name and flat."""
    data = path.read_bytes()
    at = 48
    rows, columns = struct.unpack_from("<2I", data, at)
    at += 8 + rows * columns * 4
    tokens, = struct.unpack_from("<I", data, at)
    at += 4
    for _ in range(tokens):
        at += 4 + struct.unpack_from("<I", data, at)[0]
    while at < len(data):
        dims, length, kind = struct.unpack_from("<3I", data, at)
        assert kind == 0, "the file is not of f32"
        shape = struct.unpack_from(f"<{dims}I", data, at + 12)
        at += 12 + 4 * dims
        name = data[at:at + length].decode()
        at += length
        count = torch.Size(shape).numel()
        yield name, torch.frombuffer(bytearray(data[at:at + 4 * count]), dtype=torch.float32)
        at += 4 * count


def main():
    base, adapter = map(pathlib.Path, sys.argv[1:3])
    program = sys.argv[3] if len(sys.argv) > 3 else "target/release/imesli"
    model = WhisperForConditionalGeneration.from_pretrained(base, dtype=torch.float32)
    if not adapter.exists():
        torch.manual_seed(0)
        trained = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=LINEAR))
        for name, parameter in trained.named_parameters():
            if "lora_" in name:
                parameter.data = torch.randn_like(parameter) * 0.05
        trained.save_pretrained(adapter)
        model = WhisperForConditionalGeneration.from_pretrained(base, dtype=torch.float32)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload().state_dict()
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "merged.bin"
        subprocess.run([program, "convert", "--checkpoint", adapter, "--base", base, "--quantize", "f32", "--out", out],
                       check=True)
        ours = dict(ggml(out))
    worst, changed = 0.0, 0
    for name, tensor in merged.items():
        short = name
        for theirs, mine in NAMES:
            short = short.replace(theirs, mine)
        if name == "proj_out.weight":
            continue
        worst = max(worst, float((ours.pop(short) - tensor.flatten()).abs().max()))
        changed += not torch.equal(tensor, before[name])
    assert not ours, f"not of the model: {list(ours)}"
    print(f"{changed} of {len(merged) - 1} tensors changed by the adapter; the largest difference is {worst:.2e}")
    sys.exit(worst > 1e-5 or not changed)


if __name__ == "__main__":
    main()
