#!/usr/bin/env bash
# Tries the HTTP API of a server with programs that others wrote, as they are: OpenAI's package for Python, schemathesis,
# which looks for what /openapi.json does not say, and Prometheus' own reader of metrics; and the examples in docs/http.md.
# Says loudly what it skips where Python lacks these packages, which `tools/setup.sh --test` installs.
#
#   tools/check-api.sh IMESLI [CHECKPOINT]
#
# API_PYTHON: a Python that has what tools/clients/api-requirements.txt names.
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
failed=0

check() { # NAME COMMAND…
    local name=$1
    shift
    if "$@" >"$scratch/log" 2>&1; then
        printf 'ok: %s: %s\n' "$name" "$(grep -v '^$' "$scratch/log" | tail -n 1 | tr -d =)"
    else
        printf 'FAILED: %s\n' "$name" >&2
        cat "$scratch/log" >&2
        failed=1
    fi
}

# The block of this number of a language in the documentation, for the server's own port.
from_documentation() { # LANGUAGE NUMBER
    awk -v begin="\`\`\`$1" -v number="$2" '
        $0 == begin { inside = ++blocks == number; next }
        $0 == "```" { inside = 0 }
        inside' docs/http.md | sed "s/16391/$server_port/"
}

says() { # COMMAND…
    "$@" >"$scratch/said" && grep "$said" "$scratch/said"
}

schemathesis() { # OPTIONS…
    local settings=$PWD/tools/clients/schemathesis.toml url="http://127.0.0.1:$server_port/openapi.json"
    # It leaves a folder where it runs.
    (cd "$scratch" && "$client_api/schemathesis" --no-color --config-file "$settings" run "$url" --checks all "$@")
}

# With a recording for a file, so that there are answers; and with what is no valid request, where nothing would be one.
# Together that would find fault with numbers where there should be text: in a form, all is text.
description_is_true() { # OPTIONS…
    SPEECH=$PWD/$audio SCHEMATHESIS_HOOKS=$PWD/tools/clients/schemathesis_hooks.py schemathesis --mode positive "$@" &&
        schemathesis "$@"
}

start_server "$imesli" --checkpoint "$checkpoint"
check "curl, json" says curl -sS --fail "http://127.0.0.1:$server_port/v1/audio/transcriptions" -F "file=@$audio"
if find_api; then
    url="http://127.0.0.1:$server_port"
    check "OpenAI's package" "$client_api/python" tools/clients/openai_check.py "$url" "$audio" "$said"
    from_documentation python 1 >"$scratch/example.py"
    check "docs/http.md, Python" says "$client_api/python" "$scratch/example.py"
    check "schemathesis" description_is_true
    check "metrics" "$client_api/python" tools/clients/metrics_check.py "$url/metrics"
else
    printf 'SKIPPED: %s\n' "the HTTP API: no Python with openai, schemathesis and prometheus-client" >&2
fi
if node -e 'process.exit(require("node:fs").openAsBlob ? 0 : 1)' 2>/dev/null; then
    from_documentation js 2 >"$scratch/example.mjs"
    check "docs/http.md, JavaScript" says node "$scratch/example.mjs"
else
    printf 'SKIPPED: %s\n' "docs/http.md, JavaScript: no Node of version 20 or later" >&2
fi
stop_server

# The same where keys are wanted.
if [ -n "$client_api" ]; then
    key=$("$imesli" key new check --key-file "$scratch/keys.toml" 2>/dev/null | tail -n 1)
    start_server "$imesli" --checkpoint "$checkpoint" --key-file "$scratch/keys.toml"
    url="http://127.0.0.1:$server_port"
    check "OpenAI's package, with a key" "$client_api/python" tools/clients/openai_check.py "$url" "$audio" "$said" "$key"
    check "schemathesis, with a key" description_is_true --header "Authorization: Bearer $key"
fi
exit $failed
