#!/usr/bin/env bash
# E2MIM on all classes of the source: bash scripts/e2mim/xd_train.sh SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
