#!/usr/bin/env bash
# PromptKD on the images of all classes, its teacher first: bash scripts/promptkd/base2new_train.sh DATASET SEED
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
