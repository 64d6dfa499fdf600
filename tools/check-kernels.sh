#!/usr/bin/env bash
# Checks the kernels that a portable binary chooses from (src/asr/ext/q8.h) beside the sums that they stand for. The tests
# reach only the one that this machine's build has. x86-64 with GCC; elsewhere there is nothing to choose.
set -euo pipefail
cd "$(dirname "$0")/.."
compiler=${CXX:-g++}
if [ "$(uname -m)" != x86_64 ] || ! $compiler --version | grep -q "Free Software Foundation"; then
    echo "check-kernels: skipped, no choice of kernels on this machine" >&2
    exit 0
fi
if ! grep -qw avx2 /proc/cpuinfo; then
    echo "check-kernels: skipped, this processor has no AVX2" >&2
    exit 0
fi
program=$(mktemp)
trap 'rm -f "$program"' EXIT
$compiler -std=c++17 -O3 -mavx2 -mfma -mf16c tools/kernels/q8.cpp -o "$program"
"$program"
