#!/usr/bin/env bash
# Zero-shot CLIP, CoOp and CoOp + DPC on the two embedded data sets, seeds 1 to 3, and one table: bash scripts/demo.sh
# The same with MaPLe, PromptSRC and PromptKD as well: bash scripts/demo.sh --all
#
# Nothing is needed but Python; at most 10 minutes on 2 cores (--all: an hour). A second call goes on where the first
# one stopped. What is read from the environment: docs/protocols.md; OUTPUT [output/demo].
set -euo pipefail
case "${1:-}" in
    "") export BACKBONES="coop" ;;
    --all) export BACKBONES="coop maple promptsrc promptkd" ;;
    -h | --help) sed -n '2,6s/^# //p' "$0" && exit ;;
    *) echo "usage: bash scripts/demo.sh [--all]" >&2 && exit 2 ;;
esac
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export MODEL=demo SEEDS="1 2 3" VARIANTS="released paper direct" OUTPUT=${OUTPUT:-$home/output/demo}
exec bash "$home/scripts/base2new.sh" digits letters
