#!/usr/bin/env bash
# TCP on all classes of the source: bash scripts/tcp/xd_train.sh SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
