#!/usr/bin/env bash
# Installs what a build needs and this machine lacks: cmake and a C++ compiler (whisper.cpp), perl and
# make (OpenSSL, on Linux). With --test also rustfmt, clippy, and what the example clients need: a WebSocket
# for Python and one for Node; what the HTTP API is tried with; a nats-server, which the cluster is tried with; and on Debian
# a Chromium to try the page in. With --cluster also the nats-server, and nothing else of that. Says nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    printf 'imesli: %s\n' "$@" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# macOS has a stub of the compiler, which opens a dialog instead of compiling.
has_compiler() {
    if [ "$(uname -s)" = Darwin ]; then xcode-select -p >/dev/null 2>&1; else has cc && has "${CXX:-c++}"; fi
}

# Debian's small perl-base runs, but lacks modules that OpenSSL's Configure loads.
has_perl() { perl -MFindBin -MIPC::Cmd -MFile::Compare -MTime::Piece -e 1 >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        # Nobody is there to type a password.
        sudo -n "$@"
    fi
}

check_rust() {
    has cargo || fail "Rust is missing: see https://rustup.rs, then open a new shell."
    local minor
    minor=$(rustc --version | sed -n 's/^rustc 1\.\([0-9]*\)\..*/\1/p')
    [ "${minor:-0}" -ge 88 ] || fail "Rust 1.88 or later is needed; this is $(rustc --version). Try: rustup update stable"
}

install_debian() {
    local packages=()
    has cmake || packages+=(cmake)
    has_compiler || packages+=(g++ libc6-dev)
    has make || packages+=(make)
    has_perl || packages+=(perl)
    [ ${#packages[@]} = 0 ] && return
    [ "$(id -u)" = 0 ] || has sudo || fail "this needs root, and there is no sudo here. As root, run:" \
        "  apt-get update && apt-get install ${packages[*]}"
    apt_install "${packages[@]}"
}

apt_install() {
    echo "imesli: installing $*" >&2
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -qq)
    as_root "${apt[@]}" update && as_root "${apt[@]}" install -y --no-install-recommends "$@"
}

install_macos() {
    has_compiler || fail "the compiler is missing. Run: xcode-select --install"
    has cmake && return
    has brew || fail "cmake is missing. Install Homebrew (https://brew.sh) and run this again, or put cmake on the PATH."
    echo "imesli: installing cmake" >&2
    brew install --quiet cmake
}

check_others() {
    local missing=()
    has cmake || missing+=(cmake)
    has_compiler || missing+=("a C and C++ compiler")
    has make || missing+=(make)
    has_perl || missing+=("perl with its standard modules")
    [ ${#missing[@]} = 0 ] && return
    local list
    list=$(printf ', %s' "${missing[@]}")
    fail "missing: ${list:2}." \
        "They are installed by themselves on Debian, Ubuntu and macOS only; please use this system's packages, e.g." \
        "  Fedora:  dnf install cmake gcc-c++ make perl" \
        "  Arch:    pacman -S cmake gcc make perl"
}

# rustup's minimal profile has neither.
install_lints() {
    local missing=()
    cargo fmt --version >/dev/null 2>&1 || missing+=(rustfmt)
    cargo clippy --version >/dev/null 2>&1 || missing+=(clippy)
    [ ${#missing[@]} = 0 ] && return
    has rustup || fail "missing: ${missing[*]}. Install them from where this Rust came from."
    rustup component add "${missing[@]}"
}

# Never fails: the server's own tests do without, also where there is no network.
install_clients() {
    # shellcheck source=tools/clients/find.sh
    . tools/clients/find.sh
    local packages=()
    if ! find_python; then
        if has apt-get; then packages+=(python3 python3-websockets); else python_from_pip || true; fi
    fi
    if ! find_ws; then
        # Debian's npm would bring hundreds of packages; its node-ws brings a few.
        if has apt-get && ! has npm; then packages+=(nodejs node-ws); else node_from_npm || true; fi
    fi
    # Ubuntu's package of this name is a snap, which does not run everywhere; there, an installed one is used.
    if ! find_chromium && has apt-get && grep -q '^ID=debian' /etc/os-release; then packages+=(chromium); fi
    # Debian's Python comes without the means to make an environment.
    if ! find_api && has apt-get && ! python3 -c 'import ensurepip' >/dev/null 2>&1; then packages+=(python3-venv); fi
    if [ ${#packages[@]} != 0 ]; then apt_install "${packages[@]}" || true; fi
    if ! find_api; then api_from_pip || true; fi
    # What looks for obstacles on the page; without it, the check looks for some of them by itself.
    if has npm && [ -d "$client_folder/node_modules/ws" ] && [ ! -d "$client_folder/node_modules/axe-core" ]; then
        node_from_npm || true
    fi
    find_python || echo "imesli: no websockets for Python could be installed; that example is not tried out" >&2
    find_api || echo "imesli: openai and schemathesis could not be installed; the HTTP API is not tried with them" >&2
    find_ws || echo "imesli: no ws for Node could be installed; that example is not tried out" >&2
    find_chromium || echo "imesli: there is no Chromium; the page is not tried out" >&2
}

python_from_pip() {
    echo "imesli: installing websockets into $client_folder" >&2
    python3 -m venv "$client_folder/python" && "$client_folder/python/bin/pip" --quiet install websockets
}

# Of these versions, because newer ones look for more.
api_from_pip() {
    echo "imesli: installing openai, schemathesis and prometheus-client into $client_folder" >&2
    python3 -m venv "$client_folder/api" \
        && "$client_folder/api/bin/pip" --quiet install -r tools/clients/api-requirements.txt
}

node_from_npm() {
    if ! has npm && has brew; then brew install --quiet node; fi
    echo "imesli: installing ws and axe-core into $client_folder" >&2
    # Together: npm removes what it is not told of.
    npm install --prefix "$client_folder" --no-save --no-audit --no-fund --loglevel=error ws axe-core >/dev/null
}

# Debian's package is a service, too, which would listen on all addresses and ask nobody for a password: only its program is
# wanted. A unit that is masked before it is there is not started. Where there is no systemd, nothing is.
install_broker() {
    # shellcheck source=tools/find-broker.sh
    . tools/find-broker.sh
    find_broker && return
    if has apt-get; then
        if [ -d /run/systemd/system ]; then
            echo "imesli: masking the service of nats-server (systemctl unmask nats-server undoes it)" >&2
            as_root systemctl --quiet mask nats-server.service || return
        fi
        apt_install nats-server
    elif has brew; then
        echo "imesli: installing nats-server" >&2
        brew install --quiet nats-server
    fi
    find_broker
}

case "$(uname -s)" in
    Darwin) install_macos ;;
    Linux) if has apt-get; then install_debian; else check_others; fi ;;
    *) check_others ;;
esac
check_rust
if [ "${1:-}" = --test ]; then
    install_lints
    install_clients
    install_broker || echo "imesli: no nats-server could be installed; the cluster is not tried out" >&2
elif [ "${1:-}" = --cluster ]; then
    install_broker || fail "nats-server is missing, and could not be installed: see https://nats.io/download, and put it on" \
        "the PATH, or its path into NATS_SERVER."
fi
