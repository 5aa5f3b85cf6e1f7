#!/usr/bin/env bash
# DPC on the base classes, and its backbone first where that is not trained yet: bash scripts/dpc/base2new_train.sh DATASET SEED [BACKBONE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
