#!/usr/bin/env bash
# Everything that CI runs, cheapest first.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

step "purity: no async runtime or socket library below the pure crates"
scripts/check-purity.sh

step "format"
cargo fmt --all --check

step "lints"
cargo clippy --workspace --all-targets --quiet -- -D warnings

step "tests"
cargo test --workspace --quiet --no-fail-fast
