#!/usr/bin/env bash
# Runs the example clients and `imesli transcribe --server` against a server, over ws and wss, with a file and with live
# audio, and the clients in the README, and compares what they print with what was said. Says loudly what it skips where Python or Node lack a WebSocket, which
# `tools/setup.sh --test` installs.
#
#   tools/check-clients.sh IMESLI [CHECKPOINT]
#
# PYTHON: a Python that has websockets. NODE_FOLDER: where `npm install ws` was run.
set -euo pipefail
cd "$(dirname "$0")/.."
imesli=$1 checkpoint=${2:-checkpoint}
audio=tests/data/theo-7309.wav
said=$(sed -n 's/^ *"theo-7309\.wav": "\(.*\)".*/\1/p' tests/data/truth.json)
# shellcheck source=tools/test-server.sh
. tools/test-server.sh
# shellcheck source=tools/clients/find.sh
. tools/clients/find.sh
scratch=$(mktemp -d)
trap 'stop_server; rm -rf "$server_log" "$scratch"' EXIT
failed=0 skipped=0

skip() {
    printf 'SKIPPED: %s\n' "$*" >&2
    skipped=$((skipped + 2))
}

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

# The first block of a language in the README, for the server's own port.
from_readme() { # LANGUAGE
    sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/p" README.md | sed -e '/^```/d' -e "s/16391/$server_port/"
}

# A program of the README: the text is somewhere in what it prints.
check_readme() { # LANGUAGE FILE COMMAND…
    local language=$1 program=$2
    shift 2
    from_readme "$language" >"$program"
    # shellcheck disable=SC2016 # For the inner shell.
    check "README, $language" bash -c '"${@:2}" | grep -o "$1" | sort -u' - "$said" "$@" "$program"
}

# ES modules look for packages beside themselves, not in the current folder.
cp tools/clients/transcribe.mjs tools/clients/live.mjs "$scratch/"
if find_ws; then ln -s "$client_modules" "$scratch/node_modules"; fi
find_python || true

run_all() { # SCHEME [--insecure]
    local url="$1://127.0.0.1:$server_port" secure=${2:-}
    check "imesli, $1" "$imesli" transcribe --server "$url" ${secure:+"$secure"} "$audio"
    # shellcheck disable=SC2016 # For the inner shell.
    check "imesli, $1, live" bash -c 'cat "$0" | "$@"' "$audio" \
        "$imesli" transcribe --server "$url" ${secure:+"$secure"} --live -
    if [ -n "$client_python" ]; then
        check "Python, $1" "$client_python" tools/clients/transcribe.py ${secure:+"$secure"} "$url" "$audio"
        check "Python, $1, live" "$client_python" tools/clients/live.py ${secure:+"$secure"} "$url" "$audio"
    else
        skip "the Python clients ($1): no Python with websockets (pip install websockets)"
    fi
    if [ -n "$client_modules" ] || { [ -z "$secure" ] && has_own_websocket; }; then
        check "JavaScript, $1" node "$scratch/transcribe.mjs" ${secure:+"$secure"} "$url" "$audio"
        check "JavaScript, $1, live" node "$scratch/live.mjs" ${secure:+"$secure"} "$url" "$audio"
    else
        skip "the JavaScript clients ($1): no Node with a WebSocket (npm install ws)"
    fi
}

start_server "$imesli" --checkpoint "$checkpoint"
run_all ws
stop_server
# All of them once more with a key.
IMESLI_KEY=$("$imesli" key new clients --key-file "$scratch/keys.toml" 2>/dev/null)
export IMESLI_KEY
start_server "$imesli" --checkpoint "$checkpoint" --key-file "$scratch/keys.toml"
run_all ws
stop_server
unset IMESLI_KEY
start_server "$imesli" --checkpoint "$checkpoint" --tls-self-signed
run_all wss --insecure
if [ -n "$client_python" ]; then check_readme python "$scratch/readme.py" "$client_python"; fi
if [ -n "$client_modules" ]; then check_readme js "$scratch/readme.mjs" node; fi
if [ $skipped != 0 ]; then printf 'SKIPPED: %d of 18 checks of clients, and those of the README\n' $skipped >&2; fi
exit $failed
