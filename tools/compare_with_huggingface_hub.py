#!/usr/bin/env python3
"""Compares the cache that `convert --checkpoint hf:…` fills with that of Python's huggingface_hub.

    tools/compare_with_huggingface_hub.py CHECKPOINT_FOLDER [PROGRAM]

Serves the folder as a repository of a hub on this machine, lets both programs fetch it into caches of their own,
and compares these: names, links, contents. Then each is to find what the other has fetched, with the hub gone.
Needs huggingface_hub. PROGRAM is target/release/convert.
"""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

NAME, COMMIT = "me/kab", "0123456789abcdef0123456789abcdef01234567"
LARGE = 1 << 20  # what the hub keeps in its storage, behind a redirect
# What a conversion leaves beside the weights, and what only one of the programs keeps.
OWN = {"ggml-q8_0.bin", "ggml-q8_0.json", "CACHEDIR.TAG", ".locks", "trees"}


def handler(folder):
    class Hub(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            pass

        def send(self, status, headers, body=b""):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self):
            path = self.path.split("?")[0]
            names = sorted(file.name for file in folder.iterdir() if file.is_file())
            if path.startswith("/storage/"):
                return self.send(200, {"ETag": '"of-the-storage"'}, (folder / path.split("/")[-1]).read_bytes())
            if path.startswith(f"/api/models/{NAME}/revision/"):
                listing = {"id": NAME, "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
                return self.send(200, {"Content-Type": "application/json"}, json.dumps(listing).encode())
            if path.startswith(f"/api/models/{NAME}/tree/"):
                return self.send(200, {"Content-Type": "application/json"}, json.dumps(self.tree(names)).encode())
            name = path.split("/")[-1]
            if not path.startswith(f"/{NAME}/resolve/") or name not in names:
                return self.send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            content = (folder / name).read_bytes()
            if len(content) > LARGE:
                headers = {"X-Linked-Etag": f'"{sha256(content)}"', "X-Linked-Size": str(len(content))}
                location = f"http://localhost:{self.server.server_port}/storage/{name}"
                return self.send(302, headers | {"X-Repo-Commit": COMMIT, "Location": location})
            self.send(200, {"X-Repo-Commit": COMMIT, "ETag": f'"{git(content)}"'}, content)

        do_HEAD = do_GET

        def tree(self, names):
            entries = []
            for name in names:
                content = (folder / name).read_bytes()
                entry = {"type": "file", "path": name, "size": len(content), "oid": git(content)}
                if len(content) > LARGE:
                    entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
                entries.append(entry)
            return entries

    return Hub


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def git(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def contents(cache):
    """What is in a cache: the target of each link, the checksum of each file."""
    found = {}
    for path in sorted(cache.rglob("*")):
        name = path.relative_to(cache)
        if OWN & set(name.parts) or path.is_dir():
            continue
        found[str(name)] = os.readlink(path) if path.is_symlink() else sha256(path.read_bytes())
    return found


def main():
    folder = Path(sys.argv[1])
    program = sys.argv[2] if len(sys.argv) > 2 else "target/release/convert"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as temporary:
        theirs, ours = Path(temporary) / "theirs", Path(temporary) / "ours"
        environment = os.environ | {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        environment.pop("HF_HUB_CACHE", None)
        script = (
            "import sys, huggingface_hub as h; files = sys.argv[2:]; "
            "print(h.snapshot_download(sys.argv[1], allow_patterns=files))"
        )

        def python(home, files, **more):
            command = [sys.executable, "-c", script, NAME, *files]
            return subprocess.run(command, env=environment | {"HF_HOME": str(home)} | more, check=True)

        def convert(home, **more):
            command = [program, "--checkpoint", f"hf:{NAME}"]
            return subprocess.run(command, env=environment | {"HF_HOME": str(home)} | more, check=True)

        convert(ours)
        ours_has = contents(ours / "hub")
        files = sorted({Path(name).name for name in ours_has if "/snapshots/" in name})
        python(theirs, files)
        theirs_has = contents(theirs / "hub")
        for name in sorted(ours_has.keys() | theirs_has.keys()):
            same = ours_has.get(name) == theirs_has.get(name)
            print("same" if same else "DIFFERENT", name, "" if same else (ours_has.get(name), theirs_has.get(name)))
        if ours_has != theirs_has:
            sys.exit(1)

        print("each with what the other has fetched, and no hub:")
        server.shutdown()
        server.server_close()
        offline = {"HF_HUB_OFFLINE": "1"}
        convert(theirs, **offline)
        python(ours, files, **offline)


main()
