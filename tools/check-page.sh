#!/usr/bin/env bash
# Tries the server's page in Chromium: a microphone that plays recordings, files, broken connections, languages, the
# keyboard. Says loudly that it skips all of it where there is no Chromium, or no WebSocket for Node, both of which
# `tools/setup.sh --test` installs.
#
#   tools/check-page.sh IMESLI [CHECKPOINT [WORD…]]     only the checks whose names have one of the words
#
# CHROMIUM: which one. NODE_FOLDER: where `npm install ws axe-core` was run. PICTURES: a folder for screenshots.
set -euo pipefail
cd "$(dirname "$0")/.."
imesli=$1 checkpoint=${2:-checkpoint}
shift
shift || true
# shellcheck source=tools/clients/find.sh
. tools/clients/find.sh
if ! find_ws || ! find_chromium; then
    echo 'SKIPPED: the page is not tried out: there is no Chromium, or no Node with a WebSocket (npm install ws)' >&2
    exit 0
fi
if [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 18 ]; then
    echo 'SKIPPED: the page is not tried out: Node 18 or later is needed' >&2
    exit 0
fi
CHROMIUM=$client_browser CLIENT_MODULES=$client_modules exec node tools/page/main.mjs "$imesli" "$checkpoint" "$@"
