#!/usr/bin/env bash
# Zero-shot CLIP, a prompt learner and DPC on it, on base and new classes, for some seeds, and one table and plot:
#   bash scripts/base2new.sh DATASET...
#
# A second call goes on where the first one stopped. `python -m experiments base2new` with the environment's wishes.
source "$(dirname "${BASH_SOURCE[0]}")/experiment.sh" "$@"
