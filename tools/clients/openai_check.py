#!/usr/bin/env python3
"""Tries OpenAI's own package, as it is, against a running server.  pip install openai

openai_check.py URL FILE TEXT [KEY]      URL: http://127.0.0.1:16391; TEXT: what is said in the file; KEY: one that it wants
"""
import pathlib, sys

import openai
from openai.types.audio import Transcription, TranscriptionVerbose, Translation, TranslationVerbose


def check(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found!r}, not {expected!r}")


def subtitle_text(text):
    """The words of a subtitle file: the lines behind those with times, up to an empty one."""
    blocks = (block.splitlines() for block in text.split("\n\n"))
    lines = (line for block in blocks for n, line in enumerate(block) if any("-->" in above for above in block[:n]))
    return " ".join(" ".join(lines).split())


def transcriptions(client, file, said):
    create = lambda **options: client.audio.transcriptions.create(model="whisper-1", file=file, **options)
    found = create()
    check("type of json", type(found), Transcription)
    check("json", found.text, said)
    check("usage", found.usage.type, "duration")
    check("text", create(response_format="text"), said + "\n")
    check("srt", subtitle_text(create(response_format="srt")), said)
    check("vtt", subtitle_text(create(response_format="vtt")), said)
    for granularities in (["segment"], ["word"], ["word", "segment"]):
        found = create(response_format="verbose_json", timestamp_granularities=granularities, temperature=0)
        check("type of verbose_json", type(found), TranscriptionVerbose)
        # Checked against the package's own types, which it does not do by itself.
        found = TranscriptionVerbose.model_validate(found.model_dump(), strict=False)
        check("verbose_json", (found.text, found.language), (said, "english"))
        check("its segments", bool(found.segments), "segment" in granularities)
        check("its words", " ".join(w.word for w in found.words or []), said if "word" in granularities else "")
        check("its duration", isinstance(found.duration, float) and found.duration > 1, True)
        for segment in found.segments or []:
            check("times of a segment", 0 <= segment.start <= segment.end <= found.duration, True)
            check("tokens of a segment", all(isinstance(token, int) for token in segment.tokens), True)
    options = dict(language="en", prompt="digits", temperature=0.2, extra_body={"vad": "false", "beam_size": "1"})
    check("type with options", type(create(**options)), Transcription)


def streaming(client, file, said):
    for response_format in ("json", "text"):
        events = client.audio.transcriptions.create(
            model="gpt-4o-transcribe", file=file, response_format=response_format, stream=True
        )
        events = list(events)
        deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
        check("types of events", {e.type for e in events[:-1]}, {"transcript.text.delta"})
        check("last event", (events[-1].type, events[-1].text), ("transcript.text.done", said))
        check("deltas", "".join(deltas), said)


def translations(client, file):
    """A model that can't translate says so by its code, and any other gives its text."""
    for response_format, kind in (("json", Translation), ("verbose_json", TranslationVerbose), ("srt", str)):
        try:
            found = client.audio.translations.create(model="whisper-1", file=file, response_format=response_format)
            check("type of a translation", type(found), kind)
        except openai.BadRequestError as error:
            check("code of a translation", error.code, "transcription_error")


def refused(kind, code, call, param=None):
    try:
        call()
    except kind as error:
        check(f"code of {kind.__name__}", (error.code, error.param), (code, param))
        check("its request id", bool(error.request_id), True)
        return
    sys.exit(f"{kind.__name__} did not come")


def errors(client, file):
    create = lambda **options: client.audio.transcriptions.create(model="whisper-1", **{"file": file, **options})
    refused(openai.BadRequestError, "audio_load_error", lambda: create(file=("x.wav", b"no audio")), "file")
    refused(openai.BadRequestError, "invalid_request", lambda: create(temperature=7), "temperature")
    refused(openai.BadRequestError, "invalid_request", lambda: create(response_format="xml"), "response_format")
    refused(openai.BadRequestError, "transcription_error", lambda: create(language="xx"))
    refused(openai.BadRequestError, "audio_load_error", lambda: create(file=("x.wav", b"no audio"), stream=True), "file")
    refused(openai.NotFoundError, "model_not_found", lambda: client.models.retrieve("whisper-1"), "model")


def models(client):
    all_models = list(client.models.list())
    check("models", len(all_models), 1)
    check("the same model", client.models.retrieve(all_models[0].id), all_models[0])


def main(url, path, said, key=None):
    file = pathlib.Path(path)
    connect = lambda key: openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=120)
    client = connect(key or "any")
    transcriptions(client, file, said)
    streaming(client, file, said)
    translations(client, file)
    errors(client, file)
    models(client)
    if key:
        refused(openai.AuthenticationError, "unauthorized", lambda: connect("wrong").models.list())
        wrong = lambda: connect("wrong").audio.transcriptions.create(model="whisper-1", file=file)
        refused(openai.AuthenticationError, "unauthorized", wrong)
    print(f"openai {openai.__version__}: {'with' if key else 'without'} a key, all is as it should be")


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    main(*sys.argv[1:])
