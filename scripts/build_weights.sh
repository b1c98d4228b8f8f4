#!/usr/bin/env bash
# Makes assets/weights: data, the three networks trained on it one behind the other, and their weights as bfloat16 with a
# model card, in 8 files.
#   bash scripts/build_weights.sh --work WORK --minutes 600 [--preset light] [--out assets/weights] [--seed 11]
#       [--held-out 2000] [--start-from DIR] [--device auto] [--environment .venv]
# The minutes are split over data and networks (scripts/build_weights.py has the shares); measuring comes on top. A second
# run continues in WORK: what is whole there is kept. --start-from assets/weights goes on from the shipped weights.
# One GPU for eight minutes, with the python on the PATH: --preset base --minutes 8 --environment none
set -euo pipefail
called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/_environment.sh

environment=.venv arguments=()
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || fail "$1 needs a value"
    case $1 in
        --environment) environment=$2 ;;
        --work | --out | --start-from) # paths are those of the caller
            case $2 in /*) arguments+=("$1" "$2") ;; *) arguments+=("$1" "$called_from/$2") ;; esac ;;
        *) arguments+=("$1" "$2") ;;
    esac
    shift 2
done
if [ "$environment" = none ]; then
    python=python3
else
    [ -x "$environment/bin/python" ] || make_environment "$environment"
    python=$environment/bin/python
fi
PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} exec "$python" scripts/build_weights.py "${arguments[@]}"
