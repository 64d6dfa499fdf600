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
# shellcheck source=tools/processes.sh
. tools/processes.sh
start broker 'Server is ready' "$broker_program" -js -sd "$scratch/store" -a 127.0.0.1 -p -1
port=$(sed -n 's/.*Listening for client connections on 127\.0\.0\.1:\([0-9]*\).*/\1/p' "$scratch/broker.log")
start worker 'the worker is ready' "$imesli" worker --nats "nats://127.0.0.1:$port" --name checks --checkpoint "$checkpoint"

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
