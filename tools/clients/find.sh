# Sourced by what runs the example clients, and by what installs what they need.
client_folder=${CARGO_TARGET_DIR:-target}/clients client_python='' client_modules='' client_browser='' client_api=''

# Sets client_python to a Python that has websockets.
find_python() {
    local python
    for python in "${PYTHON:-python3}" "$client_folder/python/bin/python" /usr/bin/python3; do
        if "$python" -c 'import websockets' >/dev/null 2>&1; then
            client_python=$python
            return
        fi
    done
    return 1
}

# Sets client_api to the folder of a Python, and its programs, that has what clients/api-requirements.txt names.
find_api() {
    local python
    for python in "${API_PYTHON:-python3}" "$client_folder/api/bin/python"; do
        python=$(command -v "$python") || continue
        if "$python" -c 'import openai, prometheus_client, schemathesis' >/dev/null 2>&1 \
            && [ -x "$(dirname "$python")/schemathesis" ]; then
            client_api=$(cd "$(dirname "$python")" && pwd)
            return
        fi
    done
    return 1
}

# Sets client_modules to a folder of Node's packages that has ws. The last is Debian's.
find_ws() {
    local folder
    command -v node >/dev/null 2>&1 || return 1
    for folder in "${NODE_FOLDER:-.}/node_modules" "$client_folder/node_modules" /usr/share/nodejs; do
        if [ -d "$folder/ws" ]; then
            client_modules=$(cd "$folder" && pwd)
            return
        fi
    done
    return 1
}

# Node 22 and later need no package for ws://; accepting a self-signed certificate takes one.
has_own_websocket() { node -e 'process.exit(globalThis.WebSocket ? 0 : 1)' 2>/dev/null; }

# Sets client_browser to a Chromium.
find_chromium() {
    local program
    for program in "${CHROMIUM:-chromium}" chromium-browser google-chrome; do
        if command -v "$program" >/dev/null 2>&1; then
            client_browser=$program
            return
        fi
    done
    return 1
}
