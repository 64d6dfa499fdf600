#!/usr/bin/env bash
# Measures imesli beside whisper.cpp and faster-whisper, and writes docs/benchmarks.md. Linux only; an hour or more for
# all shapes, on a machine that has nothing else to do. `make bench` builds first and runs this:
#
#   make bench [BENCH_ARGS="--shapes small --works 5s,30s …"]      BENCH_ARGS=--help has all options
#
# Everything is made in target/bench: a Python with the other engines (BENCH_PYTHON: one that has them, see
# tools/bench/requirements.txt), checkpoints with random weights (BENCH_CHECKPOINTS: a folder with tiny/, base/ and small/),
# and what they are converted to. IMESLI and CONVERT are the programs that are measured. BENCH_PIP_ARGS goes to pip: torch
# comes with libraries for GPUs, several GB, unless it is told an index that has it without.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
export BENCH_FOLDER=$target/bench
export IMESLI=${IMESLI:-$target/release/imesli} CONVERT=${CONVERT:-$target/release/convert}
maker=../shared/bench/make_checkpoint.py
mkdir -p "$BENCH_FOLDER"

fail() {
    printf 'bench: %s\n' "$*" >&2
    exit 1
}

[ "$(uname -s)" = Linux ] || fail "this needs Linux: memory is read from /proc"
for program in "$IMESLI" "$CONVERT"; do
    [ -x "$program" ] || fail "there is no $program: run make, or set IMESLI and CONVERT"
done

# --- Python, with the other engines ---
if [ -z "${BENCH_PYTHON:-}" ]; then
    BENCH_PYTHON=$BENCH_FOLDER/venv/bin/python
    if ! cmp -s tools/bench/requirements.txt "$BENCH_FOLDER/venv/installed"; then
        python3 -m venv "$BENCH_FOLDER/venv" || fail "python3 can't make a venv (on Debian: apt install python3-venv)"
        # shellcheck disable=SC2086 # Several arguments.
        "$BENCH_PYTHON" -m pip install --quiet ${BENCH_PIP_ARGS:-} -r tools/bench/requirements.txt
        cp tools/bench/requirements.txt "$BENCH_FOLDER/venv/installed"
    fi
fi
"$BENCH_PYTHON" -c 'import ctranslate2, faster_whisper, numpy, torch, transformers, websockets.sync.client' ||
    fail "$BENCH_PYTHON lacks packages of tools/bench/requirements.txt"

measures=yes shapes='tiny base small' last=''
for argument in "$@"; do
    case $argument in -h | --help | --render) measures='' ;; --quick) quick=yes ;; --shapes=*) asked=${argument#*=} ;; esac
    if [ "$last" = --shapes ]; then asked=$argument; fi
    last=$argument
done
if [ -n "${quick:-}" ]; then shapes=tiny; fi
shapes=${asked:-$shapes}

# --- checkpoints with random weights ---
if [ -n "$measures" ] && [ -z "${BENCH_CHECKPOINTS:-}" ]; then
    BENCH_CHECKPOINTS=$BENCH_FOLDER/checkpoints
    for shape in ${shapes//,/ }; do
        if [ -e "$BENCH_CHECKPOINTS/$shape/done" ]; then continue; fi
        [ -e "$maker" ] || fail "$maker is missing, which makes checkpoints with random weights: set BENCH_CHECKPOINTS to a" \
            "folder with tiny/, base/ and small/, each a checkpoint of that shape (config.json, model.safetensors, vocab.json, merges.txt)"
        "$BENCH_PYTHON" "$maker" "$shape" "$BENCH_CHECKPOINTS/$shape"
        touch "$BENCH_CHECKPOINTS/$shape/done"
    done
fi
export BENCH_CHECKPOINTS=${BENCH_CHECKPOINTS:-}

# --- whisper.cpp as upstream builds it ---
export WHISPER_DEFAULTS=$BENCH_FOLDER/cargo/release/whisper-defaults
if [ -n "$measures" ]; then
    cargo_folder=$(cd "$BENCH_FOLDER" && pwd)/cargo
    # Variables of this shell would go before those of the crate's .cargo/config.toml.
    (
        for name in $(compgen -e | grep -E '^(GGML|WHISPER|CMAKE)_' || true); do
            unset "$name"
        done
        unset CARGO_TARGET_DIR RUSTFLAGS
        cd tools/bench/whisper-defaults && cargo build --quiet --release --locked --target-dir "$cargo_folder"
    )
    for copy in "$cargo_folder"/release/build/whisper-rs-sys-*/out/whisper.cpp; do
        if grep -rqiI imesli "$copy/src" "$copy/ggml/src"; then
            fail "$copy has imesli's changes, and is not upstream's: remove $cargo_folder"
        fi
    done
fi

exec "$BENCH_PYTHON" -B tools/bench/bench.py "$@"
