#!/usr/bin/env bash
# Makes .venv in the repository root, with what requirements*.txt name at the versions of constraints.txt.
#
#   bash scripts/setup.sh        every other script does it by itself
#
# A finished .venv is used again, and brought up to date when one of those files changes; an interrupted one is
# made anew.
# With PYTHON=/path/to/python in the environment that interpreter is used as it is and nothing is installed.
# Sourced, it leaves PYTHON set.
set -euo pipefail
if [[ "${BASH_SOURCE[0]}" == "$0" && "${1:-}" =~ ^(-h|--help)$ ]]; then sed -n '2,9s/^# \{0,1\}//p' "$0" && exit; fi

setup_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
setup_requirements=("$setup_root"/requirements.txt "$setup_root"/requirements-dev.txt "$setup_root"/constraints.txt)

setup_fail() {
    echo "setup: $*" >&2
    exit 1
}

# The name of a finished environment: what it was made from.
setup_key() {
    cat "${setup_requirements[@]}" | cksum | cut -d' ' -f1
}

setup_is_usable() { "$setup_root/.venv/bin/python" -m pip --version >/dev/null 2>&1; }

setup_is_finished() {
    [[ "$(cat "$setup_root/.venv/setup-key" 2>/dev/null)" == "$(setup_key)" ]] &&
        "$setup_root/.venv/bin/python" -c 'import importlib.util as u, sys; sys.exit(not u.find_spec("torch"))' 2>/dev/null
}

setup_make() {
    local venv="$setup_root/.venv" started=$SECONDS
    command -v python3 >/dev/null || setup_fail "python3 was not found; Python 3.11 or later is needed"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        setup_fail "$(python3 --version) is too old; Python 3.11 or later is needed" \
            "(another interpreter that has the requirements: PYTHON=/path/to/python)"
    python3 -c 'import venv, ensurepip' 2>/dev/null ||
        setup_fail "python3 lacks the modules venv and ensurepip; install them (Debian: apt-get install python3-venv)"
    [[ ! -e "$venv" || -e "$venv/setup-key" ]] ||
        setup_fail "$venv was not made by this script; remove it, or use it with PYTHON=$venv/bin/python"

    echo "setup: installing the requirements into $venv (once; a few minutes at most)"
    # a finished one may be in use by a running training: it is not taken away from under it
    if ! setup_is_usable || [[ "$(cat "$venv/setup-key")" == unfinished ]]; then
        rm -rf "$venv"
        mkdir "$venv"
        echo unfinished >"$venv/setup-key"
        python3 -m venv "$venv"
    fi
    echo unfinished >"$venv/setup-key"
    # -qq still prints errors
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check \
        -r "${setup_requirements[0]}" -r "${setup_requirements[1]}" -c "${setup_requirements[2]}" ||
        setup_fail "pip could not install the requirements (see above); the same command tries again"
    setup_key >"$venv/setup-key"
    echo "setup: done in $((SECONDS - started)) s"
}

setup_main() {
    if [[ -n "${PYTHON:-}" ]]; then
        command -v "$PYTHON" >/dev/null || setup_fail "PYTHON=$PYTHON is not an interpreter that can be run"
        return
    fi
    if ! setup_is_finished; then
        # one at a time where the system can lock; the one that waited finds it finished
        if command -v flock >/dev/null; then
            (flock 9 && { setup_is_finished || setup_make; }) 9>"$setup_root/.venv.lock"
        else
            (setup_make)
        fi
    fi
    PYTHON="$setup_root/.venv/bin/python"
}

setup_main
