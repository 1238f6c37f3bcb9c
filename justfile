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
