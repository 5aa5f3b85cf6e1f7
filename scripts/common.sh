# shellcheck shell=bash
# What the experiment scripts share: sourced by them, never run by itself.
#
# From the environment, all optional:
#   DATA          root of the named data sets                              [data]
#   OUTPUT        root of the results                                      [output]
#   MODEL         demo: the embedded tiny CLIP, so every method's demo.yaml; needs no weights, means little
#   CFG           configs/trainers/<Trainer>/<CFG>.yaml of the method      [see `methods`; demo on the demo sets]
#   BACKBONE_CFG  the same for the prompt learner that DPC builds on
#   TEACHER_CFG   the same for PromptKD's teacher
#   VARIANT       released, paper or direct, the readings of DPC          [released]
#   SHOTS         training images per class                                [16; few_shot.sh: 1, 2, 4, 8 and 16]
#   LOADEP        epoch whose checkpoint is tested                         [the last one]
#   OPTIONS       KEY VALUE words for every run, such as "OPTIM.MAX_EPOCH 1"; folders do not tell: set OUTPUT too
#   PYTHON        interpreter to use instead of the repository's .venv
#
# A new method needs nothing here where configs/trainers/ has one file for it beside demo.yaml; a new protocol is a
# pair of functions like base2new_train and base2new_test. What each protocol is: docs/protocols.md.
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
# protocol, method and the same two configurations, where the protocol wants others
protocol_cfgs="
xd         coop       vit_b16_ep50_ctxv1                                vit_b16_ep20
xd         maple      vit_b16_c2_ep5_batch4_2ctx_cross_datasets         vit_b16_c2_ep2_batch4_2ctx_cross_datasets
xd         promptsrc  vit_b16_c2_ep5_batch4_4+4ctx_cross_datasets       vit_b16_c2_ep5_batch4_4+4ctx_cross_datasets
few_shot   coop       vit_b16_ep50_ctxv1                                vit_b16_ep20
few_shot   promptsrc  vit_b16_c2_ep50_batch4_4+4ctx_few_shot            vit_b16_c2_ep20_batch4_4+4ctx
"
teacher_default_cfg=vit_l14_c2_ep20_batch8_4+4ctx # of PromptKD's teacher, a PromptSRC on a larger CLIP
demo_datasets="digits letters"
default_source=imagenet # of the cross-dataset and cross-domain protocols

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
script=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")
script=${script#"$root/"}
typed_in=$PWD

# A relative path is meant from where the command was typed.
from_here() {
    case "$1" in /*) echo "$1" ;; *) echo "$typed_in/$1" ;; esac
}
DATA=$(from_here "${DATA:-$root/data}")
OUTPUT=$(from_here "${OUTPUT:-$root/output}")
few_shot_counts=${SHOTS:-1 2 4 8 16}
SHOTS=${SHOTS:-16}
VARIANT=${VARIANT:-released}
MODEL=${MODEL:-}
cd "$root"
DATA=${DATA#"$root/"}
OUTPUT=${OUTPUT#"$root/"}

# shellcheck source=scripts/data_sets.sh
source scripts/data_sets.sh

say() { echo "== $*"; }

fail() {
    echo "$script: $*" >&2
    exit 1
}

# ---- arguments -------------------------------------------------------------------------------------------------

only_config() { # TRAINER: its one configuration for real data, - where there is none or a choice
    local names
    names=$(names_in "trainers/$1" | tr ' ' '\n' | grep -vx demo) || true
    if [[ -z "$names" || "$names" == *$'\n'* ]]; then echo -; else echo "$names"; fi
}

# Methods that `methods` does not name are called by their trainer's name in lower case.
add_methods() {
    local folder trainer cfg
    for folder in configs/trainers/*/; do
        trainer=$(basename "$folder")
        if [[ "$trainer" == *_DPC ]] || grep -qw "$trainer" <<<"$methods"; then continue; fi
        cfg=$(only_config "$trainer")
        if [[ "$cfg" != - ]]; then methods+="$(tr '[:upper:]' '[:lower:]' <<<"$trainer") $trainer $cfg $(only_config "${trainer}_DPC")"$'\n'; fi
    done
}

field_of() { awk -v name="$1" -v n="$2" '$1 == name { print $n }' <<<"$methods"; } # METHOD COLUMN

names_in() { # FOLDER: its yaml files without the ending, on one line
    (cd "configs/$1" 2>/dev/null && ls ./*.yaml 2>/dev/null) | sed 's|^\./||; s|\.yaml$||' | tr '\n' ' ' | sed 's/ $//'
}

known_backbones() { # the methods that DPC builds on
    awk 'NF && $4 != "-" { print $1 }' <<<"$methods" | tr '\n' ' ' | sed 's/ $//'
}

add_methods

takes() { [[ "$argument_form" == *"$1"* ]]; } # WORD: whether it is part of the form of the arguments

usage() { # [MESSAGE]: without one it was asked for
    if [[ -n "${1:-}" ]]; then exec >&2 && echo "$script: $1"; fi
    echo "usage: bash $script $argument_form"
    if takes DATASET; then
        echo "  DATASET   one of: $(known_sets)"
        echo "            $own_set_usage"
    fi
    if takes SEED; then echo "  SEED      a whole number, 0 or more (1, 2 and 3 in the papers)"; fi
    if takes SOURCE; then
        echo "  SOURCE    the data set to train on, one of: $(known_sets) (default: $default_source)"
        echo "            $own_set_usage"
    fi
    if takes BACKBONE; then
        echo "  BACKBONE  the prompt learner that DPC builds on, one of: $(known_backbones) (default: coop)"
    fi
    if takes base; then echo "  base|new  the classes to test on (default: new)"; fi
    if [[ -n "${more_usage:-}" ]]; then echo "$more_usage"; fi
    echo "environment: DATA=$DATA OUTPUT=$OUTPUT SHOTS=$SHOTS MODEL CFG LOADEP OPTIONS PYTHON (see scripts/common.sh)"
    if [[ -n "${1:-}" ]]; then exit 2; else exit 0; fi
}

contains() { case " $1 " in *" $2 "*) return 0 ;; *) return 1 ;; esac; } # LIST WORD

# Sets dataset, seed, backbone, source_set and subset from the words behind FORM; the optional ones in any order.
parse_arguments() { # FORM WORD...
    argument_form=$1
    shift
    if contains "$*" -h || contains "$*" --help; then usage; fi
    dataset='' backbone=coop source_set=$default_source subset=new
    if takes DATASET; then
        [[ $# -ge 2 ]] || usage "DATASET and SEED are needed"
        find_set "$1" || unknown_set "$1"
        dataset=$found
        shift
    fi
    [[ $# -ge 1 ]] || usage "SEED is needed"
    seed=$1
    shift
    [[ "$seed" =~ ^[0-9]+$ ]] || usage "SEED is '$seed'"
    local word
    for word in "$@"; do
        if takes base && contains "base new" "$word"; then
            subset=$word
        elif takes BACKBONE && contains "$(known_backbones)" "$word"; then
            backbone=$word
        elif takes SOURCE && find_set "$word"; then
            source_set=$found
        elif takes SOURCE && [[ "$word" == */* ]]; then
            unknown_set "$word"
        elif takes BACKBONE; then
            usage "unknown backbone '$word'"
        else
            usage "unknown argument '$word'"
        fi
    done
    check_environment
    if [[ -n "$dataset" ]]; then refuse_foreign_results "$dataset"; fi
    if takes SOURCE; then refuse_foreign_results "$source_set"; fi
}

