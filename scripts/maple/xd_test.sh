#!/usr/bin/env bash
# A trained MaPLe on another data set: bash scripts/maple/xd_test.sh DATASET SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
