#!/usr/bin/env bash
# PromptSRC on the base classes: bash scripts/promptsrc/base2new_train.sh DATASET SEED
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
