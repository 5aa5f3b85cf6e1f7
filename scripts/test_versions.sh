#!/usr/bin/env bash
# The tests on other versions than the pinned ones of constraints.txt, in an environment of their own:
#
#   bash scripts/test_versions.sh oldest [PYTEST ARGUMENT ...]   the lower bounds of requirements.txt, in .venv-oldest
#   bash scripts/test_versions.sh newest [PYTEST ARGUMENT ...]   the latest that it admits, in .venv-newest
#
# PYTHON in the environment is the interpreter that makes the environment (python3). TORCH is the version of torch: by
# default that of constraints-oldest.txt (oldest) or constraints.txt (newest), since the latest may bring several GB of
# CUDA libraries; on Linux x86-64 most of its releases do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case "${1:-}" in
    oldest) bounds=constraints-oldest.txt ;;
    newest) bounds=constraints.txt ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
esac
venv=$PWD/.venv-$1
torch=${TORCH:-$(sed -n 's/^torch==//p' "$bounds")}
constraints=$(mktemp)
trap 'rm -f "$constraints"' EXIT
[[ $1 == newest ]] || grep -v '^torch==' "$bounds" >"$constraints"
echo "torch==$torch" >>"$constraints"

"${PYTHON:-python3}" -m venv --clear "$venv"
"$venv/bin/python" -m pip install -qq --disable-pip-version-check \
    -r requirements.txt -r requirements-dev.txt -c "$constraints"
"$venv/bin/python" --version
"$venv/bin/python" -m pip freeze --disable-pip-version-check
# the scripts that tests start take this interpreter, too
export PYTHON=$venv/bin/python OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
"$PYTHON" -m pytest -q "${@:2}"
