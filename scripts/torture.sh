#!/usr/bin/env bash
# Attacks every promise of docs/promises.md and prints a table: attack, count, failures. 1 h 43 min on two busy cores.
#   bash scripts/torture.sh [--share 1.0] [arguments for pytest, such as -k killed]
# --share 0.05 is what the ordinary test run does. Needs root for small file systems and a C compiler for failing disks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/_environment.sh

share=1
if [ "${1:-}" = --share ]; then
    [ $# -ge 2 ] || fail "--share needs a number between 0 and 1"
    share=$2
    shift 2
fi
environment=.venv-test
make_environment "$environment" dev,pyrender,ray
AIH_TORTURE=$share OMP_NUM_THREADS=1 exec "$environment/bin/python" -m pytest -q tests/torture \
    -n auto --maxprocesses 4 --dist worksteal --max-worker-restart 0 -o faulthandler_timeout=7200 "$@"