check_environment() {
    [[ "$SHOTS" =~ ^[1-9][0-9]*$ ]] || fail "SHOTS is '$SHOTS', but must be a whole number above 0"
    contains "paper released direct" "$VARIANT" || fail "VARIANT is '$VARIANT', but must be paper, released or direct"
    [[ -z "$MODEL" || "$MODEL" == demo ]] || fail "MODEL is '$MODEL', but must be demo, or not set (CFG names others)"
    [[ "${LOADEP:-1}" =~ ^[0-9]+$ ]] || fail "LOADEP is '$LOADEP', but must be an epoch's number"
}

cfg_of() { # METHOD COLUMN: its default configuration in this protocol
    local cfg
    cfg=$(awk -v p="$protocol" -v m="$1" -v n="$2" '$1 == p && $2 == m { print $n }' <<<"$protocol_cfgs")
    echo "${cfg:-$(field_of "$1" "$2")}"
}

config_of() { # TRAINER DEFAULT WISH: the name of the configuration to use
    local cfg=$2
    if [[ "$MODEL" == demo ]] || contains "$demo_datasets" "$dataset"; then cfg=demo; fi
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

# settings that change no figure, or none that is shown; dassl/config/node.py knows them as LOCATION_SETTINGS
quiet_settings='^(USE_CUDA|VERBOSE|DATALOADER\.(NUM_WORKERS|CACHE_MB|TEST\.BATCH_SIZE)'
quiet_settings+='|TRAIN\.(CHECKPOINT_FREQ|PRINT_FREQ|TENSORBOARD)'
quiet_settings+='|TEST\.(CACHE_FEATURES|SAVE_LOGITS|PER_CLASS_RESULT|COMPUTE_CMAT))$'

# Of KEY VALUE words those that a run of the present trainer depends on, on one line.
telling() { # WORDS
    awk -v quiet="$quiet_settings" -v dpc="$([[ "$trainer" == *_DPC ]] && echo 1)" '{
        keep = 1
        for (i = 1; i <= NF; i++) {
            if ($i ~ quiet) keep = 0
            else if ($i ~ /^(SEED|[A-Z][A-Z0-9_]*\.[A-Z0-9_.]+)$/) keep = dpc || $i !~ /^TRAINER\.DPC\./
            if (keep) printf "%s%s", separator, $i
            if (keep) separator = " "
        }
    }' <<<"$(tr '\n' ' ' <<<"$1")"
}

