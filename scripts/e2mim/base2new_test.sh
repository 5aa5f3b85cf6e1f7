#!/usr/bin/env bash
# A trained E2MIM on the new (or base) classes: bash scripts/e2mim/base2new_test.sh DATASET SEED [base|new]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
