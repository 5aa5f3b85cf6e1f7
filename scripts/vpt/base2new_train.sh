#!/usr/bin/env bash
# VPT on the base classes: bash scripts/vpt/base2new_train.sh DATASET SEED
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