skip() { # DIR REMEDY: a run that is there, unless it was made with other OPTIONS, which its folder does not tell
    local line made
    line=$(grep -as "^arguments: .* DATASET.SUBSAMPLE_CLASSES " "$1/log.txt" | tail -n 1) || true
    made=${line#* DATASET.SUBSAMPLE_CLASSES }
    made=$(telling "${made#"${made%% *}"}") # behind the classes
    [[ -z "$line" || "$made" == "$(telling "${OPTIONS:-}")" ]] || fail "$1 was run with OPTIONS='$made': $2"
    say "finished before, skipped: $1 (remove that folder to run it again)"
}

has_result() { grep -Eqs '"split": ?"test"' "$1/results.jsonl"; } # DIR: a run ends by writing one

train_py() { # DIR CLASSES FLAG...: a run as `describe` left it
    # shellcheck source=scripts/setup.sh
    source scripts/setup.sh
    describe_set "$dataset"
    # shellcheck disable=SC2086 # OPTIONS is several words
    "$PYTHON" train.py --root "$DATA" --output-dir "$1" --seed "$seed" --trainer "$trainer" \
        --config-file "configs/trainers/$trainer/$cfg.yaml" "${@:3}" "${set_words[@]}" \
        ${options[@]+"${options[@]}"} DATASET.NUM_SHOTS "$shots" DATASET.SUBSAMPLE_CLASSES "$2" ${OPTIONS:-}
}

train_run() {
    local dir=$train_dir resume=()
    if [[ -e "$dir/resume.pth.tar" ]]; then # there from the first epoch on, removed at the very end
        resume=(--resume "$dir")
        say "going on where it stopped: $dir"
    elif has_result "$dir" && [[ -n "$(last_epoch "$dir")" ]]; then
        skip "$dir" "set OUTPUT to another folder, or remove that one"
        return
    else
        say "training: $dir"
    fi
    train_py "$dir" "$train_classes" ${resume[@]+"${resume[@]}"}
}

test_run() { # DIR; train_dir is empty for a method without training
    local dir=$1 how=(--eval-only) epoch
    # a result older than the training that it speaks of is out of date
    if has_result "$dir" && [[ -z "${LOADEP:-}" && ! "$train_dir/results.jsonl" -nt "$dir/results.jsonl" ]]; then
        skip "$dir" "remove that folder, or keep it under another name"
        return
    fi
    if [[ -n "$train_dir" ]]; then
        epoch=${LOADEP:-$(last_epoch "$train_dir")}
        [[ -n "$epoch" ]] ||
            fail "nothing trained in $train_dir yet: bash ${script/_test.sh/_train.sh} $train_words comes first"
        how+=(--model-dir "$train_dir" --load-epoch "$epoch")
    fi
    say "testing on $(name_of "$dataset"), $subset classes: $dir"
    train_py "$dir" "$subset" "${how[@]}"
}

run_dir() { echo "$OUTPUT/$1/shots_$shots/$trainer/$label/seed$seed"; } # PLACE

# Sets what one run is: trainer, cfg, label (its folder's name), shots, train_dir and options (KEY VALUE words).
describe() { # TRAINER CFG LABEL SHOTS OPTION...
    trainer=$1 cfg=$2 label=$3 shots=$4 options=("${@:5}")
    train_dir=$(run_dir "$train_place")
}

# Describes the runs of METHOD in the order in which they build on each other, and calls DO behind each.
# Beforehand are set: dataset, seed, backbone, protocol, train_place and train_classes.
method_runs() { # METHOD WISHED_CFG DO
    local name folder images teacher=()
    case $1 in
        dpc)
            method_runs "$backbone" "${BACKBONE_CFG:-}" "$3"
            if [[ "$backbone" == promptkd ]]; then teacher=("${options[@]}"); fi
            name=$(config_of "${trainer}_DPC" "$(cfg_of "$backbone" 4)" "$2")
            folder=$name
            if [[ "$VARIANT" != paper ]]; then folder=$name-$VARIANT; fi
            describe "${trainer}_DPC" "$name" "$folder" "$SHOTS" ${teacher[@]+"${teacher[@]}"} \
                TRAINER.DPC.BACKBONE_DIR "$train_dir" TRAINER.DPC.VARIANT "$VARIANT"
            ;;
        promptkd)
            name=$(config_of PromptSRC "$teacher_default_cfg" "${TEACHER_CFG:-}")
            describe PromptSRC "$name" "$name" "$SHOTS"
            "$3"
            name=$(config_of PromptKD "$(cfg_of promptkd 3)" "$2")
            # it learns from all images, without their labels; its teacher from SHOTS labelled ones of each class
            images=0
            if [[ "$protocol" == few_shot ]]; then images=$SHOTS; fi
            describe PromptKD "$name" "$name" "$images" TRAINER.PROMPTKD.TEACHER_DIR "$train_dir"
            if [[ "$protocol" != base2new ]]; then options+=(TRAINER.MODAL cross); fi
            ;;
        *)
            name=$(config_of "$(field_of "$1" 2)" "$(cfg_of "$1" 3)" "$2")
            describe "$(field_of "$1" 2)" "$name" "$name" "$SHOTS"
            if [[ "$1" == zsclip ]]; then train_dir=; fi # there is nothing to train
            ;;
    esac
    "$3"
}

