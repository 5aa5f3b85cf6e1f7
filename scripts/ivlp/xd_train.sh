#!/usr/bin/env bash
# IVLP on all classes of the source: bash scripts/ivlp/xd_train.sh SEED [SOURCE]
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"
