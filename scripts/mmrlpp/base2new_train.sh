#!/usr/bin/env bash
# MMRL++ on the base classes: bash scripts/mmrlpp/base2new_train.sh DATASET SEED
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
