#!/usr/bin/env bash
# Zero-shot CLIP, CoOp and CoOp + DPC on the two embedded data sets, seeds 1 to 3, and one table: bash scripts/demo.sh
# The same with MaPLe, PromptSRC and PromptKD as well: bash scripts/demo.sh --all
#
# Nothing is needed but Python; at most 10 minutes on 2 cores (--all: an hour). A second call goes on where the first
# one stopped.
# From the environment: JOBS, runs at a time [the number of cores]; DATA and PYTHON as in common.sh;
# OUTPUT [output/demo].
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/setup.sh
export PYTHON
export OUTPUT=${OUTPUT:-output/demo}
# one thread a run: small tensors, several runs at a time, and numbers that do not depend on the core count
export OMP_NUM_THREADS=1
JOBS=${JOBS:-$("$PYTHON" -c 'import os; print(os.cpu_count() or 1)')}

case "${1:-}" in
    "") export BACKBONES="coop" ;;
    --all) export BACKBONES="coop maple promptsrc promptkd" ;;
    *) echo "usage: bash scripts/demo.sh [--all]" >&2 && exit 2 ;;
esac

# A step's full output goes to a file; the screen gets a line, or the end of that file when the step fails.
step() { # SCRIPT DATASET SEED [WORD...]
    local log started=$SECONDS
    log=$OUTPUT/logs/$(echo "$*" ${VARIANT:-} | tr '/ ' '--').txt
    if bash "scripts/$1.sh" "${@:2}" >"$log" 2>&1; then
        echo "$2 seed $3: $1" "${@:4}" "${VARIANT:-} ($((SECONDS - started)) s)"
    else
        local code=$?
        tail -n 30 "$log" >&2
        echo "$2 seed $3: $1 failed with exit code $code; all of its output: $log" >&2
        exit 255 # makes xargs stop
    fi
}

# The methods on one data set with one seed, in the order in which they build on each other.
chain() { # DATASET SEED
    step zsclip/base2new_test "$@" base
    step zsclip/base2new_test "$@" new
    local backbone
    for backbone in $BACKBONES; do
        step "$backbone/base2new_train" "$@"
        step "$backbone/base2new_test" "$@" new
        for VARIANT in paper released; do
            export VARIANT
            step dpc/base2new_train "$@" "$backbone"
            step dpc/base2new_test "$@" "$backbone" new
        done
        unset VARIANT
    done
}
export -f step chain

mkdir -p "$OUTPUT/logs"
echo "demo: 2 data sets x 3 seeds, $JOBS runs at a time; results in $OUTPUT"
for seed in 1 2 3; do
    echo "digits $seed"
    echo "letters $seed"
done | xargs -P "$JOBS" -L 1 bash -c 'set -euo pipefail; chain "$@"' chain
echo
"$PYTHON" parse_test_res.py "$OUTPUT" --base-new --plot "$OUTPUT/base_new.png"
