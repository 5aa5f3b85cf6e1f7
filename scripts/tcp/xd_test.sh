#!/usr/bin/env bash
# A trained TCP on another data set: bash scripts/tcp/xd_test.sh DATASET SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
