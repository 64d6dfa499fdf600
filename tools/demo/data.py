"""Strings of spoken digits, synthesised from single clips of the Free Spoken Digit Dataset.

Used by train.py (speakers' clips with index 5 to 49) and evaluate.py (index 2 to 4, never trained on). The clips are
placed at known times, so every digit comes with its exact start and end.
"""
import glob, math, os
import numpy as np, torch
import whisper.tokenizer
from scipy.io import wavfile
from scipy.signal import resample_poly

RATE, FRAME = 16000, 0.02  # one encoder frame is 20 ms
PHRASE_GAP = 0.6  # a pause of this many seconds or more begins a new phrase (a new timestamped segment)
LABEL_SHARE = 0.6  # a digit that is cut by the edge of the audio counts if this share of it is inside
NAMES = "zero one two three four five six seven eight nine".split()

tokenizer = whisper.tokenizer.get_tokenizer(True, language="en", task="transcribe", num_languages=99)
WORDS = [tokenizer.encode(" " + name)[0] for name in NAMES]
START = [tokenizer.sot, tokenizer.to_language_token("en"), tokenizer.transcribe]
EOT, NO_TS, TS0, PREV, NO_SPEECH = (tokenizer.eot, tokenizer.no_timestamps, tokenizer.timestamp_begin,
                                    tokenizer.sot_prev, tokenizer.no_speech)


def trim(x):
    """Drops what is 40 dB below the loudest 10 ms, so that a clip's ends are the word's ends."""
    level = np.sqrt(np.convolve(x * x, np.ones(160) / 160, "same"))
    loud = np.nonzero(level > level.max() * 0.01)[0]
    return x[loud[0]:loud[-1] + 1]


def load_clips(folder):
    """{"train" or "test": {speaker: {digit: [samples at 16 kHz]}}}"""
    clips = {"train": {}, "test": {}}
    for path in sorted(glob.glob(f"{folder}/*.wav")):
        digit, speaker, index = os.path.basename(path)[:-4].split("_")
        rate, x = wavfile.read(path)
        x = trim(resample_poly(x.astype(np.float32) / 32768, RATE, rate).astype(np.float32))
        split = "test" if int(index) < 5 else "train"
        clips[split].setdefault(speaker, {}).setdefault(int(digit), []).append(x / (np.abs(x).max() + 1e-6) * 0.9)
    return clips


def noise(kind, n, rng):
    """Noise with an RMS of 1."""
    white = np.random.default_rng(rng.getrandbits(32)).standard_normal(n).astype(np.float32)
    if kind == "white":
        return white
    if kind == "hum":
        t, mains = np.arange(n, dtype=np.float32) / RATE, rng.choice([50, 60])
        x = sum(rng.uniform(0, 1) / k * np.sin(2 * math.pi * mains * k * t + rng.uniform(0, 6)) for k in range(1, 8))
        x = x + 0.02 * white
    elif kind == "clicks":
        x = 0.003 * white
        for _ in range(max(1, int(n / RATE * rng.uniform(0.3, 3)))):
            k, length = rng.randrange(n), rng.randrange(20, 400)
            x[k:k + length] += (white[:length] * np.exp(-np.arange(length) / length * 5))[:n - k] * rng.uniform(0.2, 1)
    else:  # coloured: the spectrum falls by 3 dB an octave (pink) or 6 (brown)
        f = np.fft.rfft(white)
        f /= np.maximum(np.arange(len(f)), n / RATE * 20) ** (0.5 if kind == "pink" else 1.0)
        x = np.fft.irfft(f, n)
    return (x / (np.sqrt(np.mean(x * x)) + 1e-9)).astype(np.float32)


def digit_sequence(rng, runs):
    """An endless string of digits; `runs` is the probability that the last digit comes again."""
    last = rng.randrange(10)
    while True:
        yield last
        last = last if rng.random() < runs else rng.randrange(10)


def speech(clips, rng, seconds, begin, most, gaps, pauses, runs, cut=False, vary=True, mixed=False):
    """Digits from `begin` to the end: audio and [(start s, end s, digit)], which may lie partly outside if `cut`.

    gaps: range of the silence between digits in seconds; pauses: probability of a longer one (0.7 to 2 s).
    """
    n = int(seconds * RATE)
    audio, words, speaker, t = np.zeros(n, np.float32), [], rng.choice(sorted(clips)), int(begin * RATE)
    same_clip = rng.random() < 0.2  # some runs repeat the very same recording
    last, x = None, None
    for digit in digit_sequence(rng, runs):
        if mixed and rng.random() < 0.3:
            speaker = rng.choice(sorted(clips))
        if not (same_clip and digit == last):
            x = rng.choice(clips[speaker][digit])
            if vary and rng.random() < 0.5:  # speed and pitch
                x = np.interp(np.arange(0, len(x) - 1, rng.uniform(0.9, 1.12)), np.arange(len(x)), x).astype(np.float32)
        last = digit
        if len(words) >= most or t >= n or (t + len(x) > n and not cut):
            break
        a, b = max(t, 0), min(t + len(x), n)
        if b > a:
            audio[a:b] += x[a - t:b - t] * rng.uniform(0.5, 1)
        words.append((t / RATE, (t + len(x)) / RATE, digit))
        gap = rng.uniform(0.7, 2.0) if rng.random() < pauses else rng.uniform(*gaps)
        t += len(x) + int(gap * RATE)
    return audio, words


