#!/usr/bin/env bash
# VPT on all classes of the source: bash scripts/vpt/xd_train.sh SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
