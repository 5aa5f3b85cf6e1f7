#!/usr/bin/env bash
# ContCoOp on the base classes: bash scripts/contcoop/base2new_train.sh DATASET SEED
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
