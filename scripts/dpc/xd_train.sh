#!/usr/bin/env bash
# DPC on all classes of the source, and its backbone first where that is not trained yet: bash scripts/dpc/xd_train.sh SEED [SOURCE] [BACKBONE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
