"""Makes the seeds of what clients send: audio files, messages, uploads. Python alone is enough."""
import json
import pathlib

here = pathlib.Path(__file__).resolve().parent
data, seeds = here.parent / "tests/data", here / "seeds"


def write(kind, name, content):
    (seeds / kind).mkdir(parents=True, exist_ok=True)
    (seeds / kind / name).write_bytes(content if isinstance(content, bytes) else content.encode())


# The small recordings, and the heads of larger ones: every container and codec, with nothing for a fuzzer to wade through.
MOST = 4096
for path in sorted(data.iterdir()):
    if path.suffix not in (".json", ".md", ".txt") and path.is_file():
        write("audio", path.name, path.read_bytes()[:MOST])

options = {"language": "en", "task": "translate", "prompt": "Azul", "timestamps": "word", "orthography": "kabyle",
           "beam_size": 2, "temperature": 0.5, "vad": "off", "response_format": "srt", "max_line_chars": 20, "max_lines": 1}
messages = {
    "audio": {"type": "audio", "audio_data": "aGVs\nbG8=", "format": "base64", "audio_id": "a1", **options},
    "options": {"type": "audio", "audio_data": "", "audio_id": 7, "options": options},
    "auth": {"type": "auth", "key": "imesli_x"},
    "ping": {"type": "ping"},
    "status": {"type": "status"},
    "device_info": {"type": "device_info", "device": "x", "nested": [1, {"a": None}, True, 1.5e300, "\u00e9\ud83d\ude00"]},
    "upload_start": {"type": "upload_start", "upload_id": "u", "file_name": "a.wav", "file_size": 10, "total_chunks": 2,
                     "chunk_size": 5, "resume": True, "vad": False},
    "upload_chunk": {"type": "upload_chunk", "upload_id": 1.5, "chunk_index": 0, "chunk_data": "AAAA"},
    "upload_complete": {"type": "upload_complete", "upload_id": "u", "file_name": None},
    "upload_error": {"type": "upload_error", "upload_id": "u", "error": {"any": "thing"}},
    "stream_start": {"type": "stream_start", "stream_id": "s", "encoding": "pcm_f32le", "sample_rate": 48000, "channels": 2,
                     "partials": False, "silence_ms": 500, "min_phrase_ms": 0, "max_phrase_ms": 9000, "language": "auto"},
    "resume": {"type": "stream_start", "resume": {"stream_id": "s", "received_samples": 1, "received_segments": 0}},
    "stream_audio": {"type": "stream_audio", "audio_data": "AAAA"},
    "stream_flush": {"type": "stream_flush", "flush_id": 3},
    "stream_stop": {"type": "stream_stop"},
}
for name, message in messages.items():
    write("message", name, json.dumps(message))
write("message", "wrong", '{"type":"upload_start","upload_id":[],"file_name":{},"file_size":-1,"total_chunks":1e99}')
write("message", "list", "[" * 40 + "]" * 40)
write("message", "numbers", '{"type":"device_info","a":0,"a":[-9223372036854775808,-9223372036854775809,18446744073709551615,'
      '18446744073709551616,-0,-0.0,1.7976931348623157e308,5e-324]}')

# A step is a byte, its kind in the lowest three bits and the upload in the next two: whose it is, and its name. See
# src/serve/uploads.rs.
start, resume, chunk, finish, abandon = 0, 1, 2, 5, 7
piece = lambda index, text: bytes([chunk, index, len(text)]) + text  # noqa: E731
whole = bytes([start, 10, 3]) + piece(2, b"lo!") + piece(0, b"hel") + bytes([resume, 10, 3]) + piece(1, b"loxx") + bytes([finish])
write("upload", "whole", b"\1" + whole)
write("upload", "again", b"\1" + whole + whole)
write("upload", "short", b"\1" + bytes([start, 9, 2]) + piece(0, b"a") + bytes([finish]) + piece(1, b"b") + bytes([finish]))
write("upload", "several", b"\1" + b"".join(bytes([start | name << 3 | name << 5, 50, 1]) for name in range(4)) + bytes([abandon]))
head = {"id": "u", "owner": "fatma", "file_size": 10, "total_chunks": 3, "options": options | {"vad": False}, "begun": 7,
        "data": "u-x.data", "boot": None}
lines = [head, {"index": 2, "start": 0, "len": 4}, {"index": 0, "start": 4, "len": 5}, {"index": 1, "start": 9, "len": 1}]
journal = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()
for name, length, text in (("journal", 10, journal), ("cut", 8, journal), ("torn", 10, journal[:-9])):
    write("upload", name, bytes([0, length, 0]) + text)
