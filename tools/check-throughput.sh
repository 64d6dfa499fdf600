#!/usr/bin/env bash
# Two workers do at least 1.6 times what one does: a model in the shape of whisper-small, each worker one state on one thread.
# Two minutes at most. What else this machine does counts, so that it is tried three times.
#
#   tools/check-throughput.sh IMESLI CONVERT
set -euo pipefail
cd "$(dirname "$0")/.."
imesli=$1 convert=$2
skip() {
    printf 'SKIPPED: the throughput of two workers is not measured: %s\n' "$*" >&2
    exit 0
}
# shellcheck source=tools/clients/find.sh
. tools/clients/find.sh
# shellcheck source=tools/find-broker.sh
. tools/find-broker.sh
find_broker || skip 'there is no nats-server (tools/setup.sh --test installs it)'
find_python || skip 'no Python has websockets (tools/setup.sh --test installs it)'
cores=$(getconf _NPROCESSORS_ONLN)
[ "$cores" -ge 2 ] || skip 'there is one core'
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$client_python" tools/small_shape.py checkpoint "$scratch/small"
"$convert" --checkpoint "$scratch/small" --quantize q8_0 --out "$scratch/small.bin" >"$scratch/convert.log" 2>&1 || {
    cat "$scratch/convert.log" >&2
    exit 1
}
rm -r "$scratch/small"
for attempt in 1 2 3; do
    if NATS_SERVER=$broker_program "$client_python" tools/measure_cluster.py "$imesli" "$scratch/small.bin" \
        --requests 12 --rounds 1 --language en --max-tokens 20 --at-least 1.6; then
        exit 0
    fi
    echo "attempt $attempt: not enough" >&2
done
exit 1
