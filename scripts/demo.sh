#!/usr/bin/env bash
# Zero-shot CLIP, CoOp, CoOp + DPC and its control on the two embedded data sets, five seeds: bash scripts/demo.sh
# The same with MaPLe, PromptSRC and PromptKD as well: bash scripts/demo.sh --all
#
# Nothing is needed but Python; some 10 minutes on 2 cores (--all: two hours). A second call goes on where the first
# one stopped. What is read from the environment: docs/protocols.md; OUTPUT [output/demo], SEEDS [1 2 3 4 5].
set -euo pipefail
case "${1:-}" in
    "") export BACKBONES="coop" ;;
    --all) export BACKBONES="coop maple promptsrc promptkd" ;;
    -h | --help) sed -n '2,6s/^# //p' "$0" && exit ;;
    *) echo "usage: bash scripts/demo.sh [--all]" >&2 && exit 2 ;;
esac
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export MODEL=demo SEEDS=${SEEDS:-1 2 3 4 5} VARIANTS="released paper direct two_step" OUTPUT=${OUTPUT:-$home/output/demo}
exec bash "$home/scripts/base2new.sh" digits letters
