# `just` lists the recipes; each is also a plain cargo command.

set positional-arguments

_default:
    @just --list --unsorted

# Formatting, lints and documentation, as CI checks them
check:
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
    RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --locked

# All tests, scenarios included
test *args:
    cargo test --locked "$@"

# Scenarios whose name contains NAME against the freshly built binary (all without NAME)
e2e *name:
    cargo test --locked --test e2e -- "$@"

# The engine on a simulated disk: `just sim` many random cases, `just sim SEED` one of them again
sim seed="":
    LOGMILL_SIM_SEED={{trim_start_match(seed, "SEED=")}} LOGMILL_SIM_CASES=5000 cargo test --locked --lib -- --nocapture sim::crashes::random

# Every crash point with every second one in the recovery after it; takes long
sim-full:
    LOGMILL_SIM_FULL=1 LOGMILL_SIM_CASES=100000 cargo test --locked --release --lib -- sim::

# Feeds a target of fuzz/ new bytes for so many seconds; needs cargo-fuzz and a nightly toolchain
fuzz target seconds="60":
    #!/usr/bin/env bash
    set -euo pipefail
    # What is found goes to target/, so that the committed corpus grows by hand only.
    mkdir -p "target/fuzz-corpus/$1"
    cargo +nightly fuzz run --sanitizer none "$1" "target/fuzz-corpus/$1" "fuzz/corpus/$1" \
        -- -max_total_time="$2" -timeout=10 -rss_limit_mb=2048 -max_len=16384

# 2,000 SIGKILLs, at failpoints too, and 200 SIGTERMs; `--seed N` takes the same decisions again
kill-full *flags:
    cargo test --release --locked --features failpoints --test e2e -- --exact torture/kill torture/term --full "$@"

# 200 power cuts and 80 full or read-only disks; needs root for file systems of its own
power-cut *flags:
    cargo test --release --locked --features failpoints --test e2e -- --exact torture/power-cut torture/disk-full --full "$@"

# Torture cases whose name contains NAME in their full size: races, overload, hostile, …
torture *flags:
    cargo test --release --locked --test e2e -- --full "$@"

# Real nginx and syslog-ng as docs/senders says, in full size; what is not installed is skipped
senders *flags:
    cargo test --release --locked --test e2e -- senders/ --full "$@"

# Takes away one rule of the engine at a time: tests must go red; NAME is part of a mutant's name
mutants *name:
    cargo run --locked --example mutants -- "$@"

# The whole path over HTTP beside two baselines, in one run; `just bench --help` says what to choose
bench *flags:
    cargo bench --locked --bench http -- "$@"

# Latency, queries, growth, memory, disk, safety and recovery; `just figures --help` says what to choose
figures *flags:
    cargo bench --locked --bench figures -- "$@"

# Each stage alone; NAME is part of a benchmark's name
stages *name:
    cargo bench --locked --bench stages -- "$@"

# The server on 127.0.0.1:8080 with ./data; flags are passed on
run *flags:
    cargo run --release --locked -- serve "$@"

# Count access logs of one customer through the running server
import customer +files:
    #!/usr/bin/env bash
    set -euo pipefail
    customer=$1
    shift
    cargo run --release --locked -- import --customer "$customer" "$@"

# Every setting and where it comes from
config:
    cargo run --release --locked -- config show

# Put the code in its form
fmt:
    cargo fmt

# All that CI runs
ci:
    .ci/run
