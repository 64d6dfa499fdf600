# On a fresh Debian, Ubuntu or macOS machine with Rust, git and make, these do all the set-up:
#
#   make serve   installs what is missing, builds for this machine, converts the demo model and serves it
#   make test    the same, then format, lint, documentation and all tests (what CI runs)
#   make cluster a broker, a door and two workers on this machine, and 200 recordings through them
#
#   make dist    portable binaries in dist/: fully static on Linux, any x86-64-v3 machine
#   make bench   imesli beside whisper.cpp and faster-whisper, into docs/benchmarks.md (tools/bench.sh; hours)
#
# Variables: FEATURES (cuda, vulkan, metal; metal is the default on macOS), CHECKPOINT, SAMPLE, PORT,
# BENCH_ARGS (--help has them).

SHELL := /bin/bash
.DEFAULT_GOAL := build
.PHONY: build serve cluster test dist bench setup setup-test whisper licenses audit clean-whisper clean
# The set-up comes first, and once; cargo and CMake use all cores by themselves.
.NOTPARALLEL:

# Where rustup puts cargo; a shell that was opened before rustup ran does not have it yet.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

OS := $(shell uname -s)
ifeq ($(OS),Darwin)
FEATURES ?= metal
endif
FEATURES ?=

CHECKPOINT ?= checkpoint
SAMPLE ?= tests/data/theo-7309.wav
PORT ?= 16391

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
# One profile for everything: each further one would build whisper.cpp again. In CI the lock file is law.
FLAGS := $(strip --release $(if $(FEATURES),--features "$(FEATURES)") $(if $(CI),--locked))

build: whisper
	cargo build $(FLAGS)

# Over wss, with a certificate made on the first start; prints the command that transcribes a sample.
serve: build
	@tools/serve-demo.sh "$(TARGET_DIR)/release/imesli" "$(CHECKPOINT)" "$(SAMPLE)" "$(PORT)"

# With the demo checkpoint, whose texts are known.
cluster: build
	@tools/setup.sh --cluster
	@tools/cluster.sh "$(TARGET_DIR)/release/imesli" checkpoint

test: setup-test whisper
	cargo fmt --all --check
	cargo clippy $(FLAGS) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(FLAGS) --no-deps --document-private-items
	cargo test $(FLAGS)
	@tools/check-kernels.sh
	@tools/check-clients.sh "$(TARGET_DIR)/release/imesli" checkpoint
	@tools/check-api.sh "$(TARGET_DIR)/release/imesli" checkpoint
	@tools/check-page.sh "$(TARGET_DIR)/release/imesli" checkpoint
	@tools/check-door.sh "$(TARGET_DIR)/release/imesli" checkpoint
	@tools/check-throughput.sh "$(TARGET_DIR)/release/imesli" "$(TARGET_DIR)/release/convert"
	@tools/check-manifests.sh "$(TARGET_DIR)/release/imesli"
	@python3 tools/scale_limits.py --check docs/scale.md
	@if . tools/find-broker.sh && find_broker; then tools/cluster.sh "$(TARGET_DIR)/release/imesli"; \
	    else echo "SKIPPED: there is no nats-server; doors and workers are not tried" >&2; fi

setup:
	@tools/setup.sh

setup-test:
	@tools/setup.sh --test

# whisper-rs-sys does not notice that what whisper.cpp is built from has changed.
whisper: setup
	@tools/fresh-whisper.sh "$(TARGET_DIR)"

# --- portable binaries -------------------------------------------------------------------------------

HOST := $(shell PATH="$(PATH)" rustc -vV 2>/dev/null | sed -n 's/^host: //p')
# A folder of its own: a whisper.cpp built for this machine must never get into a portable binary.
DIST_TARGET_DIR := target-dist
DIST_FEATURES := $(FEATURES)
DIST_FLAGS = $(strip --release --bins --locked --target $(HOST) --target-dir $(DIST_TARGET_DIR) \
    $(if $(DIST_FEATURES),--features "$(DIST_FEATURES)"))

ifeq ($(OS),Linux)
# No GPU: its drivers' libraries can't be linked statically.
DIST_FEATURES :=
DIST_RUSTFLAGS := -C target-feature=+crt-static
endif
# Stripped copies are made below; the symbols stay beside the build.
DIST_ENV := CARGO_PROFILE_RELEASE_DEBUG=none GGML_NATIVE=OFF
ifeq ($(firstword $(subst -, ,$(HOST))),x86_64)
# x86-64-v3, as a compiler flag for Rust and as ggml's own options: all that every such machine has, no more.
DIST_RUSTFLAGS += -C target-cpu=x86-64-v3
DIST_ENV += GGML_SSE42=ON GGML_AVX=ON GGML_AVX2=ON GGML_BMI2=ON GGML_FMA=ON GGML_F16C=ON \
    GGML_AVX_VNNI=OFF GGML_AVX512=OFF
else ifeq ($(OS),Linux)
# The dot products that quantized weights want: Graviton 2, Ampere, Raspberry Pi 5 and later.
DIST_ENV += GGML_CPU_ARM_ARCH=armv8.2-a+dotprod+fp16
endif

dist: setup
	$(DIST_ENV) tools/fresh-whisper.sh $(DIST_TARGET_DIR) --target $(HOST)
	$(DIST_ENV) RUSTFLAGS="$(strip $(DIST_RUSTFLAGS))" cargo build $(DIST_FLAGS)
	@mkdir -p dist
	@for name in imesli convert; do strip -o dist/$$name $(DIST_TARGET_DIR)/$(HOST)/release/$$name; done
	@cp LICENSE THIRD-PARTY.md dist/
	@tools/license-texts.sh $(HOST) >dist/THIRD-PARTY-LICENSES.txt
	@tools/check-dist.sh $(DIST_TARGET_DIR) dist/imesli dist/convert

# --- benchmark ---------------------------------------------------------------------------------------

# What is measured is this machine's build; BENCH_ARGS goes on to tools/bench/bench.py.
bench: build
	@tools/bench.sh $(BENCH_ARGS)

# --- upkeep ------------------------------------------------------------------------------------------

# Writes the list of crates and their licences into THIRD-PARTY.md.
licenses:
	tools/licenses.sh

# Known vulnerabilities, licences and sources of the crates (deny.toml).
audit:
	@tools/audit.sh

# Forgets the built whisper.cpp, as `make` does by itself after a change in src/asr/ext or .cargo/config.toml.
clean-whisper:
	cargo clean --release -p whisper-rs-sys

clean:
	cargo clean
	rm -rf $(DIST_TARGET_DIR) dist
