#!/usr/bin/env bash
# Runs the example clients and `imesli transcribe --server` against a server, over ws and wss, and compares
# what they print with what was said. Says loudly what it skips where Python or Node lack a WebSocket.
#
#   tools/check-clients.sh IMESLI [CHECKPOINT]
#
# PYTHON, NODE: the interpreters (default: python3, node). NODE_FOLDER: where `npm install ws` was run.
set -euo pipefail
cd "$(dirname "$0")/.."
imesli=$1 checkpoint=${2:-checkpoint}
python=${PYTHON:-python3} node=${NODE:-node}
audio=tests/data/theo-7309.wav
said=$(sed -n 's/^ *"theo-7309\.wav": "\(.*\)".*/\1/p' tests/data/truth.json)
# shellcheck source=tools/test-server.sh
. tools/test-server.sh
scratch=$(mktemp -d)
trap 'stop_server; rm -rf "$server_log" "$scratch"' EXIT
failed=0

skip() { printf 'SKIPPED: %s\n' "$*" >&2; }

check() { # NAME COMMAND…
    local name=$1 found
    shift
    found=$("$@" 2>"$scratch/log") || true
    if [ "$found" = "$said" ]; then
        printf 'ok: %s: %s\n' "$name" "$found"
    else
        printf 'FAILED: %s: "%s", not "%s"\n' "$name" "$found" "$said" >&2
        cat "$scratch/log" >&2
        failed=1
    fi
}

# ES modules look for packages beside themselves, not in the current folder.
cp tools/clients/transcribe.mjs "$scratch/"
for folder in "${NODE_FOLDER:-.}" tools/clients; do
    if [ -d "$folder/node_modules/ws" ]; then ln -sfn "$(cd "$folder" && pwd)/node_modules" "$scratch/node_modules"; fi
done

run_all() { # SCHEME [--insecure]
    local url="$1://127.0.0.1:$server_port" secure=${2:-}
    check "imesli, $1" "$imesli" transcribe --server "$url" ${secure:+"$secure"} "$audio"
    if "$python" -c 'import websockets' 2>/dev/null; then
        check "Python, $1" "$python" tools/clients/transcribe.py ${secure:+"$secure"} "$url" "$audio"
    else
        skip "the Python client ($1): $python has no websockets (pip install websockets)"
    fi
    if [ -e "$scratch/node_modules" ] || { [ -z "$secure" ] && "$node" -e 'process.exit(globalThis.WebSocket ? 0 : 1)' 2>/dev/null; }; then
        check "JavaScript, $1" "$node" "$scratch/transcribe.mjs" ${secure:+"$secure"} "$url" "$audio"
    else
        skip "the JavaScript client ($1): no Node with a WebSocket (npm install ws)"
    fi
}

start_server "$imesli" --checkpoint "$checkpoint"
run_all ws
stop_server
start_server "$imesli" --checkpoint "$checkpoint" --tls-self-signed
run_all wss --insecure
exit $failed
