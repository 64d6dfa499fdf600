#!/usr/bin/env bash
# Writes the crates that are linked into the programs, with their licences, into THIRD-PARTY.md. Fails,
# and writes nothing, on a licence that nobody has looked at yet.
set -euo pipefail
cd "$(dirname "$0")/.."
page=THIRD-PARTY.md

# A crate must offer at least one of these, or some of them together. MPL-2.0 asks for the source of the crate's own files only.
one='(0BSD|Apache-2\.0|Apache-2\.0 WITH LLVM-exception|BSD-2-Clause|BSD-3-Clause|BSL-1\.0|CC0-1\.0|ISC|MIT|MIT-0|MPL-2\.0|Unicode-3\.0|Unlicense|Zlib)'
allowed="^(.* OR )?$one( AND $one)*( OR .*)?\$|^\\($one( OR $one)*\\)( AND $one)*\$"

crates=$(
    for target in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu aarch64-apple-darwin; do
        cargo tree --locked --edges normal,no-proc-macro --no-dedupe --prefix none --target $target --format '{p}|{l}'
    done | sed -e 's/ ([^)]*)|/|/' -e 's#|\([^ /]*\) */ *\([^ /]*\)$#|\1 OR \2#' | grep -v '^imesli ' | LC_ALL=C sort -u
)
unknown=$(while IFS='|' read -r crate license; do
    grep -qE "$allowed" <<<"$license" || echo "$crate: ${license:-no licence}"
done <<<"$crates")
if [ -n "$unknown" ]; then
    printf 'licences that tools/licenses.sh does not allow:\n%s\n' "$unknown" >&2
    exit 1
fi

marker='<!-- by tools/licenses.sh: everything below is generated -->'
{
    sed "\\%^$marker\$%,\$d" "$page"
    printf '%s\n\n| crate | version | licence |\n|---|---|---|\n' "$marker"
    sed -e 's/^\([^ ]*\) v\([^|]*\)|\(.*\)$/| \1 | \2 | \3 |/' <<<"$crates"
} >"$page.part"
mv "$page.part" "$page"
