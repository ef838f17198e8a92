#!/usr/bin/env bash
# A long steady load, and whether memory, descriptors and ports stay flat: `bench/soak.sh [MINUTES]`, an hour by default. What is
# written, and what can be set by the environment: bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
for program in python3 sipp cc; do
    command -v "$program" >/dev/null || { echo "missing: $program" >&2; echo "hint: scripts/setup.sh test" >&2; exit 1; }
done
exec python3 bench/soak.py "$@"
