#!/usr/bin/env bash
# Holds deploy/kubernetes to Kubernetes' own schemas, and its arguments to the options of the program.
#
#   tools/check-manifests.sh [IMESLI]
#
# The schemas come with the Python package kubernetes-validate, which goes into target/manifests; after that no network is
# wanted. Without IMESLI the options are not looked at, and it says so. MANIFESTS_PYTHON: a Python that has the package.
set -euo pipefail
cd "$(dirname "$0")/.."
imesli=${1:-}
package=kubernetes-validate==1.37.0
python=${MANIFESTS_PYTHON:-}
if [ -z "$python" ]; then
    venv=${CARGO_TARGET_DIR:-target}/manifests
    python=$venv/bin/python
    if [ "$(cat "$venv/installed" 2>/dev/null)" != "$package" ]; then
        rm -rf "$venv"
        if ! python3 -m venv "$venv" || ! "$python" -m pip install --quiet --disable-pip-version-check "$package"; then
            echo "SKIPPED: $package could not be installed; the manifests are not checked" >&2
            exit 0
        fi
        echo "$package" >"$venv/installed"
    fi
fi
exec "$python" tools/check_manifests.py deploy/kubernetes ${imesli:+--imesli "$imesli"}
