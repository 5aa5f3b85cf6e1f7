#!/usr/bin/env bash
# PromptKD on all classes of the source, its teacher first: bash scripts/promptkd/xd_train.sh SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
xd_train promptkd "$@"
