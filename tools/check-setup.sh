#!/usr/bin/env bash
# Proves that a machine with Rust, git and make and nothing else is set up by our own commands: clones
# HEAD into a fresh Debian in a chroot and runs `make test` there (`serve`: also the command that it prints, in place of
# a person). Needs root, debootstrap, a few GB of disk and
# a network; lends the chroot this machine's Rust (read-only) and cargo's downloads.
#
#   tools/check-setup.sh [FOLDER [MAKE_TARGET…]]      default: /tmp/imesli-setup test
#
# FOLDER/base is kept for the next time; FOLDER/run is made anew each time, and kept to look into.
# SUITE, MIRROR: which Debian, from where (default: bookworm, the mirror of this machine's apt).
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-/tmp/imesli-setup}
shift || true
targets=("${@:-test}")
suite=${SUITE:-bookworm}
sources=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null || true)
found=$(sed -n -e 's/^URIs: *\([^ ]*debian\) *$/\1/p' -e 's/^deb [^h]*\(http[^ ]*debian\)\/* .*/\1/p' <<<"$sources")
mirror=${MIRROR:-${found%%$'\n'*}}
mirror=${mirror:-http://deb.debian.org/debian}
base=$folder/base
run=$folder/run

# The mounts below live in a namespace of their own, so that nothing is left behind, and removing
# FOLDER/run can't reach through them.
if [ "${IMESLI_MOUNTS:-}" != private ]; then
    exec env IMESLI_MOUNTS=private unshare --mount "$0" "$folder" "${targets[@]}"
fi

if [ ! -e "$base/etc/debian_version" ]; then
    rm -rf "$base.part"
    mkdir -p "$folder"
    debootstrap --variant=minbase --include=git,make,ca-certificates "$suite" "$base.part" "$mirror"
    mv "$base.part" "$base"
fi

rm -rf "$run"
cp -a "$base" "$run"
for tool in cmake g++ gcc cc clang; do
    if [ -e "$run/usr/bin/$tool" ]; then
        echo "the fresh system already has $tool" >&2
        exit 1
    fi
done

# How this machine reaches the network: names, certificates, apt's proxy and checks.
cp /etc/resolv.conf "$run/etc/resolv.conf"
# An installer writes this one.
echo "127.0.0.1 localhost" >"$run/etc/hosts"
cp /etc/ssl/certs/ca-certificates.crt "$run/etc/ssl/certs/ca-certificates.crt"
grep -l '^Acquire::.*\(Proxy\|Check\|http\)' /etc/apt/apt.conf.d/* | xargs -r cp -t "$run/etc/apt/apt.conf.d"

mount -t proc proc "$run/proc"
mount --rbind /dev "$run/dev"

cargo_home=${CARGO_HOME:-$HOME/.cargo}
rustup_home=${RUSTUP_HOME:-$HOME/.rustup}
mkdir -p "$run/root/.cargo/bin" "$run/root/.cargo/registry" "$run/root/.rustup" "$cargo_home/registry"
mount --bind -o ro "$cargo_home/bin" "$run/root/.cargo/bin"
mount --bind -o ro "$rustup_home" "$run/root/.rustup"
mount --bind "$cargo_home/registry" "$run/root/.cargo/registry"
if [ -e "$cargo_home/config.toml" ]; then cp "$cargo_home/config.toml" "$run/root/.cargo/"; fi

git clone --quiet --no-hardlinks . "$run/root/imesli"

# A bare environment, but for the proxy.
environment=(HOME=/root PATH=/root/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin CI=true LANG=C.UTF-8)
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    if [ -n "${!name:-}" ]; then environment+=("$name=${!name}"); fi
done
inside=(env -i "${environment[@]}" chroot "$run")

# As a newcomer would: `make serve`, and in a second terminal the command that it prints.
serve() {
    local log=$folder/serve.log server command text
    setsid "${inside[@]}" make -C /root/imesli serve </dev/null >"$log" 2>&1 &
    server=$!
    # shellcheck disable=SC2064 # the process of now
    trap "kill -- -$server 2>/dev/null || true" EXIT
    until grep -q 'listening on' "$log"; do
        if ! kill -0 "$server" 2>/dev/null; then
            cat "$log" >&2
            exit 1
        fi
        sleep 1
    done
    command=$(sed -n 's/^  \(.* transcribe --server .*\)/\1/p' "$log")
    echo "$ $command"
    text=$("${inside[@]}" sh -c "cd /root/imesli && $command")
    echo "$text"
    kill -- -"$server" && wait "$server" || true
    trap - EXIT
    [ "$text" = "seven three zero nine" ] || exit 1
}

for target in "${targets[@]}"; do
    echo "== make $target"
    SECONDS=0
    if [ "$target" = serve ]; then serve; else "${inside[@]}" make -C /root/imesli "$target" </dev/null; fi
    echo "== make $target: $SECONDS s"
done
