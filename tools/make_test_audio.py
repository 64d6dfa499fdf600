#!/usr/bin/env python3
"""Builds tests/data: short strings of spoken digits, in WAV and in the other formats we decode.

    tools/make_test_audio.py FSDD_RECORDINGS_FOLDER

The takes come from the test split of the Free Spoken Digit Dataset (index 0 to 4; we use 2 to 4), so that no
model trained on the rest has heard them. Needs ffmpeg, sox and numpy. The output is committed: the tests need
neither this script nor any of those.

`references.json` has what ffmpeg decodes each file to, as 16 kHz mono: not the samples, but a sketch of them, from
which a correlation can be told (see `sketch`).
"""

import array
import base64
import json
import pathlib
import random
import subprocess
import sys
import wave

import numpy as np

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data"
RATE = 8000
WORDS = "zero one two three four five six seven eight nine".split()

# name: (speaker, digits, sample rate of the file)
STRINGS = {
    "theo-7309": ("theo", "7309", 8000),
    "jackson-4815162390": ("jackson", "4815162390", 8000),
    "nicolas-5521": ("nicolas", "5521", 16000),
    "yweweler-600142": ("yweweler", "600142", 8000),
}

# The same recording in other clothes: file name: ffmpeg arguments.
VARIANTS = {
    "theo-7309-44k-stereo.mp3": "-ar 44100 -ac 2 -c:a libmp3lame -b:a 64k",
    "theo-7309-8k.mp3": "-c:a libmp3lame -b:a 32k",
    "theo-7309-44k.flac": "-ar 44100 -sample_fmt s16 -c:a flac",
    "theo-7309-44k.ogg": "-ar 44100 -c:a libvorbis -q:a 4",
    "theo-7309-44k.m4a": "-ar 44100 -c:a aac -b:a 64k",
    "theo-7309-8k.m4a": "-c:a aac -b:a 32k",
    "theo-7309-alac.m4a": "-c:a alac",
    "theo-7309.aiff": "-c:a pcm_s16be",
    "theo-7309.caf": "-c:a pcm_s16le",
    "theo-7309-44k.webm": "-ar 44100 -c:a libvorbis -q:a 4",
    "theo-7309-alaw.wav": "-c:a pcm_alaw",
    "theo-7309-mulaw.wav": "-c:a pcm_mulaw",
    "theo-7309-adts.aac": "-ar 44100 -c:a aac -b:a 64k -f adts",
    # As messengers send them: speech modes, 20 and 60 ms.
    "theo-7309-voip.ogg": "-ar 48000 -c:a libopus -b:a 24k -application voip",
    "theo-7309-16k-60ms.opus": "-ar 16000 -c:a libopus -b:a 16k -application voip -frame_duration 60",
    "theo-7309-stereo.opus": "-ar 48000 -ac 2 -c:a libopus -b:a 48k",
    # As browsers record: lengths unknown, neither duration nor index.
    "theo-7309-live.webm": "-ar 48000 -c:a libopus -b:a 32k -live 1 -cluster_time_limit 500 -f webm",
    "theo-7309-opus.webm": "-ar 48000 -c:a libopus -b:a 32k",
    "theo-7309-opus.mp4": "-ar 48000 -c:a libopus -b:a 32k",
    "theo-7309-fragments.mp4": "-ar 48000 -c:a aac -b:a 64k -frag_duration 400000 "
    "-movflags +frag_keyframe+empty_moov+delay_moov+default_base_moof",
    "theo-7309-front.mp4": "-ar 48000 -ac 2 -c:a aac -b:a 96k -movflags +faststart",
    "theo-7309-vbr.mp3": "-ar 44100 -c:a libmp3lame -q:a 5 -id3v2_version 3 -write_id3v1 1 -metadata title=digits",
    "theo-7309-bare.mp3": "-ar 44100 -c:a libmp3lame -q:a 5 -id3v2_version 0 -write_xing 0",
    "theo-7309-flac.ogg": "-c:a flac",
    "theo-7309-alac.caf": "-c:a alac",
    "theo-7309-mulaw.aifc": "-c:a pcm_mulaw -f aiff",
}

# The same by sox.
SOX_VARIANTS = {"theo-7309-sox.ogg": "-C 3", "theo-7309-sox.wav": "-b 24"}

# Silence with a click at 0.5 s and one at 1.5 s: what ffmpeg's encoders put before them is to be cut off.
CLICKS = {
    "clicks.opus": "-c:a libopus -b:a 16k",
    "clicks-16k.opus": "-ar 16000 -c:a libopus -b:a 16k",
    "clicks.webm": "-c:a libopus -b:a 16k",
    "clicks-16k.webm": "-ar 16000 -c:a libopus -b:a 16k",
    "clicks-opus.mp4": "-c:a libopus -b:a 16k",
    "clicks.m4a": "-ar 44100 -c:a aac -b:a 48k",
    "clicks-fragments.mp4": "-c:a aac -b:a 48k -movflags +frag_keyframe+empty_moov+delay_moov",
    "clicks-alac.caf": "-c:a alac",
    "clicks.mp3": "-ar 44100 -c:a libmp3lame -q:a 7",
    "clicks-16k.mp3": "-ar 16000 -c:a libmp3lame -b:a 16k",
    "clicks.ogg": "-ar 44100 -c:a libvorbis -q:a 1",
    "clicks-vorbis.webm": "-ar 44100 -c:a libvorbis -q:a 1",
    "clicks.flac": "-c:a flac",
}
CLICK_RATE = 48000

