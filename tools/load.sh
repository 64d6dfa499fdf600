#!/usr/bin/env bash
# Three rounds of tools/load.py over wss against a server with one state on one thread: prints how fast the
# answers came and how much memory the server held before and after, and fails when it keeps over 10 MB.
#
#   tools/load.sh IMESLI [CHECKPOINT [LOAD_ARGUMENT…]]
#
# PYTHON: an interpreter that has websockets (default: python3). Linux, for the memory.
set -euo pipefail
cd "$(dirname "$0")/.."
imesli=$1 checkpoint=${2:-checkpoint}
shift $(($# < 2 ? $# : 2))
# shellcheck source=tools/test-server.sh
. tools/test-server.sh
start_server "$imesli" --checkpoint "$checkpoint" --states 1 --threads 1 --tls-self-signed
"${PYTHON:-python3}" tools/load.py --rounds 3 --pid "$server_pid" --most-more 10 "$@" \
    --insecure "wss://127.0.0.1:$server_port" tests/data/theo-7309.wav tests/data/nicolas-5521.wav
