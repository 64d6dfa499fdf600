#!/usr/bin/env bash
# How much memory a server takes: starts one with a checkpoint and one state, sends it 30 s of speech, and
# prints its peak resident memory (VmHWM); then the same in a memory control group of 1 GiB without swap.
# Linux only.
#
#   tools/memory.sh IMESLI CHECKPOINT [SERVER_ARGUMENT…]
#
# A limit on address space (ulimit -v, prlimit --as) would count what is mapped and never touched, so it is
# not used. The group is made by systemd-run where systemd runs, else by hand, which needs root.
set -euo pipefail
cd "$(dirname "$0")/.."
imesli=$1 checkpoint=$2
shift 2
limit=$((1 << 30))
# shellcheck source=tools/test-server.sh
. tools/test-server.sh
scratch=$(mktemp -d) group=''
cleanup() {
    stop_server
    rm -rf "$server_log" "$scratch"
    if [ -n "$group" ]; then rmdir "$group" 2>/dev/null || true; fi
}
trap cleanup EXIT

# The conversion has a peak of its own, which is not the server's.
if [ -d "$checkpoint" ] && ! ls "$checkpoint"/ggml-*.bin >/dev/null 2>&1; then "$imesli" convert --checkpoint "$checkpoint"; fi

# 30 s: the samples of a recording again and again (16-bit mono at 8 kHz, a plain header of 44 bytes).
sample=tests/data/theo-7309.wav
bytes=$((30 * 8000 * 2))
le() { printf "\\x$(printf %02x $(($1 & 255)))\\x$(printf %02x $(($1 >> 8 & 255)))\\x$(printf %02x $(($1 >> 16 & 255)))\\x$(printf %02x $(($1 >> 24 & 255)))"; }
{
    printf 'RIFF' && le $((bytes + 36)) && tail -c +9 "$sample" | head -c 32 && le $bytes
    for _ in {1..40}; do tail -c +45 "$sample"; done | head -c $bytes || true
} >"$scratch/30s.wav" 2>/dev/null

run() { # TITLE ARGUMENT…
    local title=$1 peak begun=$SECONDS
    shift
    start_server "$imesli" --checkpoint "$checkpoint" --states 1 "$@"
    "$imesli" transcribe --server "ws://127.0.0.1:$server_port" "$scratch/30s.wav" >"$scratch/text"
    peak=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$server_pid/status")
    stop_server
    awk -v title="$title" -v peak="$peak" -v seconds=$((SECONDS - begun)) \
        'BEGIN { printf "%s: peak resident memory %.0f MB (%d s)\n", title, peak * 1.024 / 1000, seconds }'
}

run "no limit" "$@"

if [ -d /run/systemd/system ]; then
    mode=(--user)
    if [ "$(id -u)" = 0 ]; then mode=(); fi
    server_prefix=(systemd-run --quiet --scope "${mode[@]}" -p MemoryMax=$limit -p MemorySwapMax=0)
elif [ -w /sys/fs/cgroup/cgroup.subtree_control ] && grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
    group=/sys/fs/cgroup/imesli-memory-$$
    echo +memory >/sys/fs/cgroup/cgroup.subtree_control
    mkdir "$group" && echo $limit >"$group/memory.max" && { echo 0 >"$group/memory.swap.max"; } 2>/dev/null || true
elif [ -w /sys/fs/cgroup/memory/memory.limit_in_bytes ] || [ -w /sys/fs/cgroup/memory ]; then
    group=/sys/fs/cgroup/memory/imesli-memory-$$
    mkdir "$group" && echo $limit >"$group/memory.limit_in_bytes"
else
    echo "SKIPPED: the run under 1 GiB; this needs systemd, or root and memory control groups" >&2
    exit 0
fi
if [ -n "$group" ]; then
    # shellcheck disable=SC2016 # For the inner shell.
    server_prefix=(bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group")
fi
run "under 1 GiB" "$@"
