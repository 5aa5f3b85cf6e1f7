# shellcheck shell=bash
# What the experiment scripts share: sourced by them, never run by itself.
#
# From the environment, all optional:
#   DATA          root of the data sets                                    [data]
#   OUTPUT        root of the results                                      [output]
#   CFG           configs/trainers/<Trainer>/<CFG>.yaml of the method      [see `methods`; demo on the demo sets]
#   BACKBONE_CFG  the same for the prompt learner that DPC builds on
#   SHOTS         training images per class                                [16]
#   LOADEP        epoch whose checkpoint is tested                         [the last one]
#   PYTHON        interpreter to use instead of the repository's .venv
#
# A new method is one line in `methods` and a folder of three-line scripts; a new protocol is a pair of functions
# like base2new_train and base2new_test.
set -euo pipefail

# folder under scripts/, trainer, its configuration on the real data sets, and that of DPC on it (- for none)
methods="
zsclip     ZeroshotCLIP  vit_b16                          -
coop       CoOp          vit_b16_ep20_ctxv1               vit_b16_ep20
cocoop     CoCoOp        vit_b16_c4_ep10_batch1_ctxv1     vit_b16_c4_ep10_batch1_ctxv1
vpt        VPT           vit_b16_c2_ep5_batch4_4          -
ivlp       IVLP          vit_b16_c2_ep5_batch4_2+2ctx     vit_b16_c2_ep5_batch4_2+2ctx
maple      MaPLe         vit_b16_c2_ep5_batch4_2ctx       vit_b16_c2_ep5_batch4_2ctx
promptsrc  PromptSRC     vit_b16_c2_ep20_batch4_4+4ctx    vit_b16_c2_ep20_batch4_4+4ctx
"
demo_datasets="digits letters"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
script=scripts/$(basename "$(dirname "$0")")/$(basename "$0")

# A relative path in the environment is meant from where the command was typed.
from_here() {
    case "$1" in /*) echo "$1" ;; *) [[ "$PWD" == "$root" ]] && echo "$1" || echo "$PWD/$1" ;; esac
}
DATA=$(from_here "${DATA:-$root/data}")
OUTPUT=$(from_here "${OUTPUT:-$root/output}")
SHOTS=${SHOTS:-16}
cd "$root"
DATA=${DATA#"$root/"}
OUTPUT=${OUTPUT#"$root/"}

say() { echo "== $*"; }

fail() {
    echo "$script: $*" >&2
    exit 1
}

# ---- arguments -------------------------------------------------------------------------------------------------

field_of() { awk -v name="$1" -v n="$2" '$1 == name { print $n }' <<<"$methods"; } # METHOD COLUMN

names_in() { # FOLDER: its yaml files without the ending, on one line
    (cd "configs/$1" 2>/dev/null && ls ./*.yaml 2>/dev/null) | sed 's|^\./||; s|\.yaml$||' | tr '\n' ' ' | sed 's/ $//'
}

known_backbones() { # the methods that DPC builds on
    awk 'NF && $4 != "-" { print $1 }' <<<"$methods" | tr '\n' ' ' | sed 's/ $//'
}

usage() { # [MESSAGE]: without one it was asked for
    if [[ -n "${1:-}" ]]; then exec >&2 && echo "$script: $1"; fi
    echo "usage: bash $script $argument_form"
    echo "  DATASET   one of: $(names_in datasets)"
    echo "  SEED      a whole number, 0 or more (1, 2 and 3 in the papers)"
    if [[ "$argument_form" == *BACKBONE* ]]; then
        echo "  BACKBONE  the prompt learner that DPC builds on, one of: $(known_backbones) (default: coop)"
    fi
    if [[ "$argument_form" == *base* ]]; then echo "  base|new  the classes to test on (default: new)"; fi
    echo "environment: DATA=$DATA OUTPUT=$OUTPUT SHOTS=$SHOTS CFG LOADEP PYTHON (see scripts/common.sh)"
    if [[ -n "${1:-}" ]]; then exit 2; else exit 0; fi
}

contains() { case " $1 " in *" $2 "*) return 0 ;; *) return 1 ;; esac; } # LIST WORD

# Sets dataset, seed, backbone and subset from the words behind FORM.
parse_arguments() { # FORM WORD...
    argument_form=$1
    shift
    if contains "$*" -h || contains "$*" --help; then usage; fi
    [[ $# -ge 2 ]] || usage "DATASET and SEED are needed"
    dataset=$1 seed=$2 backbone=coop subset=new
    shift 2
    contains "$(names_in datasets)" "$dataset" || usage "unknown data set '$dataset'"
    [[ "$seed" =~ ^[0-9]+$ ]] || usage "SEED is '$seed'"
    local word
    for word in "$@"; do
        case "$argument_form:$word" in
            *"base|new"*:base | *"base|new"*:new) subset=$word ;;
            *BACKBONE*:*) contains "$(known_backbones)" "$word" || usage "unknown backbone '$word'" && backbone=$word ;;
            *) usage "unknown argument '$word'" ;;
        esac
    done
    [[ "$SHOTS" =~ ^[1-9][0-9]*$ ]] || fail "SHOTS is '$SHOTS', but must be a whole number above 0"
    [[ "${LOADEP:-1}" =~ ^[0-9]+$ ]] || fail "LOADEP is '$LOADEP', but must be an epoch's number"
}

config_of() { # TRAINER DEFAULT WISH: the name of the configuration to use
    local cfg=$2
    if contains "$demo_datasets" "$dataset"; then cfg=demo; fi
    cfg=${3:-$cfg}
    [[ -f "configs/trainers/$1/$cfg.yaml" ]] ||
        fail "$1 has no configuration '$cfg'; known in configs/trainers/$1: $(names_in "trainers/$1")"
    echo "$cfg"
}

# ---- runs ------------------------------------------------------------------------------------------------------

last_epoch() { # TRAIN_DIR: the epoch of its last checkpoint, nothing where there is none
    local name
    name=$(cat "$1"/*/checkpoint 2>/dev/null | tail -n 1) || true
    if [[ "$name" == model.pth.tar-* ]]; then echo "${name##*-}"; fi
}

