#!/usr/bin/env bash
# A trained IVLP on another data set: bash scripts/ivlp/xd_test.sh DATASET SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
