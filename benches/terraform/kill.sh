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

# Milliseconds from the first resource to the last.
make
: >"$work/out"
terraform apply -auto-approve -input=false -no-color >"$work/out" 2>&1 &
pid=$!
while [ "$(created)" -lt 1 ] && kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
begun=$(date +%s%N)
wait "$pid"
whole=$((($(date +%s%N) - begun) / 1000000))
echo "undisturbed: $whole ms for 200 resources"

empty=0 cut=0 none=0 readable=0
for trial in $(seq "$trials"); do
    # By the clock, spread evenly over the time of creating: a moment counted in lines of output would follow Terraform's own
    # rhythm of writing its state. An apply that ended before the kill says nothing and is tried again, killed earlier.
    for part in 1 2 4 8 16; do
        make
        : >"$work/out"
        terraform apply -auto-approve -input=false -no-color >"$work/out" 2>&1 &
        pid=$!
        while [ "$(created)" -lt 1 ] && kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
        sleep "$(awk -v w="$whole" -v t="$trial" -v n="$trials" -v p="$part" 'BEGIN { printf "%.3f", w * t / (n + 2) / 1000 / p }')"
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
        grep -q 'Apply complete' "$work/out" || break
    done
    count=$(created)
    if [ ! -e terraform.tfstate ]; then
        what="NO state" none=$((none + 1))
    elif [ ! -s terraform.tfstate ]; then
        what="EMPTY state" empty=$((empty + 1))
    elif terraform show -no-color >/dev/null 2>&1; then
        what="state of $(terraform state list 2>/dev/null | wc -l)" readable=$((readable + 1))
    else
        what="CUT SHORT" cut=$((cut + 1))
    fi
    echo "trial $trial: killed after $count of 200: $what"
done
lost=$((empty + cut + none))
echo "state lost in $lost of $trials trials ($empty empty, $cut cut short, $none without one); readable in $readable"
