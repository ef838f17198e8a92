#!/usr/bin/env bash
# The protocol and decision crates take input and time and hand back outputs. Nothing in their dependency trees may
# bring a runtime, a socket or an operating-system source of randomness along.
set -euo pipefail
cd "$(dirname "$0")/.."

forbidden='^(tokio|mio|async-std|smol|socket2|rustix|nix|getrandom|hickory-.*|hyper|reqwest|sqlx.*|rand) '
status=0
for crate in base sip sdp rtp codec edge switch; do
    tree=$(cargo tree --quiet -p "offhook-$crate" -e normal --prefix none --format '{p} ')
    if found=$(grep -E "$forbidden" <<<"$tree" | sort -u); then
        echo "offhook-$crate must stay pure but depends on:" >&2
        echo "$found" >&2
        status=1
    fi
done
((status)) || echo "base sip sdp rtp codec edge switch: pure"
exit $status
