#!/usr/bin/env bash
# Zero-shot CLIP on the base or the new classes: bash scripts/zsclip/base2new_test.sh DATASET SEED [base|new]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
