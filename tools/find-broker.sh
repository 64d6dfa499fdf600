# Sourced by what starts a broker, and by what installs one.
broker_program=''

# Sets broker_program to nats-server, which need not be on the PATH.
find_broker() {
    local program
    for program in "${NATS_SERVER:-nats-server}" /usr/sbin/nats-server /usr/local/bin/nats-server \
        /opt/homebrew/bin/nats-server; do
        if broker_program=$(command -v "$program"); then return; fi
    done
    broker_program=''
    return 1
}
