#!/usr/bin/env bash
# Installs what is missing on a Debian machine: a C compiler and CMake for the C libraries inside (SQLite, AWS-LC, Opus), and for
# the tests the real programs they talk to. Says what it does; does nothing when all is there.
set -euo pipefail

what=${1:-run}
packages=()
need() { # need PROGRAM PACKAGE...
    command -v "$1" >/dev/null 2>&1 || packages+=("${@:2}")
}

need cc gcc libc6-dev
need make make
need cmake cmake
if [[ $what == test || $what == bench ]]; then
    need sipp sip-tester
    need baresip baresip-core
    need tshark tshark
    need kamailio kamailio
    [[ -e /usr/lib/x86_64-linux-gnu/kamailio/modules/tls.so || -e /usr/lib/aarch64-linux-gnu/kamailio/modules/tls.so ]] || packages+=(kamailio-tls-modules)
    need ffmpeg ffmpeg
    need python3 python3
    need svmap sipvicious
    need nft nftables
    need openssl openssl
    # For the in-kernel media plane; without it the node is built without that. Debian 12 has a newer one than its `clang`.
    clang=clang
    [[ -e /etc/os-release ]] && grep -q bookworm /etc/os-release && clang=clang-16
    command -v clang >/dev/null 2>&1 || need "$clang" "$clang"
    need ip iproute2
fi
if [[ $what == bench ]]; then
    need rtpengine rtpengine-daemon
fi

if ((${#packages[@]})); then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "missing: ${packages[*]}" >&2
        echo "hint: install them with your system's package manager" >&2
        exit 1
    fi
    sudo=
    [[ $(id -u) == 0 ]] || sudo=sudo
    echo "installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

if ! command -v cargo >/dev/null 2>&1; then
    echo "Rust is missing" >&2
    echo "hint: install Rust 1.95 or later, see https://rustup.rs" >&2
    exit 1
fi
