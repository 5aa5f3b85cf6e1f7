#!/usr/bin/env bash
# ContCoOp on all classes of the source: bash scripts/contcoop/xd_train.sh SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
