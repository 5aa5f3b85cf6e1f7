#!/usr/bin/env bash
# Everything that must pass: bash scripts/test.sh [PYTEST ARGUMENT ...]
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2s/^# //p' "$0" && exit ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/setup.sh
# one thread: the tests' tensors are small, and results do not depend on the machine's core count
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

step() { # NAME COMMAND...
    echo "== $1"
    "${@:2}"
}

step "lint (ruff check)" "$PYTHON" -m ruff check .
step "format (ruff format --check)" "$PYTHON" -m ruff format --check .
step "types (mypy)" "$PYTHON" -m mypy
bash scripts/test_packages.sh "$PYTHON"
# -n 2: the slow ones wait, for processes and locks, as much as they compute
step "tests (pytest)" "$PYTHON" -m pytest -q -n 2 "$@"
