#!/usr/bin/env bash
# Zero-shot CLIP, where the few-shot curve begins: bash scripts/zsclip/few_shot.sh DATASET SEED
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
