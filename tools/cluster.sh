#!/usr/bin/env bash
# A cluster on this machine: a broker (nats-server), a door and two workers. Sends recordings through it from several clients
# at a time, compares what comes back with what was said, and says who did what. Exits with 1 on any wrong text.
#
#   tools/cluster.sh IMESLI [CHECKPOINT [PORT]]
#
# PORT: the door's, if it is free (default: 16392). JOBS: recordings (200). CLIENTS: so many at a time (8). NATS_SERVER: the
# broker's program.
set -euo pipefail
cd "$(dirname "$0")/.."
imesli=$1 checkpoint=${2:-checkpoint} port=${3:-16392}
jobs=${JOBS:-200} clients=${CLIENTS:-8}
case $imesli in */*) ;; *) imesli=./$imesli ;; esac
if ((jobs < 2 * clients)); then
    # One file alone would be printed without its name.
    echo "imesli: JOBS=$jobs is less than two for each of CLIENTS=$clients" >&2
    exit 2
fi
# shellcheck source=tools/find-broker.sh
. tools/find-broker.sh
find_broker || {
    echo "imesli: there is no nats-server (tools/setup.sh --cluster installs it)" >&2
    exit 2
}
# shellcheck source=tools/processes.sh
. tools/processes.sh

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
    local port
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        if ! listens "$port"; then
            echo "$port"
            return
        fi
    done
    return 1
}

broker_port=$(free_port)
if listens "$port"; then port=$(free_port); fi
broker=nats://127.0.0.1:$broker_port
start broker 'Server is ready' "$broker_program" -js -sd "$scratch/store" -a 127.0.0.1 -p "$broker_port"
workers=()
for name in worker-1 worker-2; do
    start "$name" 'the worker is ready' "$imesli" worker --nats "$broker" --name "$name" --checkpoint "$checkpoint" \
        --states 1 --threads 1
    workers+=("$started")
done
start door 'listening on' "$imesli" --host 127.0.0.1 --port "$port" --engine "$broker"
printf 'A broker on port %s, two workers, and a door at ws://127.0.0.1:%s. Sending %s recordings from %s clients.\n' \
    "$broker_port" "$port" "$jobs" "$clients"

# The recordings in turn, dealt out among the clients; each line as `transcribe` prints it for several files.
truth=$(sed -n 's|^ *"\(.*\)": "\(.*\)",*$|tests/data/\1: \2|p' tests/data/truth.json)
count=$(wc -l <<<"$truth")
for ((job = 0; job < jobs; job++)); do
    sed -n "$((job % count + 1))p" <<<"$truth" >>"$scratch/wanted.$((job % clients))"
done
# The door listens before it has heard of its workers.
for ((tenths = 0; tenths < 300; tenths++)); do
    if "$imesli" transcribe --server "ws://127.0.0.1:$port" tests/data/theo-7309.wav >/dev/null 2>&1; then break; fi
    sleep 0.1
done
begun=$SECONDS
asking=()
for ((client = 0; client < clients; client++)); do
    files=()
    while IFS= read -r line; do files+=("${line%%: *}"); done <"$scratch/wanted.$client"
    "$imesli" transcribe --server "ws://127.0.0.1:$port" "${files[@]}" >"$scratch/found.$client" 2>"$scratch/client.$client" &
    asking+=("$!")
done
failed=0
for ((client = 0; client < clients; client++)); do
    wait "${asking[client]}" || failed=1
    if ! diff "$scratch/wanted.$client" "$scratch/found.$client" >"$scratch/diff"; then
        printf 'FAILED: client %d: wanted (<) and found (>):\n' "$client" >&2
        cat "$scratch/diff" "$scratch/client.$client" >&2
        failed=1
    fi
done
right=$(cat "$scratch"/wanted.* | wc -l)
if [ $failed = 0 ]; then printf 'ok: %d texts in %d s, all right\n' "$right" "$((SECONDS - begun))"; fi

# Asked to leave, each says what it did.
stop "${workers[@]}"
for name in worker-1 worker-2; do
    line=$(grep 'the worker leaves' "$scratch/$name.log" || true)
    if [ -z "$line" ]; then
        printf 'FAILED: %s did not say what it did:\n' "$name" >&2
        cat "$scratch/$name.log" >&2
        failed=1
    else
        printf '%s\n' "${line#*the worker leaves}"
    fi
done
exit $failed
