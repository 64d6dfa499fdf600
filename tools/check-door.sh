#!/usr/bin/env bash
# Tries out every front of a door: what tools/check-clients.sh, check-api.sh and check-page.sh do with a server that has the
# model itself is done with one that has a worker, over a broker, on this machine.
#
#   tools/check-door.sh IMESLI CHECKPOINT
set -euo pipefail
cd "$(dirname "$0")/.."
imesli=$(realpath "$1") checkpoint=$2
# shellcheck source=tools/find-broker.sh
. tools/find-broker.sh
find_broker || {
    echo "SKIPPED: there is no nats-server (tools/setup.sh --test installs it); no door is tried out" >&2
    exit 0
}
scratch=$(mktemp -d)
pids=()
stop() {
    # The worker before its broker.
    local at
    for ((at = ${#pids[@]} - 1; at >= 0; at--)); do
        kill "${pids[at]}" 2>/dev/null || true
        wait "${pids[at]}" 2>/dev/null || true
    done
    rm -rf "$scratch"
}
trap stop EXIT

# Waits until a log has what its process says when it is up.
up() { # LOG WANTED
    local tenths
    for ((tenths = 0; tenths < 600; tenths++)); do
        if grep -q "$2" "$scratch/$1.log"; then return; fi
        sleep 0.1
    done
    printf '%s did not start:\n' "$1" >&2
    cat "$scratch/$1.log" >&2
    exit 1
}

"$broker_program" -js -sd "$scratch/store" -a 127.0.0.1 -p -1 >"$scratch/broker.log" 2>&1 &
pids+=("$!")
up broker 'Server is ready'
port=$(sed -n 's/.*Listening for client connections on 127\.0\.0\.1:\([0-9]*\).*/\1/p' "$scratch/broker.log")
"$imesli" worker --nats "nats://127.0.0.1:$port" --name checks --checkpoint "$checkpoint" >"$scratch/worker.log" 2>&1 &
pids+=("$!")
up worker 'the worker is ready'

# The same program, whose server is a door.
cat >"$scratch/imesli" <<END
#!/bin/sh
case \${1:-} in
    transcribe | key | convert) exec "$imesli" "\$@" ;;
    *) exec "$imesli" --engine nats://127.0.0.1:$port "\$@" ;;
esac
END
chmod +x "$scratch/imesli"
for check in clients api page; do
    echo "a door, check-$check.sh:"
    "tools/check-$check.sh" "$scratch/imesli" "$checkpoint"
done
