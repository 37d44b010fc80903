#!/bin/sh
# No-change plan of a zone of 10,000 records, on Knot and on BIND: cutover beside octodns-sync, and cutover's apply of 10,000 changes.
# One command: builds cutover, makes the two hosts, installs octoDNS from PyPI into an environment of its own, measures, tidies up.
# Options go to compare.py: --rounds N, --records N, --only knot|bind, --keep. Needs python3 with venv, ssh, podman or docker.
set -eu
cd "$(dirname "$0")/../.."
[ -n "${CUTOVER_BENCH_BUILT:-}" ] || cargo build --release --quiet
exec python3 -B benches/dns/compare.py "$@"
