#!/usr/bin/env bash
# MaPLe on all classes of the source: bash scripts/maple/xd_train.sh SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
