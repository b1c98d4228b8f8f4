#!/usr/bin/env bash
# Makes assets/weights: data, the three networks trained on it, and their weights as bfloat16 with a model card.
#   bash scripts/build_weights.sh --work WORK [--preset tiny] [--count 20000] [--seed 11] [--held-out 2000]
#       [--start-from DIR] [--device auto] [--environment .venv]
# --start-from assets/weights goes on from the shipped weights, in place of from nothing. A second run continues in
# WORK: what is whole there is kept. On a GPU, for hours: --preset base --count 100000.
set -euo pipefail
called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/_environment.sh

work='' start=() preset=tiny count=20000 seed=11 device=auto environment=.venv held_out=2000
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || fail "$1 needs a value"
    case $1 in
        --work) case $2 in /*) work=$2 ;; *) work=$called_from/$2 ;; esac ;;
        --preset) preset=$2 ;;
        --count) [[ $2 =~ ^[1-9][0-9]*$ ]] || fail "--count needs a number of samples, found: $2"; count=$2 ;;
        --seed) [[ $2 =~ ^[0-9]+$ ]] || fail "--seed needs a number, found: $2"; seed=$2 ;;
        --device) device=$2 ;;
        --start-from) start=(--start-from "$2") ;;
        --held-out) [[ $2 =~ ^[1-9][0-9]*$ ]] || fail "--held-out needs a number of samples, found: $2"; held_out=$2 ;;
        --environment) environment=$2 ;;
        *) fail "expected --work, --preset, --count, --seed, --held-out, --start-from, --device or --environment, found: $1" ;;
    esac
    shift 2
done
[ -n "$work" ] || fail "--work needs a folder, for data and runs"
[ -x "$environment/bin/python" ] || make_environment "$environment"

workers=$((($(nproc) + 1) / 2))
mkdir -p "$work"
run() { # run COMMAND ...: the command and its seconds go into the model card, once it has succeeded
    local started=$SECONDS
    step "$*"
    PYTHONPATH=$PWD "$environment/bin/python" -m "$@"
    printf '%s\t%d\n' "$*" $((SECONDS - started)) >>"$work/commands.tsv"
}
train() { # train NETWORK OUT OPTION ...
    run hdr_model.cli train "$1" --data "$work/aih_render" "$work/aih_syn" --out "$2" --preset "$preset" --seed "$seed" \
        --device "$device" --workers "$workers" --resume "${@:3}"
}

run aih_gen.cli render --out "$work/aih_render" --count "$count" --seed "$seed" --workers "$(nproc)"
run aih_gen.cli syn --source "$work/aih_render" --out "$work/aih_syn" --count "$count" --seed "$seed" --workers "$(nproc)"
run aih_gen.cli render --out "$work/aih_heldout" --count "$held_out" --seed $((seed + 1000)) --workers "$(nproc)"

case $preset in tiny) names=1600 ;; base) names=20000 ;; *) names=0 ;; esac # steps: names take longest to learn
if [ "$names" -gt 0 ]; then
    train hasm "$work/masks/hasm" "${start[@]}"
    train hasm "$work/runs/hasm" --only-names --steps "$names" --batch-size 32 --start-from "$work/masks"
else
    train hasm "$work/runs/hasm" "${start[@]}"
fi
train hdrm "$work/runs/hdrm" "${start[@]}"
train shpe "$work/runs/shpe" "${start[@]}"
PYTHONPATH=$PWD "$environment/bin/python" scripts/pack_weights.py "$work" assets/weights
