#!/usr/bin/env bash
# Transcribes one sample with the demo checkpoint and says how to do it again. The program converts the
# checkpoint by itself the first time.
#
#   tools/transcribe-sample.sh IMESLI CHECKPOINT SAMPLE
set -euo pipefail
cd "$(dirname "$0")/.."
imesli=$1 checkpoint=$2 sample=$3
# As one would type it.
case $imesli in /*) ;; *) imesli=./$imesli ;; esac

if [ ! -e "$checkpoint" ]; then
    echo "imesli: there is no checkpoint at $checkpoint (set CHECKPOINT=DIR)" >&2
    exit 2
fi
if [ ! -f "$sample" ]; then
    echo "imesli: there is no sample ${sample:-in tests/data} (set SAMPLE=FILE)" >&2
    exit 2
fi
command=("$imesli" transcribe --checkpoint "$checkpoint" "$sample")
"${command[@]}"
printf '\nTo do this again:\n  %s\n' "${command[*]}"
