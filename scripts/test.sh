#!/usr/bin/env bash
# Everything that must hold: style, types, behaviour. Makes its own virtual environment, and reuses it.
#   bash scripts/test.sh [arguments for pytest]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/_environment.sh

environment=.venv-test
python=$environment/bin/python
host_python=$(find_python)

check_gl "$host_python"
make_environment "$environment" dev,pyrender
check_drawing "$python"

step "ruff"
"$python" -m ruff check .
step "mypy"
"$python" -m mypy
step "pytest"
"$python" -m pytest -q --durations=10 "$@"
step "all good"