backbone_of() { if [[ "$1" == dpc ]]; then echo " $2"; fi; } # METHOD TEXT: the text for DPC, nothing for others

# ---- base-to-new generalisation ----------------------------------------------------------------------------------

base2new_begin() { # METHOD FORM WORD...
    parse_arguments "${@:2}"
    protocol=base2new train_place=base2new/train_base/$(name_of "$dataset") train_classes=base
    train_words="$(printf %q "$dataset") $seed$(backbone_of "$1" "$backbone")"
}

base2new_train() { # METHOD WORD...
    base2new_begin "$1" "DATASET SEED$(backbone_of "$1" "[BACKBONE]")" "${@:2}"
    method_runs "$1" "${CFG:-}" train_run
}

base2new_test() { # METHOD WORD...
    base2new_begin "$1" "DATASET SEED$(backbone_of "$1" "[BACKBONE]") [base|new]" "${@:2}"
    method_runs "$1" "${CFG:-}" :
    test_run "$(run_dir "base2new/test_$subset/$(name_of "$dataset")")"
}

# ---- cross-dataset and cross-domain generalisation ---------------------------------------------------------------

# The training is described with the source as data set; what is tested comes behind.
xd_begin() { # METHOD FORM WORD...
    parse_arguments "${@:2}"
    target=$dataset
    if [[ "$1" != zsclip ]]; then dataset=$source_set; fi
    protocol=xd train_place=xd/train/$(name_of "$source_set") train_classes=all subset=all
    train_words="$seed $(printf %q "$source_set")$(backbone_of "$1" "$backbone")"
}

xd_train() { # METHOD WORD...
    xd_begin "$1" "SEED [SOURCE]$(backbone_of "$1" "[BACKBONE]")" "${@:2}"
    method_runs "$1" "${CFG:-}" train_run
}

xd_test() { # METHOD WORD...
    local form="DATASET SEED"
    if [[ "$1" != zsclip ]]; then form="$form [SOURCE]$(backbone_of "$1" "[BACKBONE]")"; fi
    xd_begin "$1" "$form" "${@:2}"
    method_runs "$1" "${CFG:-}" :
    dataset=$target
    # the folders' names say nothing of the usual source
    if [[ "$source_set" != "$default_source" ]]; then label=$label-from-$(name_of "$source_set"); fi
    test_run "$(run_dir "xd/test/$(name_of "$dataset")")"
}

# ---- few-shot learning -------------------------------------------------------------------------------------------

few_shot() { # METHOD WORD...
    parse_arguments "DATASET SEED$(backbone_of "$1" "[BACKBONE]")" "${@:2}"
    protocol=few_shot train_place=few_shot/$(name_of "$dataset") train_classes=all subset=all
    if [[ "$1" == zsclip ]]; then # the curve's point without training images
        SHOTS=0
        method_runs zsclip "${CFG:-}" :
        test_run "$(run_dir "$train_place")"
        return
    fi
    for SHOTS in $few_shot_counts; do
        method_runs "$1" "${CFG:-}" train_run
    done
}
