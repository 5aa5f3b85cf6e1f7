#!/usr/bin/env bash
# What every script of an experiment is: scripts/<method>/<step>.sh is called by that name. `--help` explains the words;
# docs/protocols.md has the protocols, and what is read from the environment.
set -euo pipefail
export TYPED_IN=$PWD
script=$(cd "$(dirname "$0")" && pwd)/$(basename "$0" .sh)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup.sh
source scripts/setup.sh
exec "$PYTHON" -m experiments.scripts "${script#"$PWD/scripts/"}" "$@"
