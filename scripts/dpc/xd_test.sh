#!/usr/bin/env bash
# A trained DPC on another data set: bash scripts/dpc/xd_test.sh DATASET SEED [SOURCE] [BACKBONE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
