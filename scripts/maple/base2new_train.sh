#!/usr/bin/env bash
# MaPLe on the base classes: bash scripts/maple/base2new_train.sh DATASET SEED
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
