#!/usr/bin/env bash
# DPC with 1, 2, 4, 8 and 16 images of each class, and its backbone first where that is not trained yet: bash scripts/dpc/few_shot.sh DATASET SEED [BACKBONE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
