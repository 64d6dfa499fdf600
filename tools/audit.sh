#!/usr/bin/env bash
# Looks at the crates that are linked, by cargo-deny and deny.toml: known vulnerabilities, licences, sources. Installs
# cargo-deny where it is missing. Fails when something is wrong, and also when the database of advisories can't be reached:
# what was not looked up is not clean.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.20.2

if ! cargo deny --version >/dev/null 2>&1; then
    echo "installing cargo-deny $version (some minutes)" >&2
    cargo install --locked --quiet "cargo-deny@$version"
fi
cargo deny --locked check licenses bans sources
if ! log=$(cargo deny --locked check advisories 2>&1); then
    printf '%s\n' "$log" >&2
    if grep -qiE 'failed to (fetch|clone|update|acquire)|could not (resolve|connect)|network' <<<"$log"; then
        echo "audit: the database of advisories can't be reached: known vulnerabilities were NOT looked for" >&2
    fi
    exit 1
fi
printf '%s\n' "$log"
