#!/usr/bin/env bash
# CoOp on all classes of the source: bash scripts/coop/xd_train.sh SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
