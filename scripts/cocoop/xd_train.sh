#!/usr/bin/env bash
# CoCoOp on all classes of the source: bash scripts/cocoop/xd_train.sh SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
