#!/bin/sh
# No-change plan of eight lab hosts with sixty resources each: cutover beside ansible-playbook --check and pyinfra --dry.
# One command: builds cutover, makes the hosts, installs the peers from PyPI into environments of their own, measures, tidies up.
# Options go to compare.py: --rounds N, --tools a,b, --one, --keep. Needs python3 with venv, ssh, podman or docker.
set -eu
cd "$(dirname "$0")/../.."
cargo build --release --quiet
exec python3 -B benches/ansible/compare.py "$@"
