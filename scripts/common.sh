# shellcheck shell=bash
# What the experiment scripts share: sourced by them, never run by itself.
#
# From the environment, all optional:
#   DATA          root of the data sets                                    [data]
#   OUTPUT        root of the results                                      [output]
#   CFG           configs/trainers/<Trainer>/<CFG>.yaml of the method      [see `methods`; demo on the demo sets]
#   BACKBONE_CFG  the same for the prompt learner that DPC builds on
#   TEACHER_CFG   the same for PromptKD's teacher
#   VARIANT       paper or released, the two readings of DPC              [paper]
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
promptkd   PromptKD      vit_b16_c2_ep20_batch8_4+4ctx    vit_b16_c2_ep20_batch4_4+4ctx
"
teacher_default_cfg=vit_l14_c2_ep20_batch8_4+4ctx # of PromptKD's teacher, a PromptSRC on a larger CLIP
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
VARIANT=${VARIANT:-paper}
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
    contains "paper released" "$VARIANT" || fail "VARIANT is '$VARIANT', but must be paper or released"
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

train_py() { # DIR CLASSES FLAG...: a run as `describe` left it
    # shellcheck source=scripts/setup.sh
    source scripts/setup.sh
    "$PYTHON" train.py --root "$DATA" --output-dir "$1" --seed "$seed" --trainer "$trainer" \
        --dataset-config-file "configs/datasets/$dataset.yaml" \
        --config-file "configs/trainers/$trainer/$cfg.yaml" \
        "${@:3}" ${options[@]+"${options[@]}"} DATASET.NUM_SHOTS "$shots" DATASET.SUBSAMPLE_CLASSES "$2"
}

train_run() {
    local dir=$train_dir resume=()
    if [[ -e "$dir/resume.pth.tar" ]]; then # there from the first epoch on, removed at the very end
        resume=(--resume "$dir")
        say "going on where it stopped: $dir"
    elif has_result "$dir" && [[ -n "$(last_epoch "$dir")" ]]; then
        say "finished before, skipped: $dir (remove that folder to run it again)"
        return
    else
        say "training: $dir"
    fi
    train_py "$dir" base ${resume[@]+"${resume[@]}"}
}

test_run() { # DIR; train_dir is empty for a method without training
    local dir=$1 how=(--eval-only) epoch
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
    say "testing on $subset classes: $dir"
    train_py "$dir" "$subset" "${how[@]}"
}

# ---- base-to-new generalisation ----------------------------------------------------------------------------------

base2new_dir() { echo "$OUTPUT/base2new/$1/$dataset/shots_$shots/$trainer/$label/seed$seed"; } # PART

# Sets what one run is: trainer, cfg, label (cfg as a folder's name), shots, train_dir and options (KEY VALUE words).
describe() { # TRAINER CFG SHOTS OPTION...
    trainer=$1 cfg=$2 label=$2 shots=$3 options=("${@:4}")
    train_dir=$(base2new_dir train_base)
}

# Describes the runs of METHOD in the order in which they build on each other, and calls DO behind each.
base2new_runs() { # METHOD WISHED_CFG DO
    local name teacher=()
    case $1 in
        dpc)
            base2new_runs "$backbone" "${BACKBONE_CFG:-}" "$3"
            if [[ "$backbone" == promptkd ]]; then teacher=("${options[@]}"); fi
            name=$(config_of "${trainer}_DPC" "$(field_of "$backbone" 4)" "$2")
            describe "${trainer}_DPC" "$name" "$SHOTS" ${teacher[@]+"${teacher[@]}"} \
                TRAINER.DPC.BACKBONE_DIR "$train_dir" TRAINER.DPC.VARIANT "$VARIANT"
            if [[ "$VARIANT" != paper ]]; then
                label=$cfg-$VARIANT
                train_dir=$(base2new_dir train_base)
            fi
            ;;
        promptkd) # learns from all images of all classes without their labels; its teacher from SHOTS labelled ones
            name=$(config_of PromptSRC "$teacher_default_cfg" "${TEACHER_CFG:-}")
            describe PromptSRC "$name" "$SHOTS"
            "$3"
            name=$(config_of PromptKD "$(field_of promptkd 3)" "$2")
            describe PromptKD "$name" 0 TRAINER.PROMPTKD.TEACHER_DIR "$train_dir"
            ;;
        *)
            name=$(config_of "$(field_of "$1" 2)" "$(field_of "$1" 3)" "$2")
            describe "$(field_of "$1" 2)" "$name" "$SHOTS"
            ;;
    esac
    "$3"
}

base2new_form() { if [[ "$1" == dpc ]]; then echo "DATASET SEED [BACKBONE]"; else echo "DATASET SEED"; fi; } # METHOD

base2new_train() { # METHOD WORD...
    parse_arguments "$(base2new_form "$1")" "${@:2}"
    base2new_runs "$1" "${CFG:-}" train_run
}

base2new_test() { # METHOD WORD...
    parse_arguments "$(base2new_form "$1") [base|new]" "${@:2}"
    base2new_runs "$1" "${CFG:-}" :
    if [[ "$1" == zsclip ]]; then train_dir=; fi
    test_run "$(base2new_dir "test_$subset")"
}
