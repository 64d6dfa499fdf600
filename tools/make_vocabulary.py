"""Makes src/checkpoint/assets/*.vocabulary.gz: make_vocabulary.py FOLDER_WITH_TIKTOKEN_FILES OUT_FOLDER

The folder is `whisper/assets` of the openai-whisper package. A vocabulary is its tokens in the order of
their ids, each as one byte of length and its bytes, all of it gzipped.
"""
import base64
import gzip
import pathlib
import sys

source, out = map(pathlib.Path, sys.argv[1:])
for name, file in (("multilingual", "multilingual.tiktoken"), ("english", "gpt2.tiktoken")):
    ranks = {}
    for line in (source / file).read_text().splitlines():
        if line.strip():
            token, rank = line.split()
            ranks[int(rank)] = base64.b64decode(token)
    assert sorted(ranks) == list(range(len(ranks)))
    packed = b"".join(bytes([len(ranks[i])]) + ranks[i] for i in range(len(ranks)))
    (out / f"{name}.vocabulary.gz").write_bytes(gzip.compress(packed, 9, mtime=0))
    print(name, len(ranks), "tokens")
