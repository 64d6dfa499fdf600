# Sourced by what runs several programs beside each other: starts them, and stops them when the script ends, the last one
# first, so that a worker goes before its broker. Each one's output is in $scratch/NAME.log.
#
#   start NAME WANTED COMMAND…    waits until its output has WANTED; sets started to its process
#   stop PID…                     asks all of these to end, and waits for them
scratch=$(mktemp -d)
pids=() started=''

start() {
    local name=$1 wanted=$2 tenths
    shift 2
    "$@" >"$scratch/$name.log" 2>&1 &
    started=$!
    pids+=("$started")
    for ((tenths = 0; tenths < 1200; tenths++)); do
        if grep -q "$wanted" "$scratch/$name.log"; then return; fi
        if ! kill -0 "$started" 2>/dev/null; then break; fi
        sleep 0.1
    done
    printf '%s did not start:\n' "$name" >&2
    cat "$scratch/$name.log" >&2
    exit 1
}

stop() {
    local pid
    for pid in "$@"; do kill "$pid" 2>/dev/null || true; done
    for pid in "$@"; do wait "$pid" 2>/dev/null || true; done
}

stop_all() {
    local at
    for ((at = ${#pids[@]} - 1; at >= 0; at--)); do stop "${pids[at]}"; done
    rm -rf "$scratch"
}
trap stop_all EXIT
