#!/usr/bin/env bash
# CoOp on the base classes: bash scripts/coop/base2new_train.sh DATASET SEED
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
