#!/usr/bin/env bash
# Fails unless the binaries are what `make dist` promises: they start, are small, and on Linux static, and
# their whisper.cpp keeps to x86-64-v3, but for the kernels of src/asr/ext/q8.h that are chosen at run time.
# (The C library and OpenSSL hold code for newer CPUs too, and look before they use it; whisper.cpp does not.)
#
#   tools/check-dist.sh TARGET_DIR BINARY…
set -euo pipefail
target_dir=$1
shift
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

if [ "$(uname -sm)" = "Linux x86_64" ]; then
    for library in $(find "$target_dir" -name 'lib*.a' -path '*whisper-rs-sys*/out/lib/*'); do
        # The wide registers, the mask registers, and the two instruction sets between v3 and v4.
        beyond=$(objdump --disassemble --no-show-raw-insn "$library" | awk '
            /^[0-9a-f]+ </ { chosen = /imesli_chosen/ }
            !chosen && /%zmm|%[xy]mm(1[6-9]|2[0-9]|3[01])|%k[0-7]|[ \t]vpdp|[ \t]gf2p8/ { n++ }
            END { print n + 0 }')
        if [ "$beyond" != 0 ]; then
            echo "$library: $beyond instructions beyond x86-64-v3" >&2
            exit 1
        fi
    done
fi
