#!/usr/bin/env bash
# Fails unless the binaries are what `make dist` promises: they start, are small, and on Linux static.
#
#   tools/check-dist.sh BINARY…
set -euo pipefail
limit=$((25 * 1000 * 1000))

for binary in "$@"; do
    size=$(($(wc -c <"$binary")))
    if [ "$size" -ge $limit ]; then
        echo "$binary: $size bytes, the limit is $limit" >&2
        exit 1
    fi
    linked=""
    if [ "$(uname -s)" = Linux ]; then
        linked=$(ldd "$binary" 2>&1 || true)
        case $linked in
            *"statically linked"* | *"not a dynamic executable"*) linked=", statically linked" ;;
            *)
                printf '%s: not static:\n%s\n' "$binary" "$linked" >&2
                exit 1
                ;;
        esac
    fi
    "$binary" --version >/dev/null
    awk -v name="$binary" -v size="$size" -v linked="$linked" 'BEGIN { printf "%s: %.1f MB%s\n", name, size / 1e6, linked }'
done
