#!/usr/bin/env bash
# MMRL on all classes of the source: bash scripts/mmrl/xd_train.sh SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
