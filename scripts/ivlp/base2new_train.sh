#!/usr/bin/env bash
# IVLP on the base classes: bash scripts/ivlp/base2new_train.sh DATASET SEED
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
