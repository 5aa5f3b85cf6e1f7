#!/usr/bin/env bash
# A trained VPT on another data set: bash scripts/vpt/xd_test.sh DATASET SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
