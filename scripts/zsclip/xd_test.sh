#!/usr/bin/env bash
# Zero-shot CLIP on all classes of a data set: bash scripts/zsclip/xd_test.sh DATASET SEED
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
