"""Trains a small Whisper (Hugging Face form) on strings of spoken digits.

    pip install torch transformers openai-whisper safetensors scipy
    python tools/demo/train.py ../shared/data/fsdd OUT_DIR --minutes 100

Runs on two CPU cores or on a GPU. The strings are synthesised, so the time of each digit is known, and the training
uses it in auxiliary losses, without which the decoder takes far longer to find the place that it is to read:
  - each encoder frame is classified (digit or nothing),
  - each encoder frame tells how many digits have begun so far, which digits stand before and after it, and how many
    equal ones came in a row (the decoder finds its place by these; runs of one digit are told apart by nothing else),
  - the decoder's first layer tells the same two counts of the tokens read so far,
  - one cross-attention head in each decoder layer is told where to look: these become `alignment_heads`.
The schedule is by time, not by steps. OUT_DIR/state.pt lets a stopped run go on.
"""
import argparse, math, os, random, time
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration
from data import (EOT, NO_SPEECH, NO_TS, PREV, RATE, START, TS0, WORDS, load_clips, log_mel, make_batch,
                  speech, tokenizer, word_errors)

# (share of the time until this phase ends, [(weight, window seconds, padded)], decoder on, share with timestamps)
PHASES = [
    (0.05, [(1, 4, False)], False, 0.0),
    (0.09, [(1, 6, False)], True, 0.3),
    (0.40, [(2, 6, False), (1, 10, True), (3, 14, False), (2, 20, False), (1, 30, True), (2, 30, False)], True, 0.5),
    (1.00, [(1, 6, False), (1, 10, True), (2, 16, False), (1, 22, False), (3, 30, True), (4, 30, False)], True, 0.5),
]
D, HEADS, VOCAB = 128, 2, 51865
PERIODS = torch.tensor([2.0, 4.0, 8.0, 16.0, 64.0])  # of the sines and cosines of the running count
RUN_PERIODS = PERIODS[:3]  # of those of the number of equal digits in a row

# The vocabulary is trained in a reduced form: only a few tokens are ever used. All others share one embedding row,
# which counts as many times as there are such tokens, so that the softmax over the full vocabulary is right and the
# file compresses well.
USED = sorted({EOT, NO_TS, PREV, NO_SPEECH, *START, *WORDS, *range(TS0, TS0 + 1501)})
ROW = {t: i for i, t in enumerate(USED)}
FIRST_TS = ROW[TS0]


def sinusoids(length, width):
    t = torch.arange(length).unsqueeze(1) * torch.exp(-math.log(10000) / (width // 2 - 1) * torch.arange(width // 2))
    return torch.cat([t.sin(), t.cos()], 1)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.k_proj = nn.Linear(D, D, bias=False)
        self.v_proj, self.q_proj, self.out_proj = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, D)

    def heads(self, x):
        return x.view(x.shape[0], -1, HEADS, 64).transpose(1, 2)

    def keys(self, memory):
        return self.heads(self.k_proj(memory)), self.heads(self.v_proj(memory))

    def forward(self, x, memory=None, causal=False, weights=False):
        q = self.heads(self.q_proj(x))
        k, v = memory if isinstance(memory, tuple) else self.keys(x if memory is None else memory)
        log_weights = None
        if weights:
            log_weights = F.log_softmax((q @ k.transpose(-1, -2)).float() / 8, -1)
            out = log_weights.exp().to(v.dtype) @ v
            log_weights = log_weights[:, 0]  # of the guided head
        else:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out_proj(out.transpose(1, 2).flatten(2)), log_weights


class Layer(nn.Module):
    def __init__(self, cross):
        super().__init__()
        self.self_attn, self.self_attn_layer_norm = Attention(), nn.LayerNorm(D)
        if cross:
            self.encoder_attn, self.encoder_attn_layer_norm = Attention(), nn.LayerNorm(D)
        self.fc1, self.fc2, self.final_layer_norm = nn.Linear(D, 4 * D), nn.Linear(4 * D, D), nn.LayerNorm(D)

    def forward(self, x, memory=None):
        x = x + self.self_attn(self.self_attn_layer_norm(x), causal=memory is not None)[0]
        weights = None
        if memory is not None:
            out, weights = self.encoder_attn(self.encoder_attn_layer_norm(x), memory, weights=True)
            x = x + out
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x)))), weights


