#!/bin/sh
# What SSH costs to plan one host with a thousand files, its packages and fifty users: sessions, network waits, seconds at 50 ms.
# One command: builds cutover, makes the host, measures, counts the peers' sessions for thirty files, tidies up.
# Options go to sessions.py: --rounds N, --tools cutover,pyinfra,ansible, --keep.
set -eu
cd "$(dirname "$0")/../.."
cargo build --release --quiet
exec python3 -B benches/ssh-sessions/sessions.py "$@"
