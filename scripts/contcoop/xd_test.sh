#!/usr/bin/env bash
# A trained ContCoOp on another data set: bash scripts/contcoop/xd_test.sh DATASET SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
