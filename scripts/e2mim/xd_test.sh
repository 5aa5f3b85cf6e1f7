#!/usr/bin/env bash
# A trained E2MIM on another data set: bash scripts/e2mim/xd_test.sh DATASET SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
