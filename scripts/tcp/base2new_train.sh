#!/usr/bin/env bash
# TCP on the base classes: bash scripts/tcp/base2new_train.sh DATASET SEED
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
