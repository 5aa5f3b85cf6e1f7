#!/usr/bin/env bash
# A PromptKD student of a target, of its own unlabelled images, from a teacher of the source: bash scripts/promptkd/xd_train.sh DATASET SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
