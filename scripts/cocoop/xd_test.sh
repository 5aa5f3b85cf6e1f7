#!/usr/bin/env bash
# A trained CoCoOp on another data set: bash scripts/cocoop/xd_test.sh DATASET SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
