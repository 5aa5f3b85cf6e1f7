#!/usr/bin/env bash
# A trained TCP on the new (or base) classes: bash scripts/tcp/base2new_test.sh DATASET SEED [base|new]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
