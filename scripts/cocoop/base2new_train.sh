#!/usr/bin/env bash
# CoCoOp on the base classes: bash scripts/cocoop/base2new_train.sh DATASET SEED
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
