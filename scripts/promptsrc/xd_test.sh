#!/usr/bin/env bash
# A trained PromptSRC on another data set: bash scripts/promptsrc/xd_test.sh DATASET SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