def training_example(clips, rng, seconds, padded):
    """One window of `seconds`, with digital silence after the speech if `padded`: audio and the words' times."""
    kinds = ["white", "white", "pink", "brown", "hum", "clicks"]
    span = 0.6 + (seconds - 1) * rng.random() ** 1.5 if padded else seconds
    if rng.random() < 0.06:  # no digits: silence, noise, the first bit of a word
        audio, words = np.zeros(int(span * RATE), np.float32), []
        if rng.random() < 0.85:
            audio += noise(rng.choice(kinds), len(audio), rng) * 10 ** rng.uniform(-4, -0.5)
        if rng.random() < 0.3:
            audio += noise(rng.choice(kinds), len(audio), rng) * 10 ** rng.uniform(-4, -1)
    else:
        dense = rng.random()
        gaps = (0.02, 0.2) if dense < 0.25 else (0.05, 0.45) if dense < 0.85 else (0.2, 1.0)
        runs = rng.choice([0, 0, 0.3, 0.3, 0.6, 0.6, 0.75, 0.9])
        begin = rng.uniform(-0.5, 0.8) if rng.random() < 0.8 else rng.uniform(0, span / 2)
        most = 10 ** 6 if rng.random() < 0.6 else rng.randint(1, max(2, int(span)))
        audio, words = speech(clips, rng, span, begin, most, gaps, rng.choice([0, 0.05, 0.2]), runs,
                              cut=rng.random() < 0.6, mixed=rng.random() < 0.15)
        audio *= rng.uniform(0.3, 1)
        level = math.sqrt(float(np.mean(audio ** 2)) + 1e-12)
        if rng.random() < 0.85:
            snr = rng.uniform(20, 60) if rng.random() < 0.6 else rng.uniform(0, 25)
            audio += noise(rng.choice(kinds), len(audio), rng) * (level * 10 ** (-snr / 20))
    if rng.random() < 0.8:
        audio *= 0.9 / (np.abs(audio).max() + 1e-6) if np.abs(audio).max() > 1e-4 else 1
    out = np.zeros(int(seconds * RATE), np.float32)
    out[:len(audio)] = audio
    return out, words, span


def inside(word, span):
    return (min(word[1], span) - max(word[0], 0)) / (word[1] - word[0])


def phrases(words):
    groups = []
    for word in words:
        if groups and word[0] - groups[-1][-1][1] < PHRASE_GAP:
            groups[-1].append(word)
        else:
            groups.append([word])
    return groups


def target(words, seconds, span, timestamps):
    """Text tokens with the interval of the audio that each one speaks of: [(token, start s, end s)].

    With timestamps, a digit that the end of the window cuts is left out and its start is given in place of it, as
    Whisper does: a program that decodes window after window goes on from there.
    """
    whole = [w for w in words if inside(w, span) >= LABEL_SHARE]
    onset = None
    if timestamps and words and words[-1][1] > seconds + 0.02:
        *_, (start, end, _) = words
        whole = [w for w in whole if w is not words[-1]]
        onset = start if seconds - start > 0.1 else None
    out = []
    for group in phrases([(max(s, 0), min(e, span), d) for s, e, d in whole]):
        start, end = group[0][0], group[-1][1]
        text = [(WORDS[d], s, e) for s, e, d in group]
        if timestamps:
            text = [(TS0 + round(start / FRAME), start, start + 0.1), *text, (TS0 + round(end / FRAME), end - 0.1, end)]
        out += text
    if out and onset is not None:
        out.append((TS0 + round(onset / FRAME), onset, onset + 0.1))
    return out


assets = os.path.join(os.path.dirname(whisper.tokenizer.__file__), "assets")
filters = torch.tensor(np.load(f"{assets}/mel_filters.npz")["mel_80"])
window = torch.hann_window(400)