# Made with the FDK encoder (fdk-aac 2, HE-AAC, 32 kbit/s, 44.1 kHz), which this script can't presume; kept as it is.
KEPT = ["theo-7309-he.m4a"]

# Counters of a sketch: a correlation of 0.999 is told to within 0.0001 with so many.
SKETCH = 512


def take(folder, digit, speaker, index):
    with wave.open(str(folder / f"{digit}_{speaker}_{index}.wav")) as source:
        assert (source.getframerate(), source.getnchannels(), source.getsampwidth()) == (RATE, 1, 2)
        return array.array("h", source.readframes(source.getnframes()))


def string(folder, speaker, digits, pick):
    """The digits with pauses of 0.25 to 0.4 s between them, on a faint noise floor."""
    samples = array.array("h")

    def pause(seconds):
        samples.extend(pick.randint(-2, 2) for _ in range(int(seconds * RATE)))

    pause(0.25)
    for digit in digits:
        samples.extend(take(folder, digit, speaker, pick.randint(2, 4)))
        pause(pick.uniform(0.25, 0.4))
    return samples


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def clicks(path):
    samples = array.array("h", bytes(2 * 2 * CLICK_RATE))
    for at in (0.5, 1.5):
        for n in range(3):
            samples[int(at * CLICK_RATE) + n] = 28000
    with wave.open(str(path), "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(CLICK_RATE)
        target.writeframes(samples.tobytes())


def decoded(path):
    """What ffmpeg decodes a file to, as 16 kHz mono; Opus by the reference decoder, whose filters are not ffmpeg's."""
    opus = ["-c:a", "libopus"] if "opus" in probe(path) else []
    # ffmpeg leaves out the edit list of a file in fragments, so that its own encoder's first packet stays; and the
    # filters of HE-AAC's upper bands, which we leave out, take 962 samples.
    extra = 1024 if "fragments" in path.name else 962 if path.name in KEPT else 0
    trim = ["-af", f"atrim=start_sample={extra}"]
    command = ["ffmpeg", "-v", "error", *opus, "-i", str(path), *trim, "-ac", "1", "-ar", "16000", "-f", "f32le", "-"]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, "<f4").astype(float)


def probe(path):
    command = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def sketch(samples):
    """Every sample of the signal, scaled to length 1, is added with a sign to one counter, both drawn by its index.
    The distance of two sketches is close to that of their signals, and 1 - distance ** 2 / 2 is their correlation.
    """
    draw = np.arange(len(samples), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    draw ^= draw >> np.uint64(30)
    draw *= np.uint64(0xBF58476D1CE4E5B9)
    draw ^= draw >> np.uint64(31)
    signed = np.where(draw >> np.uint64(63), -samples, samples) / np.linalg.norm(samples)
    counters = np.bincount((draw % np.uint64(SKETCH)).astype(int), signed, SKETCH).astype("<f4")
    return base64.b64encode(counters.tobytes()).decode()


def main():
    folder = pathlib.Path(sys.argv[1])
    OUT.mkdir(parents=True, exist_ok=True)
    truth = {}
    for name, (speaker, digits, rate) in STRINGS.items():
        path = OUT / f"{name}.wav"
        with wave.open(str(path), "wb") as target:
            target.setnchannels(1)
            target.setsampwidth(2)
            target.setframerate(RATE)
            target.writeframes(string(folder, speaker, digits, random.Random(name)).tobytes())
        if rate != RATE:
            other = path.with_suffix(".part.wav")
            ffmpeg("-i", path, "-ar", rate, "-bitexact", other)
            other.replace(path)
        truth[path.name] = " ".join(WORDS[int(digit)] for digit in digits)
    for name, arguments in VARIANTS.items():
        ffmpeg("-i", OUT / "theo-7309.wav", *arguments.split(), "-map_metadata", "-1", "-bitexact", OUT / name)
        truth[name] = truth["theo-7309.wav"]
    for name, arguments in SOX_VARIANTS.items():
        command = ["sox", "-R", OUT / "theo-7309.wav", *arguments.split(), OUT / name]
        subprocess.run([*map(str, command)], check=True)
        truth[name] = truth["theo-7309.wav"]
    for name in KEPT:
        truth[name] = truth["theo-7309.wav"]
    source = OUT / "clicks.part.wav"
    clicks(source)
    for name, arguments in CLICKS.items():
        ffmpeg("-i", source, *arguments.split(), "-map_metadata", "-1", "-bitexact", OUT / name)
    source.unlink()
    references = {name: sketch(decoded(OUT / name)) for name in sorted(truth)}
    (OUT / "references.json").write_text(json.dumps(references, indent=0) + "\n")
    (OUT / "truth.json").write_text(json.dumps(truth, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
