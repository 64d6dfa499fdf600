#!/usr/bin/env bash
# Prints the licence texts of all that is linked into the programs for one target, for the one who hands
# the binaries on: each text once, under the names of those that carry it.
#
#   tools/license-texts.sh TARGET_TRIPLE
set -euo pipefail
cd "$(dirname "$0")/.."

# Normal dependencies as NAME-VERSION, and the C libraries' carriers' own folders.
crates=$(
    cargo tree --locked --edges normal,no-proc-macro --no-dedupe --prefix none --target "$1" --format '{p}' |
        sed -e 's/^\([^ ]*\) v\([^ ]*\).*/\1-\2/' | grep -v '^imesli-' | LC_ALL=C sort -u
)
folders=$(cargo metadata --locked --format-version 1 --filter-platform "$1" |
    grep -o '"manifest_path":"[^"]*/Cargo\.toml"' | sed -e 's/^"manifest_path":"//' -e 's/\/Cargo\.toml"$//' | LC_ALL=C sort -u)

texts() { # NAME FOLDER: checksum, name and path of each licence text there
    local file
    for file in "$2"/LICEN[CS]E* "$2"/COPYING* "$2"/COPYRIGHT* "$2"/NOTICE* "$2"/UNLICENSE*; do
        if [ -f "$file" ]; then printf '%s|%s|%s\n' "$(cksum <"$file")" "$1" "$file"; fi
    done
}

found=$(
    {
        texts 'Silero VAD (weights)' src/audio/voice
        while read -r folder; do
            name=${folder##*/}
            case $name in
                whisper-rs-sys-*) texts whisper.cpp "$folder/whisper.cpp" ;;
                openssl-src-*) texts OpenSSL "$folder/openssl" ;;
            esac
            if grep -qxF "$name" <<<"$crates"; then texts "$name" "$folder"; fi
        done <<<"$folders"
    } | LC_ALL=C sort
)
before='' shown=''
while IFS='|' read -r sum name file; do
    if [ "$sum" != "$before" ]; then
        if [ -n "$shown" ]; then printf '\n' && cat "$shown"; fi
        printf '\n%s\n' "================================================================================"
        before=$sum shown=$file
    fi
    printf '%s\n' "$name"
done <<<"$found"
printf '\n' && cat "$shown"
