#!/usr/bin/env bash
# Zero-shot CLIP, a prompt learner and DPC on it, on base and new classes, for some seeds, and one table and plot:
#   bash scripts/base2new.sh DATASET...
#
# A second call goes on where the first one stopped. What can be set is in more_usage below, and in common.sh.
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

BACKBONES=${BACKBONES:-coop}
SEEDS=${SEEDS:-1 2 3}
VARIANTS=${VARIANTS:-$VARIANT}
export PRESET=${PRESET:-dpc}
unset VARIANT # steps that know no variant shall not show one

more_usage="  In the environment, [default]:
  MODEL      demo: the embedded tiny CLIP; needs no weights and no GPU, and its figures mean little
  BACKBONES  the prompt learners, such as \"coop maple\"       [coop]
  SEEDS      such as \"1 2\"                                   [1 2 3]
  VARIANTS   readings of DPC: released, paper, direct, or several in quotes  [released]
  PRESET     dpc: prompt learners as DPC's paper trains them; own: as their own papers do  [dpc]
  JOBS       runs at a time                                  [1; with MODEL=demo the number of cores]
  CFG        DPC's configuration; the prompt learner's is BACKBONE_CFG
  OPTIONS    KEY VALUE words for every run; set OUTPUT too   [none]"

sets=()

# Sets sets to what the words name, and refuses what the steps would refuse one by one.
read_arguments() { # WORD...
    argument_form="DATASET..."
    begin dpc base2new
    if contains "$*" -h || contains "$*" --help; then usage; fi
    [[ $# -ge 1 ]] || usage "DATASET is needed"
    local word name names=$'\n' # a line each: they may hold blanks
    for word in "$@"; do
        find_set "$word" || unknown_set "$word"
        name=$(name_of "$found")
        [[ "$names" != *$'\n'"$name"$'\n'* ]] || fail "two data sets are called $name: rename one"
        names+=$name$'\n'
        sets+=("$found")
        refuse_foreign_results "$found"
    done
    for word in BACKBONES SEEDS VARIANTS; do
        [[ -n "${!word// /}" ]] || fail "$word is blank, but must name one or more"
    done
    for VARIANT in $VARIANTS; do check_environment; done
    unset VARIANT
    for word in $BACKBONES; do
        contains "$(known_backbones)" "$word" || fail "BACKBONES has '$word'; known: $(known_backbones)"
    done
    check_configurations
    for word in $SEEDS; do
        [[ "$word" =~ ^[0-9]+$ ]] || fail "SEEDS has '$word', but must be whole numbers, 0 or more"
    done
    [[ "${JOBS:-1}" =~ ^[1-9][0-9]*$ ]] || fail "JOBS is '$JOBS', but must be a whole number above 0"
}

# Before hours of work, not after.
check_configurations() {
    local dataset=${sets[0]} seed=1 train_place=base2new VARIANT=released backbone
    method_runs zsclip "" :
    for backbone in $BACKBONES; do method_runs dpc "${CFG:-}" :; done
}

# Every image of one's own is decoded, those of the named sets are looked for: before hours of work, not after.
check_data() {
    local set named=()
    for set in "${sets[@]}"; do
        case "$set" in
            /*)
                "$PYTHON" -m datasets.prepare folder --data "$set" --check --deep ||
                    fail "$(name_of "$set") cannot be used as it is, see above; nothing was run"
                ;;
            *) contains "$demo_datasets" "$set" || named+=("$set") ;;
        esac
    done
    [[ ${#named[@]} -eq 0 ]] || "$PYTHON" -m datasets.prepare "${named[@]}" --data "$DATA" --check ||
        fail "a data set is not there or not whole, see above; nothing was run"
}

# A step's full output goes to a file; the screen gets a line, or the end of that file when the step fails.
step() { # SCRIPT SET SEED [WORD...]
    local log name took started=$SECONDS
    name=$(name_of "$2")
    log=$OUTPUT/logs/$(echo "$1" "$name" "${@:3}" ${VARIANT:+"$VARIANT"} | tr '/ ' '--').txt
    if bash "scripts/$1.sh" "${@:2}" >"$log" 2>&1; then
        took="$((SECONDS - started)) s"
        grep -Eq '^== (training|testing|going on)' "$log" || took="there already"
        echo "$name seed $3: $1" "${@:4}" "${VARIANT:-} ($took)"
    else
        local code=$?
        tail -n 30 "$log" >&2
        echo "$name seed $3: $1 failed with exit code $code; all of its output: $log" >&2
        exit 255 # makes xargs stop
    fi
}

# The methods on one data set with one seed, in the order in which they build on each other.
chain() { # SET SEED
    local backbone dpc_cfg=${CFG:-}
    unset CFG
    step zsclip/base2new_test "$@" base
    step zsclip/base2new_test "$@" new
    for backbone in $BACKBONES; do
        CFG=${BACKBONE_CFG:-} step "$backbone/base2new_train" "$@"
        CFG=${BACKBONE_CFG:-} step "$backbone/base2new_test" "$@" new
        for VARIANT in $VARIANTS; do
            export VARIANT
            CFG=$dpc_cfg step dpc/base2new_train "$@" "$backbone"
            CFG=$dpc_cfg step dpc/base2new_test "$@" "$backbone" new
        done
        unset VARIANT
    done
}

counted() { if [[ "$1" == 1 ]]; then echo "1 $2"; else echo "$1 $2s"; fi; } # NUMBER WHAT

run_all() {
    local set seed
    for seed in $SEEDS; do
        for set in "${sets[@]}"; do printf '%s\0' "$set" "$seed"; done
    done | xargs -0 -n 2 -P "$JOBS" bash -c 'set -euo pipefail; chain "$@"' chain
}

read_arguments "$@"
# shellcheck source=scripts/setup.sh
source scripts/setup.sh
if [[ "$MODEL" == demo ]]; then
    # one thread a run: small tensors, several runs at a time, and numbers that do not depend on the core count
    export OMP_NUM_THREADS=1
    JOBS=${JOBS:-$("$PYTHON" -c 'import joblib; print(joblib.cpu_count())')}
fi
JOBS=${JOBS:-1}
export PYTHON DATA OUTPUT MODEL BACKBONES VARIANTS
export -f step chain name_of

check_data
mkdir -p "$OUTPUT/logs"
seeds=$(wc -w <<<"$SEEDS" | tr -d ' ')
echo "$(basename "$script" .sh): $(counted ${#sets[@]} "data set") x $(counted "$seeds" seed)," \
    "$(counted "$JOBS" run) at a time; results in $OUTPUT"
run_all || exit 1 # xargs has exit codes of its own
echo
"$PYTHON" parse_test_res.py "$OUTPUT/base2new" --base-new --plot "$OUTPUT/base_new.png"
if [[ "$MODEL" == demo && "${sets[*]}" == */* ]]; then
    echo
    echo "MODEL=demo: a tiny CLIP that knows drawn characters saw these images at 32 x 32 pixels. The table shows that"
    echo "everything runs, not how good any method is on them; for that, leave MODEL away."
fi
