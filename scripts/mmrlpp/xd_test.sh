#!/usr/bin/env bash
# A trained MMRL++ on another data set: bash scripts/mmrlpp/xd_test.sh DATASET SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
