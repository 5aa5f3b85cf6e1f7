#!/usr/bin/env bash
# A trained DPC on the new (or base) classes: bash scripts/dpc/base2new_test.sh DATASET SEED [BACKBONE] [base|new]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
