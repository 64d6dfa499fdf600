"""Gives schemathesis a recording: what it makes up is never one, and nothing would ever be transcribed.

SCHEMATHESIS_HOOKS=tools/clients/schemathesis_hooks.py SPEECH=FILE schemathesis run …
"""
import os, pathlib

import schemathesis
from hypothesis import strategies
from schemathesis.transport.serialization import Binary

SPEECH = pathlib.Path(os.environ["SPEECH"]).read_bytes()

files = strategies.sampled_from([SPEECH, SPEECH[: len(SPEECH) // 2], b"", b"no audio"])
schemathesis.openapi.format("binary", files.map(Binary))