has_result() { grep -Eqs '"split": ?"test"' "$1/results.jsonl"; } # DIR: a run ends by writing one

train_py() { # TRAINER CFG DIR CLASSES OPTION...
    local trainer=$1 cfg=$2 dir=$3 classes=$4
    shift 4
    # shellcheck source=scripts/setup.sh
    source scripts/setup.sh
    "$PYTHON" train.py --root "$DATA" --output-dir "$dir" --seed "$seed" --trainer "$trainer" \
        --dataset-config-file "configs/datasets/$dataset.yaml" \
        --config-file "configs/trainers/$trainer/$cfg.yaml" \
        "$@" DATASET.NUM_SHOTS "$SHOTS" DATASET.SUBSAMPLE_CLASSES "$classes"
}

train_run() { # TRAINER CFG DIR CLASSES [KEY VALUE ...]
    local dir=$3 resume=()
    if [[ -e "$dir/resume.pth.tar" ]]; then # there from the first epoch on, removed at the very end
        resume=(--resume "$dir")
        say "going on where it stopped: $dir"
    elif has_result "$dir" && [[ -n "$(last_epoch "$dir")" ]]; then
        say "finished before, skipped: $dir (remove that folder to run it again)"
        return
    else
        say "training: $dir"
    fi
    train_py "$1" "$2" "$dir" "$4" ${resume[@]+"${resume[@]}"} "${@:5}"
}

test_run() { # TRAINER CFG DIR CLASSES TRAIN_DIR [KEY VALUE ...]; TRAIN_DIR is empty for a method without training
    local dir=$3 train_dir=$5 how=(--eval-only) epoch
    # a result older than the training that it speaks of is out of date
    if has_result "$dir" && [[ -z "${LOADEP:-}" && ! "$train_dir/results.jsonl" -nt "$dir/results.jsonl" ]]; then
        say "finished before, skipped: $dir (remove that folder to run it again)"
        return
    fi
    if [[ -n "$train_dir" ]]; then
        epoch=${LOADEP:-$(last_epoch "$train_dir")}
        [[ -n "$epoch" ]] ||
            fail "nothing trained in $train_dir yet: bash ${script/_test.sh/_train.sh} $dataset $seed comes first"
        how+=(--model-dir "$train_dir" --load-epoch "$epoch")
    fi
    say "testing on $4 classes: $dir"
    train_py "$1" "$2" "$dir" "$4" "${how[@]}" "${@:6}"
}

# ---- base-to-new generalisation ----------------------------------------------------------------------------------

base2new_dir() { echo "$OUTPUT/base2new/$1/$dataset/shots_$SHOTS/$2/$3/seed$seed"; } # PART TRAINER CFG

choose() { # TRAINER DEFAULT_CFG WISH: sets trainer, cfg and train_dir
    trainer=$1
    cfg=$(config_of "$@")
    train_dir=$(base2new_dir train_base "$trainer" "$cfg")
}

# Sets trainer, cfg, train_dir and options (KEY VALUE words); for DPC also backbone_run, what its backbone is trained with.
base2new_setting() { # METHOD WORD...: the words behind the form in argument_form
    local method=$1
    options=()
    parse_arguments "${@:2}"
    if [[ "$method" == dpc ]]; then
        choose "$(field_of "$backbone" 2)" "$(field_of "$backbone" 3)" "${BACKBONE_CFG:-}"
        backbone_run=("$trainer" "$cfg" "$train_dir")
        options=(TRAINER.DPC.BACKBONE_DIR "$train_dir")
        choose "${trainer}_DPC" "$(field_of "$backbone" 4)" "${CFG:-}"
    else
        choose "$(field_of "$method" 2)" "$(field_of "$method" 3)" "${CFG:-}"
    fi
}

base2new_form() { if [[ "$1" == dpc ]]; then echo "DATASET SEED [BACKBONE]"; else echo "DATASET SEED"; fi; } # METHOD

base2new_train() { # METHOD WORD...
    base2new_setting "$1" "$(base2new_form "$1")" "${@:2}"
    if [[ "$1" == dpc ]]; then train_run "${backbone_run[@]}" base; fi
    train_run "$trainer" "$cfg" "$train_dir" base ${options[@]+"${options[@]}"}
}

base2new_test() { # METHOD WORD...
    base2new_setting "$1" "$(base2new_form "$1") [base|new]" "${@:2}"
    if [[ "$1" == zsclip ]]; then train_dir=; fi
    test_run "$trainer" "$cfg" "$(base2new_dir "test_$subset" "$trainer" "$cfg")" "$subset" "$train_dir" \
        ${options[@]+"${options[@]}"}
}
