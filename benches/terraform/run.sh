#!/bin/bash
# run.sh [COUNT]: CPU time and memory of a no-change plan of COUNT resources (default 10,000), cutover and Terraform in one run.
#
# Both read what was found from a file and ask nobody: `terraform plan -refresh=false` on a state in which everything stands,
# cutover on a recorded observation. terraform_data is the cheapest resource that Terraform has. Configuration: cutover's comes
# from lowering as data, Terraform parses its own; see the README of this folder for what that means.
set -euo pipefail
count=${1:-10000}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v terraform >/dev/null || { echo "terraform is not installed; its binary alone is enough" >&2; exit 1; }

# user + system seconds of a command.
measured() {
    TIMEFORMAT='%U %S'
    { time "$@" >"$work/out" 2>"$work/err"; } 2>"$work/time" || { cat "$work/out" "$work/err" >&2; exit 1; }
    awk '{ printf "%.2f", $1 + $2 }' "$work/time"
}

cd "$here/../.."
cargo build --release --quiet --bench plan
bench=$(ls -t target/release/deps/plan-* | grep -v '\.d$' | head -1)
echo "cutover:"
"$bench" "$count" | tee "$work/cutover"
ours=$(sed 's/.*cpu=\([0-9.]*\)s.*/\1/' "$work/cutover")

"$here/make.sh" "$work/tf" "$count"
cd "$work/tf"
export CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1
terraform init -input=false -no-color >"$work/init" 2>&1 || { cat "$work/init" >&2; exit 1; }
theirs=$(measured terraform plan -input=false -no-color -refresh=false -lock=false)
grep -q 'No changes' "$work/out" || { tail -20 "$work/out" >&2; echo "terraform found changes: the comparison is void" >&2; exit 1; }
echo "terraform $(terraform version -json | sed -n 's/.*"terraform_version": "\(.*\)".*/\1/p') plan -refresh=false:"
echo "$count resources: cpu=${theirs}s"
awk -v a="$theirs" -v b="$ours" 'BEGIN { printf "ratio of CPU time: %.0f\n", a / b }'
