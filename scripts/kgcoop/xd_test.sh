#!/usr/bin/env bash
# A trained KgCoOp on another data set: bash scripts/kgcoop/xd_test.sh DATASET SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
