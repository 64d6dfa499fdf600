"""Makes tests/data/checkpoint: make_fixtures.py OUT_FOLDER

Three pickles of one small Whisper, written by a real torch.save, and the configuration and vocabulary
that go with them. Every weight is a multiple of 1/64 that follows from its position (`weights` below), so
that the tests can make the same model in any other form.
"""
import collections
import json
import pathlib
import sys
import zipfile

import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

out = pathlib.Path(sys.argv[1])
TEXT = 20
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|kab|>", "<|translate|>", "<|transcribe|>",
           "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>", "<|0.00|>"]


def weights(index, shape):
    """Tensor `index` of the state dict: element i is ((7 i + 13 index) mod 31 - 15) / 64."""
    i = torch.arange(torch.Size(shape).numel())
    return (((7 * i + 13 * index) % 31 - 15).float() / 64).reshape(shape)


config = WhisperConfig(
    vocab_size=40, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=128, decoder_ffn_dim=128, num_mel_bins=80,
    max_source_positions=24, max_target_positions=16, pad_token_id=20, bos_token_id=20, eos_token_id=20,
    decoder_start_token_id=21, begin_suppress_tokens=None, suppress_tokens=None)
model = WhisperForConditionalGeneration(config)
state = collections.OrderedDict()
for index, (name, tensor) in enumerate(model.state_dict().items()):
    state[name] = weights(index, tensor.shape)
state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]

(out / "config.json").write_text(config.to_json_string(use_diff=False))
# A letter per token, then the byte-level forms of a space and of ɣ, which is two bytes.
names = [chr(ord("a") + i) for i in range(TEXT - 2)] + ["Ġ", "É£"]
(out / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate(names)}, ensure_ascii=False))
(out / "added_tokens.json").write_text(json.dumps({name: TEXT + i for i, name in enumerate(SPECIAL)}))


def half(tensor):
    return tensor.to(torch.float16)


# As transformers saved it for years: a state dict, tied weights sharing one storage.
tied = collections.OrderedDict((name, half(t)) for name, t in state.items())
tied["proj_out.weight"] = tied["model.decoder.embed_tokens.weight"]
torch.save(tied, out / "f16.bin")

# Parameters, all of them views of one large storage, without the prefix.
bare = {name.removeprefix("model."): t for name, t in state.items() if name != "proj_out.weight"}
everything = torch.cat([t.flatten() for t in bare.values()]).to(torch.bfloat16)
views, start = {}, 0
for name, tensor in bare.items():
    views[name] = torch.nn.Parameter(everything[start:start + tensor.numel()].view(tensor.shape))
    start += tensor.numel()
torch.save(views, out / "bf16.bin")

def save_packed(value, path):
    """torch.save, and packed again by someone to save space."""
    plain = path.with_suffix(".tmp")
    torch.save(value, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w") as packed:
        for item in source.infolist():
            packed.writestr(zipfile.ZipInfo(item.filename), source.read(item), zipfile.ZIP_DEFLATED)
    plain.unlink()


save_packed(state, out / "f32.bin")

# What must be refused: a tensor that is not contiguous, one of 64-bit floats, and a call.
key = "model.encoder.conv1.weight"
save_packed({key: state[key].transpose(0, 2).contiguous().transpose(0, 2)}, out / "transposed.bin")
save_packed({key: state[key].double()}, out / "f64.bin")


class Call:
    def __reduce__(self):
        import os
        return os.system, ("touch /tmp/imesli-was-here",)


torch.save({key: Call()}, out / "call.bin")
