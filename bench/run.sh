#!/usr/bin/env bash
# Measures the node beside Kamailio and rtpengine: `bench/run.sh [calls|registrations|memory|relay|relay-kernel|transcode|start|overload|load|streams]`, all of
# them without an argument.
# What is measured, how, and what can be set by the environment: bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."

need() { # need PROGRAM PACKAGE
    command -v "$1" >/dev/null 2>&1 && return
    echo "missing: $1" >&2
    echo "hint: apt-get install $2" >&2
    exit 1
}
need python3 python3
need sipp sip-tester
need kamailio kamailio
need rtpengine rtpengine-daemon
need cc gcc
need ffmpeg ffmpeg
[[ -x target/release/offhook ]] || {
    echo "missing: target/release/offhook" >&2
    echo "hint: cargo build --release -p offhook, or make bench" >&2
    exit 1
}

exec python3 bench/bench.py "$@"
