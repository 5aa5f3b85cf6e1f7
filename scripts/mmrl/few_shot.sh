#!/usr/bin/env bash
# MMRL with 1, 2, 4, 8 and 16 images of each class: bash scripts/mmrl/few_shot.sh DATASET SEED
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
