#!/usr/bin/env bash
# PromptKD with 1, 2, 4, 8 and 16 images of each class, its teacher first: bash scripts/promptkd/few_shot.sh DATASET SEED
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
