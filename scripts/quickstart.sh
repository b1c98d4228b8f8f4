#!/usr/bin/env bash
# From nothing to two hands in 3D: makes AIH, trains HDR's three networks on it (from the shipped weights, briefly), runs
# HDR on a photo, shows it all.
#   bash scripts/quickstart.sh [--out DIR] [--count N]
# A second run continues in the same folder: what is whole there is kept.
set -euo pipefail
called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/_environment.sh

out=quickstart
count=2000
while [ $# -gt 0 ]; do
    case $1 in
        --out) [ $# -ge 2 ] || fail "--out needs a folder"
            case $2 in /*) out=$2 ;; *) out=$called_from/$2 ;; esac
            shift 2 ;;
        --count) [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || fail "--count needs a number of samples, found: ${2:-nothing}"
            count=$2
            shift 2 ;;
        *) fail "expected --out DIR or --count N, found: $1" ;;
    esac
done

environment=.venv
python=$environment/bin/python
host_python=$(find_python)
held_out=$(((count + 9) / 10))

check_gl "$host_python"
make_environment "$environment"
check_drawing "$python"

aih_gen() { "$environment/bin/aih-gen" "$@"; }
hdr() { "$environment/bin/hdr" "$@"; }
run() { # run TITLE COMMAND ...: a line with its time goes into times.tsv, which the page shows
    local title=$1 started=$SECONDS
    shift
    step "$title"
    "$@"
    printf '%s\t%d\n' "$title" $((SECONDS - started)) >>"$out/times.tsv"
}

installed=$SECONDS
mkdir -p "$out"
: >"$out/times.tsv"
run "AIH_Render: $count samples" aih_gen render --out "$out/aih_render" --count "$count" --seed 1 --workers "$(nproc)"
run "AIH_Render, held out: $held_out" aih_gen render --out "$out/aih_heldout" --count "$held_out" --seed 2 \
    --workers "$(nproc)" --shard-size 100
run "AIH_Syn: $count copy-pasted pairs" aih_gen syn --source "$out/aih_render" --out "$out/aih_syn" --count "$count" \
    --seed 1 --workers "$(nproc)"

# From nothing it takes an hour (build_weights.sh): this goes on from the shipped weights, to show how it is done.
preset=$(sed -n 's/.*"preset": "\(.*\)".*/\1/p' assets/weights/hasm/config.json)
fine_tune() { # fine_tune NETWORK STEPS
    run "fine-tune ${1^^}" hdr train "$1" --data "$out/aih_render" "$out/aih_syn" --out "$out/runs/$1" --resume \
        --start-from assets/weights --preset "$preset" --steps "$2" --learning-rate 5e-4 --log-every 4 --workers 1
}
fine_tune hasm 80
fine_tune hdrm 40
fine_tune shpe 40
run "evaluate" hdr eval --data "$out/aih_heldout" --weights "$out/runs" --out "$out/eval" \
    --train-data "$out/aih_render"

photo=$(find assets/demo \( -name '*.png' -o -name '*.jpg' \) | sort | head -n 1)
run "HDR on $photo" hdr infer "$photo" --weights "$out/runs" --out "$out/infer"
step "page"
"$python" -m hdr_model.evaluation.report "$out" >/dev/null

printf '\n'
while IFS=$'\t' read -r title seconds; do printf '%5d s  %s\n' "$seconds" "$title"; done <"$out/times.tsv"
printf '%5d s  in all, after %d s of installing\n' $((SECONDS - installed)) "$installed"
echo "$(cd "$out" && pwd)/index.html"
