#!/usr/bin/env bash
# PromptSRC on all classes of the source: bash scripts/promptsrc/xd_train.sh SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
