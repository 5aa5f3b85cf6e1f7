#!/usr/bin/env bash
# E2MIM on the base classes: bash scripts/e2mim/base2new_train.sh DATASET SEED
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