def log_mel(x):
    power = torch.stft(torch.as_tensor(x), 400, 160, window=window, return_complex=True)[..., :-1].abs() ** 2
    mel = torch.clamp(filters @ power, min=1e-10).log10()
    return (torch.maximum(mel, mel.amax((-2, -1), keepdim=True) - 8) + 4) / 4


def word_errors(reference, hypothesis):
    row = list(range(len(hypothesis) + 1))
    for i, a in enumerate(reference):
        new = [i + 1]
        for j, b in enumerate(hypothesis):
            new.append(min(row[j + 1] + 1, new[j] + 1, row[j] + (a != b)))
        row = new
    return row[-1]


def make_batch(clips, rng, seconds, padded, total, share, row_of):
    """Audio, token ids and the supervision of about `total` seconds of windows.

    share: how many have timestamps; row_of: {token: row of the reduced vocabulary}
    """
    frames = int(seconds / FRAME)
    audio, rows = [], []
    count = max(2, int(total / seconds))
    classes, begun = np.zeros((count, frames), np.int64), np.zeros((count, frames), np.float32)
    context, run = np.zeros((count, frames, 3), np.int64), np.zeros((count, frames), np.float32)
    for i in range(count):
        x, words, span = training_example(clips, rng, seconds, padded)
        audio.append(x)
        timestamps = rng.random() < share
        text = target(words, seconds, span, timestamps)
        for start, end, digit in words:
            a, b = max(0, round(start / FRAME)), round(min(end, span) / FRAME)
            classes[i, a:b] = digit + 1
        counted = target(words, seconds, span, False)
        digits, equal = [0, 0, *(WORDS.index(t) + 1 for t, _, _ in counted), 0], 0
        for k, (_, start, _) in enumerate(counted):
            equal = equal + 1 if digits[k + 2] == digits[k + 1] else 1
            frame = round(start / FRAME)
            begun[i, frame:], run[i, frame:] = k + 1, equal
            context[i, frame:] = digits[k + 1], digits[k], digits[k + 3]  # one before, two before, one after
        for start, end, digit in words:  # cut digits without a label: neither digit nor nothing
            if not any(abs(max(start, 0) - s) < 1e-6 for _, s, _ in counted):
                classes[i, max(0, round(start / FRAME)):round(min(end, span) / FRAME)] = -100
        prompt = [PREV, *(rng.choice(WORDS) for _ in range(rng.randint(1, 12)))] if rng.random() < 0.05 else []
        start = prompt + START + [NO_TS] * (not timestamps)
        ids = [row_of[t] for t in start + [t for t, _, _ in text] + [EOT]]
        labels = [-100] * len(prompt) + ids[len(prompt) + 1:]
        if not text:
            labels[len(prompt)] = row_of[NO_SPEECH]
        last = text[-1][2] if text else 0
        following = [s for _, s, _ in text[1:]] + [last]
        spans = ([(-1, -1, -1)] * (len(start) - 1) + [(s, e, max(e, n)) for (_, s, e), n in zip(text, following)]
                 + [(last, last + 0.5, last + 0.5) if text else (-1, -1, -1)])
        history, last_digit = [(0, 0)] * len(start), None
        for token, _, _ in text:
            read, equal = history[-1]
            if token < EOT:
                read, equal, last_digit = read + 1, equal + 1 if token == last_digit else 1, token
            history.append((read, equal))
        rows.append((ids[:-1], labels[:len(ids) - 1], spans, history))
    longest = max(len(r[0]) for r in rows)
    ids = torch.tensor([r[0] + [row_of[EOT]] * (longest - len(r[0])) for r in rows])
    labels = torch.tensor([r[1] + [-100] * (longest - len(r[1])) for r in rows])
    spans = torch.tensor([r[2] + [(-1.0, -1.0, -1.0)] * (longest - len(r[2])) for r in rows])
    history = torch.tensor([r[3] + [(0, 0)] * (longest - len(r[3])) for r in rows], dtype=torch.float32)
    valid = spans[..., 1] >= 0
    begin = (spans[..., 0] / FRAME).round().clamp(0, frames - 3)
    end = torch.maximum((spans[..., 1] / FRAME).round(), begin + 3)
    t = torch.arange(frames)
    # where to look: evenly at the frames of the token that is predicted, and a little at the pause that follows, which
    # so falls to the word before it when the attention is aligned: the starts of words stay exact
    pause = (t >= end[..., None]) & (t < (spans[..., 2] / FRAME).round()[..., None])
    where = (((t >= begin[..., None]) & (t < end[..., None])) + 0.05 * pause) * valid[..., None]
    where = where / where.sum(-1, keepdim=True).clamp(min=1e-3)
    return (np.stack(audio), ids, labels, where, history, *map(torch.tensor, (classes, begun, context, run)))
