#!/usr/bin/env bash
# A trained CoOp on another data set: bash scripts/coop/xd_test.sh DATASET SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
