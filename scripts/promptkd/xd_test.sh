#!/usr/bin/env bash
# A trained PromptKD on another data set: bash scripts/promptkd/xd_test.sh DATASET SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
xd_test promptkd "$@"
