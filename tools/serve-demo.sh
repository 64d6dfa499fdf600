#!/usr/bin/env bash
# Serves a checkpoint over wss with a certificate of its own, and says how to send it a recording. The program
# converts the checkpoint by itself the first time.
#
#   tools/serve-demo.sh IMESLI CHECKPOINT SAMPLE PORT
set -euo pipefail
cd "$(dirname "$0")/.."
imesli=$1 checkpoint=$2 sample=$3 port=$4

if [ ! -e "$checkpoint" ]; then
    echo "imesli: there is no checkpoint at $checkpoint (set CHECKPOINT=DIR)" >&2
    exit 2
fi
# As one would type it.
case $imesli in */*) ;; *) imesli=./$imesli ;; esac
printf 'Serving %s on wss://127.0.0.1:%s; Ctrl-C ends it. In a second terminal:\n\n  %s\n\n' "$checkpoint" "$port" \
    "$imesli transcribe --server wss://127.0.0.1:$port --insecure $sample"
printf 'Or talk to it in a browser (its certificate is signed by nobody): https://127.0.0.1:%s/\n\n' "$port"
exec "$imesli" --host 127.0.0.1 --port "$port" --checkpoint "$checkpoint" --tls-self-signed
