#!/usr/bin/env bash
# KgCoOp on all classes of the source: bash scripts/kgcoop/xd_train.sh SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
