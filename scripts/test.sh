#!/usr/bin/env bash
# Everything that must hold: style, types, behaviour. Makes its own virtual environment, and reuses it.
#   bash scripts/test.sh [--lowest] [arguments for pytest]
# --lowest: only types and that the installed packages work, at the lowest versions that pyproject.toml admits, on each
# Python.
# Tests may be skipped for want of a GPU, of files whose licence forbids to ship them, and of root; any other skip fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/_environment.sh

may_be_skipped=': needs (a GPU|licensed files|root|a C compiler)'
in_processes=(-n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 0)
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# run_tests PYTHON [ARGUMENT ...]: pytest, which says why it skips what it skips.
run_tests() {
    local others
    timeout --foreground 45m "$1" -m pytest -q -rs --color=no --durations=10 "${@:2}" 2>&1 | tee "$log"
    others=$(grep '^SKIPPED' "$log" | grep -vE "$may_be_skipped" || true)
    [ -z "$others" ] || fail "expected no skip but for ${may_be_skipped#: }, found:"$'\n'"$others"
}

# Torch alone is the one of constraints.txt: pip takes a CPU build where one is configured (uv looks at the package
# index only, and would bring a CUDA build), and uv keeps what is installed and within the range.
install_lowest() {
    "$1" -m pip install --quiet --disable-pip-version-check --no-input -c constraints.txt torch setuptools pytest mypy uv
    "$1" -m uv pip install --quiet --python "$1" --resolution lowest-direct --only-binary :all: -r pyproject.toml
}

test_lowest() {
    local version python
    for version in 3.11 3.12 3.13; do
        if ! python=$(find_version "$version"); then
            step "Python $version: not installed, not tested"
            continue
        fi
        environment_of ".venv-lowest-$version" "$python" install_lowest
        check_drawing ".venv-lowest-$version/bin/python"
        step "Python $version with $(".venv-lowest-$version/bin/python" -m uv pip freeze --quiet | tr '\n' ' ')"
        ".venv-lowest-$version/bin/python" -m mypy --python-version "$version"
        run_tests ".venv-lowest-$version/bin/python" tests/test_installed.py "$@"
    done
}

host_python=$(find_python)
check_gl "$host_python"
if [ "${1:-}" = --lowest ]; then
    test_lowest "${@:2}"
    step "all good"
    exit
fi

environment=.venv-test
python=$environment/bin/python
make_environment "$environment" dev,pyrender,ray
check_drawing "$python"
install_browser

step "ruff"
"$python" -m ruff check .
step "mypy"
"$python" -m mypy
step "pytest"
if [ $# -gt 0 ]; then
    run_tests "$python" "$@"
else
    export OMP_NUM_THREADS=1 # the processes are the parallelism
    run_tests "$python" "${in_processes[@]}" tests/test_*.py tests/aih_gen tests/hdr_model # the longest file is among the first
    step "attacks" # in processes of their own, whose children all pass their writes through a library
    run_tests "$python" "${in_processes[@]}" tests/torture
fi
step "all good"
