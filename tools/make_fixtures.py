"""Makes tests/data/checkpoint: make_fixtures.py OUT_FOLDER

Pickles of one small Whisper, written by a real torch.save in each of its forms, and the configuration and
vocabulary that go with them. Every weight is a multiple of 1/64 that follows from its position (`weights` below), so
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

# The form before zip, with a storage that two names share, and with parameters that are views of one.
torch.save(tied, out / "legacy.bin", _use_new_zipfile_serialization=False)

# Tensors that are not contiguous: every matrix transposed in memory, the kernels turned around, one of them
# in every third element of a larger storage. In both forms; and 64-bit floats.
strided = collections.OrderedDict()
for name, tensor in state.items():
    if name == "proj_out.weight":
        continue
    elif tensor.dim() == 1:
        spread = torch.zeros(tensor.numel() * 3 + 5)
        spread[5::3] = tensor
        strided[name] = half(spread)[5::3]
    else:
        strided[name] = half(tensor.transpose(0, -1).contiguous()).transpose(0, -1)
assert not any(t.is_contiguous() for t in strided.values())
save_packed(strided, out / "strided.bin")
torch.save(strided, out / "strided-legacy.bin", _use_new_zipfile_serialization=False)
save_packed({name: t.double() for name, t in state.items()}, out / "f64.bin")

# As openai-whisper saves it: its own names, and the dimensions beside them. Multilingual sizes would make a
# large file, so the vocabulary is that of the other fixtures.
OPENAI = [("model.", ""), ("layers", "blocks"), ("self_attn_layer_norm", "attn_ln"), ("self_attn", "attn"),
          ("encoder_attn_layer_norm", "cross_attn_ln"), ("encoder_attn", "cross_attn"), ("q_proj", "query"),
          ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out"), ("final_layer_norm", "mlp_ln"),
          ("fc1", "mlp.0"), ("fc2", "mlp.2"), ("embed_positions.weight", "positional_embedding"),
          ("embed_tokens", "token_embedding"), ("encoder.layer_norm", "encoder.ln_post"),
          ("decoder.layer_norm", "decoder.ln")]
dims = {"n_mels": 80, "n_vocab": 40, "n_audio_ctx": 24, "n_audio_state": 32, "n_audio_head": 2, "n_audio_layer": 1,
        "n_text_ctx": 16, "n_text_state": 32, "n_text_head": 2, "n_text_layer": 1}
openai = {}
for name, tensor in state.items():
    for theirs, ours in OPENAI:
        name = name.replace(theirs, ours)
    if name != "proj_out.weight":
        openai[name] = half(tensor)
# openai-whisper itself takes them.
import whisper  # noqa: E402
whisper.model.Whisper(whisper.model.ModelDimensions(**dims)).load_state_dict(
    {name: tensor.float() for name, tensor in openai.items()})
torch.save({"dims": dims, "model_state_dict": openai}, out / "openai.pt")

# As a trainer's run may leave it: compiled and distributed, in shards with an index.
wrapped = {"_orig_mod.module." + name: half(t) for name, t in state.items() if name != "proj_out.weight"}
names = list(wrapped)
shards = {f"pytorch_model-{i + 1:05}-of-00002.bin": names[i::2] for i in range(2)}
for file, part in shards.items():
    save_packed({name: wrapped[name] for name in part}, out / file)
index = {"metadata": {}, "weight_map": {name: file for file, part in shards.items() for name in part}}
(out / "pytorch_model.bin.index.json").write_text(json.dumps(index))

# What must be refused: a tensor that is spread over a large storage, and a call.
key = "model.encoder.conv1.weight"
save_packed({key: torch.zeros(state[key].numel() * 40)[::40].reshape(1, -1)[0].as_strided(
    state[key].shape, [80 * 3 * 40, 3 * 40, 40])}, out / "spread.bin")


class Call:
    def __reduce__(self):
        import os
        return os.system, ("touch /tmp/imesli-was-here",)


torch.save({key: Call()}, out / "call.bin")