class Encoder(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(80, D, 3, padding=1), nn.Conv1d(D, D, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding.from_pretrained(sinusoids(1500, D) * 0.5, freeze=True)
        self.layers, self.layer_norm = nn.ModuleList(Layer(False) for _ in range(layers)), nn.LayerNorm(D)

    def forward(self, mel):
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.embed_positions.weight[:x.shape[1]]
        for layer in self.layers:
            x, _ = layer(x)
        return self.layer_norm(x)


class Decoder(nn.Module):
    """Works on token vectors (see Model.table). `memory`: the encoder's output, or each layer's keys and values."""

    def __init__(self, layers):
        super().__init__()
        self.embed_positions = nn.Embedding.from_pretrained(sinusoids(448, D) * 0.15, freeze=False)
        self.layers, self.layer_norm = nn.ModuleList(Layer(True) for _ in range(layers)), nn.LayerNorm(D)

    def forward(self, x, memory):
        x, guided, first = x + self.embed_positions.weight[:x.shape[1]], [], None
        for k, layer in enumerate(self.layers):
            x, weights = layer(x, memory[k] if isinstance(memory, list) else memory)
            guided.append(weights)
            first = x if first is None else first
        return self.layer_norm(x), guided, first


class Model(nn.Module):
    """The names inside `encoder` and `decoder` are those of WhisperModel."""

    def __init__(self, encoder_layers, decoder_layers):
        super().__init__()
        self.encoder, self.decoder = Encoder(encoder_layers), Decoder(decoder_layers)
        self.rows = nn.Parameter(torch.randn(len(USED), D) * 0.08)
        with torch.no_grad():
            self.rows[FIRST_TS:] *= 0.1
        # a timestamp's row is a smooth function of its time plus its own part: neighbours learn from each other
        self.time = nn.Linear(D, D, bias=False)
        self.register_buffer("times", sinusoids(1501, D) * 0.15, persistent=False)
        self.unused = nn.Parameter(torch.full((D,), -0.01))
        self.frames, self.count = nn.Linear(D, 11), nn.Linear(D, 1 + 2 * len(PERIODS))  # auxiliary: dropped at the end
        self.context = nn.Linear(D, 3 * 11 + 1 + 2 * len(RUN_PERIODS))
        self.history = nn.Linear(D, 2 + 2 * len(PERIODS) + 2 * len(RUN_PERIODS))
        for name, p in self.named_parameters():
            if p.dim() == 2 and ".layers." in name:
                nn.init.xavier_uniform_(p)
            elif p.dim() == 3:
                nn.init.kaiming_normal_(p, nonlinearity="relu")
                p.data *= 1.5
        with torch.no_grad():  # equal queries and keys: the encoder's attention starts out local
            for layer in self.encoder.layers:
                layer.self_attn.k_proj.weight.copy_(layer.self_attn.q_proj.weight)
            self.time.weight.copy_(torch.eye(D))

    def table(self):
        return torch.cat([self.rows[:FIRST_TS], self.rows[FIRST_TS:] + self.time(self.times)])

    def decode(self, ids, memory):
        table = self.table()
        out, guided, first = self.decoder(table[ids], memory)
        out = out.float()
        rest = (out @ self.unused).unsqueeze(-1) + math.log(VOCAB - len(USED))
        return torch.cat([out @ table.float().T, rest], -1), guided, first


class Optimizer:
    """Muon (orthogonalised momentum) for the layers' matrices, AdamW for all else."""

    def __init__(self, model, rate, matrix_rate):
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        self.rate, self.matrix_rate = rate, matrix_rate
        self.matrices = [p for n, p in named if p.dim() == 2 and ".layers." in n]
        self.adam = torch.optim.AdamW([p for n, p in named if not (p.dim() == 2 and ".layers." in n)], lr=rate,
                                      weight_decay=0.01, betas=(0.9, 0.98))
        self.momentum = [torch.zeros_like(p) for p in self.matrices]

    @torch.no_grad()
    def step(self, factor):
        for group in self.adam.param_groups:
            group["lr"] = self.rate * factor
        self.adam.step()
        shapes = {}
        for p, m in zip(self.matrices, self.momentum):
            if p.grad is not None:
                m.lerp_(p.grad, 0.05)
                shapes.setdefault(tuple(sorted(p.shape)), []).append((p, p.grad.lerp(m, 0.95)))
        for pairs in shapes.values():
            g = torch.stack([u if u.shape[0] <= u.shape[1] else u.T for _, u in pairs]).bfloat16()
            g = g / (g.norm(dim=(1, 2), keepdim=True) + 1e-7)
            for _ in range(5):  # Newton-Schulz
                a = g @ g.transpose(1, 2)
                g = 3.4445 * g + (-4.7750 * a + 2.0315 * a @ a) @ g
            for (p, u), o in zip(pairs, g.float()):
                o = o if u.shape[0] <= u.shape[1] else o.T
                p.mul_(1 - 0.01 * self.matrix_rate * factor)
                p.add_(o, alpha=-self.matrix_rate * factor * max(1, p.shape[0] / p.shape[1]) ** 0.5)

    def state(self):
        return {"adam": self.adam.state_dict(), "momentum": self.momentum}

    def load(self, state):
        self.adam.load_state_dict(state["adam"])
        self.momentum = state["momentum"]


def count_loss(predicted, wanted, scale, periods):
    angle = wanted[..., None] * (2 * math.pi / periods.to(wanted.device))
    wanted = torch.cat([wanted[..., None] / scale, angle.sin(), angle.cos()], -1)
    return F.smooth_l1_loss(predicted, wanted, beta=0.3)


def losses(model, mel, ids, labels, where, history, classes, begun, context, run, decoder_on):
    memory = model.encoder(mel)
    around = model.context(memory).float()
    out = {"frame": F.cross_entropy(model.frames(memory).float().flatten(0, 1), classes.flatten(), ignore_index=-100),
           "count": count_loss(model.count(memory).float(), begun, 10, PERIODS),
           "context": F.cross_entropy(around[..., :33].reshape(-1, 11), context.flatten()),
           "run": count_loss(around[..., 33:], run, 4, RUN_PERIODS)}
    if decoder_on:
        logits, guided, first = model.decode(ids, memory)
        counts, known = model.history(first).float(), labels >= 0
        out["history"] = (count_loss(counts[..., :11][known], history[..., 0][known], 10, PERIODS)
                          + count_loss(counts[..., 11:][known], history[..., 1][known], 4, RUN_PERIODS))
        out["token"] = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
        # the first layer's head looks at the token that was read last, the others' at the one that comes next
        before = F.pad(where, (0, 0, 1, 0))[:, :-1]
        parts = [-(w * g).sum(-1)[w.sum(-1) > 0].mean() for w, g in zip([before] + [where] * len(guided), guided)]
        out["guide"] = torch.stack(parts).nan_to_num(0).mean()
        out["last guide"] = parts[-1].detach()
    return out


@torch.no_grad()
def greedy(model, audio, timestamps, limit):
    """Digits read from windows of equal length."""
    device = model.rows.device
    memory = model.encoder(log_mel(audio).to(device))
    memory = [layer.encoder_attn.keys(memory) for layer in model.decoder.layers]
    ids = torch.tensor([[ROW[t] for t in START + [NO_TS] * (not timestamps)]] * len(audio), device=device)
    first = ids.shape[1]
    for _ in range(limit):
        logits = model.decode(ids, memory)[0][:, -1, :-1]
        logits[:, ROW[NO_TS]] = -1e9
        best = logits.argmax(-1)
        best[(ids[:, first:] == ROW[EOT]).any(1)] = ROW[EOT]
        ids = torch.cat([ids, best[:, None]], 1)
        if (best == ROW[EOT]).all():
            break
    return [[USED[t] for t in row[first:]] for row in ids.tolist()]


def held_out(clips, seconds, span, count, runs=0.1, most=10 ** 6, pauses=0.1):
    """Fixed strings of the test split."""
    rng, out = random.Random(7), []
    for _ in range(count):
        x, words = speech(clips, rng, span, rng.uniform(0.1, 0.5), most, (0.05, 0.45), pauses, runs, vary=False)
        window = np.zeros(int(seconds * RATE), np.float32)
        window[:len(x)] = x * (0.9 / np.abs(x).max())
        out.append((window, [WORDS[w[2]] for w in words]))
    return out


def word_error_rate(model, strings, timestamps):
    errors = total = 0
    for k in range(0, len(strings), 8):
        part = strings[k:k + 8]
        limit = max(len(w) for _, w in part) * (2 if timestamps else 1) + 8
        read = greedy(model, np.stack([x for x, _ in part]), timestamps, limit)
        errors += sum(word_errors(w, [t for t in ids if t in WORDS]) for (_, w), ids in zip(part, read))
        total += sum(len(w) for _, w in part)
    return errors / total


def export(model, folder):
    """Saves the model in the Hugging Face form, f16."""
    encoder_layers, decoder_layers = len(model.encoder.layers), len(model.decoder.layers)
    config = WhisperConfig(
        vocab_size=VOCAB, d_model=D, encoder_layers=encoder_layers, decoder_layers=decoder_layers, num_mel_bins=80,
        encoder_attention_heads=HEADS, decoder_attention_heads=HEADS, encoder_ffn_dim=4 * D, decoder_ffn_dim=4 * D,
        max_source_positions=1500, max_target_positions=448, dropout=0.0, bos_token_id=EOT, eos_token_id=EOT,
        pad_token_id=EOT, decoder_start_token_id=tokenizer.sot, suppress_tokens=[], begin_suppress_tokens=None)
    whisper = WhisperForConditionalGeneration(config)
    with torch.no_grad():
        table = model.unused.detach().cpu().repeat(VOCAB, 1)
        table[torch.tensor(USED)] = model.table().float().cpu()
        state = {f"model.encoder.{k}": v for k, v in model.encoder.state_dict().items()}
        state |= {f"model.decoder.{k}": v for k, v in model.decoder.state_dict().items()}
        state |= {"model.decoder.embed_tokens.weight": table, "proj_out.weight": table}
        whisper.load_state_dict(state)
    whisper.generation_config = GenerationConfig(
        alignment_heads=[[layer, 0] for layer in (decoder_layers - 2, decoder_layers - 1)],  # these two align best
        begin_suppress_tokens=None, suppress_tokens=[], bos_token_id=EOT, eos_token_id=EOT, pad_token_id=EOT,
        decoder_start_token_id=tokenizer.sot, is_multilingual=True,
        lang_to_id={f"<|{code}|>": tokenizer.to_language_token(code) for code in tokenizer.all_language_codes},
        task_to_id={"transcribe": tokenizer.transcribe, "translate": tokenizer.translate}, language="<|en|>",
        task="transcribe", max_length=448, max_initial_timestamp_index=None, no_timestamps_token_id=NO_TS,
        prev_sot_token_id=PREV, return_timestamps=False)
    whisper.half().save_pretrained(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--minutes", type=float, default=100)
    parser.add_argument("--batch-seconds", type=float, default=120)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--matrix-rate", type=float, default=0.01)
    parser.add_argument("--layers", type=int, nargs=2, default=[4, 4], help="of the encoder and of the decoder")
    parser.add_argument("--test-minutes", type=float, default=6, help="between tests on held-out strings")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    os.makedirs(args.out, exist_ok=True)
    clips = load_clips(args.data)
    model = Model(*args.layers).to(device)
    average = Model(*args.layers).to(device).eval()
    average.load_state_dict(model.state_dict())
    optimizer = Optimizer(model, args.rate, args.matrix_rate)
    tests = {"6 s": held_out(clips["test"], 6, 6, 16), "12 in 30 s": held_out(clips["test"], 30, 16, 16, most=12),
             "full 30 s": held_out(clips["test"], 30, 30, 8, pauses=0.02)}
    elapsed, step, state_file = 0.0, 0, f"{args.out}/state.pt"
    if os.path.exists(state_file):
        saved = torch.load(state_file, map_location=device)
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        optimizer.load(saved["optimizer"])
        elapsed, step = saved["elapsed"], saved["step"]
    rng = random.Random(args.seed * 1000003 + step)
    mixed = torch.autocast(device, torch.bfloat16)
    sums, clock, tested = {}, time.time(), elapsed
    while elapsed < args.minutes * 60:
        done = elapsed / (args.minutes * 60)
        _, windows, decoder_on, share = next(p for p in PHASES if done < p[0])
        _, seconds, padded = rng.choices(windows, [w[0] for w in windows])[0]
        audio, *supervision = make_batch(clips["train"], rng, seconds, padded, args.batch_seconds, share, ROW)
        with mixed:
            parts = losses(model, log_mel(audio).to(device), *(s.to(device) for s in supervision), decoder_on)
        loss = parts["frame"] + parts["count"] + 0.3 * parts["context"] + parts["run"]
        if decoder_on:
            loss = loss + parts["token"] + 0.3 * parts["guide"] + parts["history"]
        for p in model.parameters():
            p.grad = None
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(min(1, (step + 1) / 100) * (0.5 * (1 + math.cos(math.pi * done)) * 0.98 + 0.02))
        step += 1
        with torch.no_grad():
            decay = min(0.998, (1 + step) / (20 + step))
            for a, p in zip(average.parameters(), model.parameters()):
                a.lerp_(p, 1 - decay)
        for name, value in parts.items():
            sums.setdefault(f"{name} {seconds}{'p' if padded else ''}", []).append(value.item())
        now = time.time()
        elapsed, clock = elapsed + min(now - clock, 30), now
        if step % 200 == 0:
            means = ", ".join(f"{k} {np.mean(v):.2f}" for k, v in sorted(sums.items()))
            print(f"{elapsed / 60:.1f} min, step {step}: {means}", flush=True)
            sums = {}
        if decoder_on and elapsed - tested > args.test_minutes * 60 or elapsed >= args.minutes * 60:
            tested = elapsed
            for name, strings in tests.items():
                if done > 0.2 or name == "6 s":
                    with mixed:
                        rates = [word_error_rate(average, strings, timestamps) for timestamps in (False, True)]
                    print(f"  {name}: word error rate {rates[0]:.3f}, with timestamps {rates[1]:.3f}", flush=True)
            torch.save({"model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state(),
                        "elapsed": elapsed, "step": step}, state_file)
            export(average, args.out)
            clock = time.time()


if __name__ == "__main__":
    main()
