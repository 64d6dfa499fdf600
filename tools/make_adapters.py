"""Makes tests/data/checkpoint/adapters with a real PEFT: make_adapters.py OUT_FOLDER

For each adapter, a folder as `save_pretrained` writes it, trained on the model of make_fixtures.py (or rather:
filled with random numbers), and merged.safetensors: the tensors that `merge_and_unload` changed, as f32.
"""
import json
import pathlib
import shutil
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import WhisperConfig, WhisperForConditionalGeneration

out = pathlib.Path(sys.argv[1])
fixtures = pathlib.Path(__file__).resolve().parent.parent / "tests/data/checkpoint"


def weights(index, shape):
    """As in make_fixtures.py."""
    i = torch.arange(torch.Size(shape).numel())
    return (((7 * i + 13 * index) % 31 - 15).float() / 64).reshape(shape)


def base():
    model = WhisperForConditionalGeneration(WhisperConfig.from_json_file(fixtures / "config.json"))
    names = [name for name in model.state_dict() if name != "proj_out.weight"]
    model.load_state_dict({name: weights(i, model.state_dict()[name].shape) for i, name in enumerate(names)}, strict=False)
    model.tie_weights()
    return model.float()


ADAPTERS = {
    # The commonest of all, as bf16.
    "plain": (LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], lora_dropout=0.05), torch.bfloat16),
    # Attention and MLP, ranks and alphas of their own, rank stabilisation, biases trained, a module saved whole.
    "patterns": (LoraConfig(
        r=4, lora_alpha=6, target_modules=["k_proj", "out_proj", "fc2"], use_rslora=True, bias="lora_only",
        rank_pattern={"^model.decoder.layers.0.fc2": 2, "encoder.layers.0.self_attn.k_proj": 3},
        alpha_pattern={r"layers\.\d+\.encoder_attn\.out_proj": 16}, modules_to_save=["encoder.layer_norm"]), torch.float32),
    # Must be refused, by name.
    "dora": (LoraConfig(r=2, target_modules=["q_proj"], use_dora=True), torch.float32),
    "embedding": (LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["embed_tokens"]), torch.bfloat16),
}

torch.manual_seed(0)
for name, (config, dtype) in ADAPTERS.items():
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    model = get_peft_model(base(), config)
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn_like(parameter) * 0.1 if "lora_" in key else parameter.data + 0.125
            # What the file holds is then what was merged.
            parameter.data = parameter.data.to(dtype).float()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = "openai/whisper-small"
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=1, sort_keys=True))
    if name in ("plain", "patterns"):
        model.float()
        before, merged = base().state_dict(), model.merge_and_unload().state_dict()
        changed = {key: t.contiguous() for key, t in merged.items() if not torch.equal(t, before[key])}
        save_file(changed, folder / "merged.safetensors")
    print(name, sorted(p.name for p in folder.iterdir()), sum(p.stat().st_size for p in folder.iterdir()))
