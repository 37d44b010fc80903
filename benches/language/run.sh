#!/bin/bash
# run.sh [CUTOVER]: wall time and peak memory of `cutover check`, each figure beside its goal. Without an argument a release build
# is made. Best of several runs: the machine's own noise is not the program's.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
cutover=${1:-}
if [ -z "$cutover" ]; then
    cargo build --release --quiet --bin cutover
    cutover=$PWD/target/release/cutover
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Best wall time in ms and the peak of its memory in MiB, of RUNS runs.
measured() { # RUNS COMMAND..
    python3 - "$@" <<'PY'
import os, subprocess, sys, time
best, peak = None, 0
for _ in range(int(sys.argv[1])):
    start = time.monotonic()
    child = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    took = time.monotonic() - start
    # A forecast in which a window is too short ends with 2.
    if os.waitstatus_to_exitcode(status) not in (0, int(os.environ.get("ends", "0"))):
        sys.exit(f"{' '.join(sys.argv[2:])} ended with {os.waitstatus_to_exitcode(status)}")
    if best is None or took < best:
        best, peak = took, usage.ru_maxrss
print(f"{best * 1000:.0f} {peak / 1024:.0f}")
PY
}

missed=0
line() { # NAME MS MIB GOAL_MS GOAL_MB
    local verdict=met
    if [ "$2" -gt "$4" ] || { [ "$5" != - ] && [ "$3" -gt "$5" ]; }; then verdict=MISSED; missed=1; fi
    printf '%-44s %7s ms  (goal %6s)  %5s MiB  (goal %5s)  %s\n' "$1" "$2" "$4" "$3" "$5" "$verdict"
}

# One server node of so many names, every one with an address, a connection and a probe that selects it.
ranged() { # COUNT
    mkdir -p "$work/$1"
    cat > "$work/$1/topology.kdl" <<KDL
language 1
organization big domain=big.example anchor="s-1"
site here
platform open postfix="3.7" dovecot="2.3"
connection ops user=root host-key="ssh-ed25519 AAAA" key=(secret)"file:keys/admin"
server "s-[1:$1]" platform=open site=here connection=ops fqdn="s-\$1.big.example" { roles monitor; labels a b; }
probe alive type=heartbeat { to "*"; }
KDL
}

echo "$("$cutover" version | head -1), $(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg)"
read -r ms mib <<< "$(measured 20 "$cutover" version)"
line "version (startup)" "$ms" "$mib" 50 -
read -r ms mib <<< "$(measured 10 "$cutover" check --root examples/microsoft-it --env production)"
line "check microsoft-it, one environment" "$ms" "$mib" 60 40
read -r ms mib <<< "$(measured 5 "$cutover" check --root examples/microsoft-it)"
line "check microsoft-it, all three" "$ms" "$mib" 180 40
for size in "20000 1500 100" "200000 15000 1000"; do
    set -- $size
    ranged "$1"
    read -r ms mib <<< "$(measured 2 "$cutover" check --root "$work/$1")"
    line "check $1 servers by range" "$ms" "$mib" "$2" "$3"
done

# All cohorts of the 130,000 people that microsoft-it speaks of, with their windows.
cp -r examples/microsoft-it "$work/people"
for list in dogfood:500 red:72000 dub:24000 sin:18000 sao:12000; do
    { echo "mail,display"; seq -f "${list%:*}-%.0f@corp.example,user" "${list#*:}"; } > "$work/people/users/${list%:*}.csv"
done
read -r ms mib <<< "$(measured 3 "$cutover" cohort list --root "$work/people" --env production)"
line "cohort list, 126,500 people on lists" "$ms" "$mib" 5000 500
read -r ms mib <<< "$(ends=2 measured 3 "$cutover" forecast --root "$work/people" --env production --at 2007-01-15T09:00)"
line "forecast of 130,000 people" "$ms" "$mib" 5000 500

# The nearest that Terraform has: as many resources as microsoft-it has nodes, in modules, validated. It knows no roles, units or DNS.
if command -v terraform > /dev/null; then
    mkdir -p "$work/tf/site"
    cat > "$work/tf/site/main.tf" <<'TF'
variable "name" { type = string }
variable "clusters" { type = number }
resource "terraform_data" "server" {
  for_each = toset(flatten([for c in range(1, var.clusters + 1) : [for n in ["a", "b"] : format("%s-mbx-%02d%s", var.name, c, n)]]))
  input    = { name = each.key, platform = "ex" }
}
resource "terraform_data" "ccr" {
  for_each = toset([for c in range(1, var.clusters + 1) : format("%s-ccr-%02d", var.name, c)])
  input    = { name = each.key }
}
TF
    for site in red:38 dub:12 sin:9 sao:3; do
        printf 'module "%s" {\n  source   = "./site"\n  name     = "%s"\n  clusters = %s\n}\n' "${site%:*}" "${site%:*}" "${site#*:}"
    done > "$work/tf/main.tf"
    export CHECKPOINT_DISABLE=1
    if (cd "$work/tf" && terraform init -input=false -no-color > init.log 2>&1); then
        read -r ms mib <<< "$(cd "$work/tf" && measured 3 terraform validate -no-color)"
        printf '%-44s %7s ms                  %5s MiB\n' "terraform validate, 4 modules (expands nothing)" "$ms" "$mib"
    fi
fi
exit $missed
