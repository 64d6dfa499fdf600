#!/usr/bin/env bash
# Makes cargo build whisper.cpp again when what it is built from has changed: src/asr/ext,
# .cargo/config.toml, or a variable that whisper-rs-sys hands on to CMake. That crate watches none of them.
#
#   tools/fresh-whisper.sh TARGET_DIR [--target TRIPLE]
set -euo pipefail
cd "$(dirname "$0")/.."
target_dir=$1
shift
stamp=$target_dir/whisper-inputs
inputs=(.cargo/config.toml src/asr/ext/*)

now=$(
    cksum "${inputs[@]}"
    env | grep -E '^(GGML|WHISPER|CMAKE)_' | LC_ALL=C sort || true
)

# Whether whisper.cpp was built here after the last change of the files.
is_built_since() {
    local library input
    library=$(find "$target_dir" -name libwhisper.a -path '*whisper-rs-sys*/out/lib*')
    library=${library%%$'\n'*}
    [ -n "$library" ] || return 1
    for input in "${inputs[@]}"; do
        if [ "$input" -nt "$library" ]; then return 1; fi
    done
}

mkdir -p "$target_dir"
if [ -e "$stamp" ]; then
    [ "$now" = "$(cat "$stamp")" ] && exit 0
    stale=yes
else
    # A plain `cargo build` may have come before the first `make`.
    if [ -n "$(find "$target_dir" -type d -name 'whisper-rs-sys-*')" ] && ! is_built_since; then stale=yes; fi
fi
if [ "${stale:-}" = yes ]; then
    echo "imesli: what whisper.cpp is built from has changed; building it again" >&2
    cargo clean --quiet --release -p whisper-rs-sys --target-dir "$target_dir" "$@"
fi
printf '%s\n' "$now" >"$stamp"
