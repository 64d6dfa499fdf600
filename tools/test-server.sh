# Sourced by the scripts that need a running server: starts one on 127.0.0.1, stops it when the script ends.
#
#   start_server COMMAND…    appends --host and --port, and waits until it is ready
#
# Sets server_pid, server_port, and server_log (a file). `server_prefix`, an array, goes before the command.
server_pid='' server_port='' server_log=$(mktemp) server_prefix=()

start_server() {
    local attempt
    # A free port now may be taken a moment later: try a few.
    for attempt in 1 2 3; do
        server_port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        if is_listening; then continue; fi
        "${server_prefix[@]}" "$@" --host 127.0.0.1 --port "$server_port" 2>"$server_log" >&2 &
        server_pid=$!
        for ((tenths = 0; tenths < 1200; tenths++)); do
            if ! kill -0 "$server_pid" 2>/dev/null; then break; fi
            # The port is bound before the model is loaded, and the line is written after.
            if grep -q 'listening on' "$server_log"; then return; fi
            sleep 0.1
        done
        stop_server
    done
    echo "the server did not start:" >&2
    cat "$server_log" >&2
    exit 1
}

is_listening() { (exec 3<>"/dev/tcp/127.0.0.1/$server_port") 2>/dev/null; }

stop_server() {
    if [ -n "$server_pid" ]; then
        kill "$server_pid" 2>/dev/null || true
        wait "$server_pid" 2>/dev/null || true
        server_pid=''
    fi
}

trap 'stop_server; rm -f "$server_log"' EXIT
