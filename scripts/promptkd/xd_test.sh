#!/usr/bin/env bash
# A PromptKD student of a target, tested there: bash scripts/promptkd/xd_test.sh DATASET SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
