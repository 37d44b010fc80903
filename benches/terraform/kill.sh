#!/bin/bash
# kill.sh [TRIALS]: kills `terraform apply` of 200 terraform_data resources with SIGKILL at a moment of its own in each trial
# (default 20), and counts what is left of the state: whole, empty, or cut short. The journal's crash tests do the same to cutover.
set -euo pipefail
trials=${1:-20}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v terraform >/dev/null || { echo "terraform is not installed; its binary alone is enough" >&2; exit 1; }
export CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1

make() {
    rm -rf "$work/t" && mkdir "$work/t" && cd "$work/t"
    for n in $(seq 200); do
        printf 'resource "terraform_data" "r%d" {\n  input = "%0200d"\n}\n' "$n" "$n"
    done >main.tf
    terraform init -input=false -no-color >/dev/null
}
created() { grep -c 'Creation complete' "$work/out" || true; }

make
begun=$(date +%s%N)
terraform apply -auto-approve -input=false -no-color >"$work/out" 2>&1
whole=$((($(date +%s%N) - begun) / 1000000))
echo "undisturbed: $whole ms for 200 resources"

empty=0 cut=0 whole_states=0 none=0 early=0
for trial in $(seq "$trials"); do
    make
    : >"$work/out"
    terraform apply -auto-approve -input=false -no-color >"$work/out" 2>&1 &
    pid=$!
    # Not before it has begun to create: the moment is counted in resources, so a busy machine changes nothing.
    goal=$((trial * 180 / trials + 5))
    while [ "$(created)" -lt "$goal" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    done_=$(created)
    if [ ! -e terraform.tfstate ]; then
        what="no state" none=$((none + 1))
    elif [ ! -s terraform.tfstate ]; then
        what="EMPTY state" empty=$((empty + 1))
    elif terraform show -no-color >/dev/null 2>&1; then
        known=$(terraform state list 2>/dev/null | wc -l)
        what="state of $known" whole_states=$((whole_states + 1))
    else
        what="CUT SHORT" cut=$((cut + 1))
    fi
    grep -q 'Apply complete' "$work/out" && early=$((early + 1))
    echo "trial $trial: killed after $done_ of 200: $what"
done
lost=$((empty + cut + none))
echo "state lost in $lost of $trials trials ($empty empty, $cut cut short, $none without one); readable in $whole_states; ended before the kill in $early"
