#!/bin/sh
# No-change plan of five hundred recorded hosts, thirty thousand resources: seconds and memory.
# One command: builds cutover, records one lab host's answer, replays it behind five hundred loopback addresses, tidies up.
# Options go to fleet.py: --parallel N, --rounds N. Needs root for the lab and for sshd.
set -eu
cd "$(dirname "$0")/../.."
cargo build --release --quiet
exec python3 -B benches/ssh-sessions/fleet.py "$@"
