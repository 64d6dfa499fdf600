#!/usr/bin/env python3
"""Builds tests/data: short strings of spoken digits, in WAV and in the other formats we decode.

    tools/make_test_audio.py FSDD_RECORDINGS_FOLDER

The takes come from the test split of the Free Spoken Digit Dataset (index 0 to 4; we use 2 to 4), so that no
model trained on the rest has heard them. Needs ffmpeg and nothing but Python's own library. The output is
committed: the tests need neither this script nor ffmpeg.
"""

import array
import json
import pathlib
import random
import subprocess
import sys
import wave

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
}


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
    (OUT / "truth.json").write_text(json.dumps(truth, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
