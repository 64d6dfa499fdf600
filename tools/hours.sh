#!/usr/bin/env bash
# One recording of three hours: how much memory the server takes for it, and how soon it stops when the client leaves.
# Linux only; the recording takes 350 MB in /tmp, and as a spool 1 GB more.
#
#   tools/hours.sh IMESLI [CHECKPOINT [HOURS [SERVER_ARGUMENT…]]]
set -euo pipefail
cd "$(dirname "$0")/.."
imesli=$1 checkpoint=${2:-checkpoint} hours=${3:-3}
shift $(($# < 3 ? $# : 3))
# shellcheck source=tools/test-server.sh
. tools/test-server.sh
scratch=$(mktemp -d) client_pid=''
cleanup() {
    if [ -n "$client_pid" ]; then kill "$client_pid" 2>/dev/null || true; fi
    stop_server
    rm -rf "$server_log" "$scratch"
}
trap cleanup EXIT

# A recording (16-bit mono at 8 kHz, a plain header of 44 bytes) again and again.
sample=tests/data/jackson-4815162390.wav
bytes=$((hours * 3600 * 8000 * 2))
le() { printf "\\x$(printf %02x $(($1 & 255)))\\x$(printf %02x $(($1 >> 8 & 255)))\\x$(printf %02x $(($1 >> 16 & 255)))\\x$(printf %02x $(($1 >> 24 & 255)))"; }
tail -c +45 "$sample" >"$scratch/body"
{
    printf 'RIFF' && le $((bytes + 36)) && tail -c +9 "$sample" | head -c 32 && le $bytes
    while cat "$scratch/body"; do :; done 2>/dev/null | head -c $bytes
} >"$scratch/long.wav" || true

start_server "$imesli" --checkpoint "$checkpoint" --states 1 "$@"
memory() { sed -n "s/^$1:[^0-9]*\([0-9]*\).*/\1/p" "/proc/$server_pid/status"; }
ticks() { awk '{ print $14 + $15 }' "/proc/$server_pid/stat"; }
show() { awk -v title="$1" -v kb="$2" 'BEGIN { printf "%s: %.0f MB\n", title, kb * 1.024 / 1000 }'; }

"$imesli" transcribe --server "ws://127.0.0.1:$server_port" tests/data/theo-7309.wav >/dev/null
show "resident after a short message" "$(memory VmRSS)"
begun=$SECONDS
script -qfc "$imesli transcribe --server ws://127.0.0.1:$server_port $scratch/long.wav" "$scratch/terminal" >/dev/null &
client_pid=$!
# The bar shows the share of windows that are done.
for ((second = 0; second < 900; second++)); do
    if grep -qE '[1-9]% transcribing' <(tail -c 400 "$scratch/terminal" 2>/dev/null); then break; fi
    sleep 1
done
echo "uploaded, decoded, searched for speech, and 1 % transcribed: $((SECONDS - begun)) s"
sleep 10
show "resident while it is transcribed" "$(memory VmRSS)"
show "peak" "$(memory VmHWM)"
pkill -KILL -P "$client_pid" 2>/dev/null || true
client_pid=''
left=$(date +%s%N)
before=$(ticks)
for ((tenth = 0; tenth < 1200; tenth++)); do
    sleep 0.2
    now=$(ticks)
    if [ "$now" = "$before" ]; then break; fi
    before=$now
done
awk -v ns=$(($(date +%s%N) - left)) 'BEGIN { printf "the client left; the server rests after %.1f s\n", ns / 1e9 }'
sleep 2
show "resident afterwards" "$(memory VmRSS)"
