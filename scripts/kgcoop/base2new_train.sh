#!/usr/bin/env bash
# KgCoOp on the base classes: bash scripts/kgcoop/base2new_train.sh DATASET SEED
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
