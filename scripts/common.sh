# shellcheck shell=bash
# What the experiment scripts share: sourced by them, never run by itself.
#
# From the environment, all optional:
#   DATA          root of the named data sets                              [data]
#   OUTPUT        root of the results                                      [output]
#   MODEL         demo: the embedded tiny CLIP, so every method's demo.yaml; needs no weights, means little
#   CFG           configs/trainers/<Trainer>/<CFG>.yaml of the method      [configs/protocols.txt; demo on the demo sets]
#   BACKBONE_CFG  the same for the prompt learner that DPC builds on
#   TEACHER_CFG   the same for PromptKD's teacher
#   PRESET        dpc: backbones as DPC's paper trains them, batch 32; own: as their own papers do
#                 [dpc in scripts/dpc and base2new.sh, else own]
#   VARIANT       released, paper or direct, the readings of DPC          [released]
#   SHOTS         training images per class                                [16; few_shot.sh: 1, 2, 4, 8 and 16]
#   LOADEP        epoch whose checkpoint is tested                         [the last one]
#   OPTIONS       KEY VALUE words for every run, such as "OPTIM.MAX_EPOCH 1"; folders do not tell: set OUTPUT too
#   PYTHON        interpreter to use instead of the repository's .venv
#
# A new method needs nothing here; a new protocol is a pair of functions like base2new_train and base2new_test. What
# each protocol is: docs/protocols.md; what it runs a method with: configs/protocols.txt.
set -euo pipefail

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
dataset=
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

# Sets methods to lines of a method's name, which is its trainer's in lower case, and its trainer.
find_methods() {
    local folder
    methods=$'zsclip ZeroshotCLIP\n'
    for folder in configs/trainers/*/; do
        folder=$(basename "$folder")
        case "$folder" in *_DPC | SPLE | Zeroshot*) continue ;; esac
        methods+="$(tr '[:upper:]' '[:lower:]' <<<"$folder") $folder"$'\n'
    done
}

trainer_of() { awk -v name="$1" '$1 == name { print $2 }' <<<"$methods"; } # METHOD

# The first line of configs/protocols.txt that fits the run and says something in that place; nothing where none does.
of_protocol() { # METHOD WHAT [CFG]: WHAT is cfg, dpc, or settings of a run with CFG
    local set=$dataset
    case "$set" in /*) set= ;; esac # one of the user's own, whatever its name
    awk -v preset="$preset" -v protocol="$protocol" -v method="$1" -v set="$set" -v shots="$SHOTS" \
        -v what="$2" -v cfg="${3:-}" '
        function fits(words, word) { return words == "*" || index("," words ",", "," word ",") }
        /^#/ || NF < 7 { next }
        !fits($1, preset) || !fits($2, protocol) || $3 != method || !fits($4, set) || !fits($5, shots) { next }
        what == "settings" && NF > 7 && ($6 == "-" || $6 == cfg) {
            for (i = 8; i <= NF; i++) printf "%s%s", (i > 8 ? " " : ""), $i
            exit
        }
        what == "cfg" && $6 != "-" { print $6; exit }
        what == "dpc" && $7 != "-" { print $7; exit }
    ' configs/protocols.txt
}

names_in() { # FOLDER: its yaml files without the ending, on one line
    (cd "configs/$1" 2>/dev/null && ls ./*.yaml 2>/dev/null) | sed 's|^\./||; s|\.yaml$||' | tr '\n' ' ' | sed 's/ $//'
}

known_backbones() { # the methods that DPC builds on
    local method trainer names=
    while read -r method trainer; do
        if [[ -n "$(default_cfg_of "$method" dpc)" ]]; then names+="$method "; fi
    done <<<"${methods%$'\n'}"
    echo "${names% }"
}

default_cfg_of() { # METHOD cfg|dpc: its default configuration in this protocol, nothing where there is none
    local cfg trainer
    cfg=$(of_protocol "$1" "$2")
    trainer=$(trainer_of "$1")
    if [[ "$2" == dpc ]]; then trainer+=_DPC; fi
    if [[ -z "$cfg" ]]; then cfg=$(only_config "$trainer"); fi
    if [[ "$cfg" != - && "$cfg" != none && -d "configs/trainers/$trainer" ]]; then echo "$cfg"; fi
}

find_methods

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
    dataset='' backbone=coop distil_set=''  source_set=$default_source subset=new
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
    contains "own dpc" "$preset" || fail "PRESET is '$preset', but must be own or dpc"
    [[ -z "$MODEL" || "$MODEL" == demo ]] || fail "MODEL is '$MODEL', but must be demo, or not set (CFG names others)"
    [[ "${LOADEP:-1}" =~ ^[0-9]+$ ]] || fail "LOADEP is '$LOADEP', but must be an epoch's number"
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

# A setting that the protocol has for this run may be in the log's words, or among its settings by another's hand.
refuse_other_settings() { # DIR LINE REMEDY
    local words i
    read -ra words <<<"$settings"
    for ((i = 0; i < ${#words[@]}; i += 2)); do
        [[ "$2" == *" ${words[i]} ${words[i + 1]} "* ]] || grep -qas "^ *${words[i]##*.}: ${words[i + 1]}$" "$1/log.txt" ||
            fail "$1 was run without ${words[i]} ${words[i + 1]}, which $protocol has for it: $3"
    done
}

skip() { # DIR REMEDY: a run that is there, unless it was made with other OPTIONS, which its folder does not tell
    local line made
    line=$(grep -as "^arguments: .* DATASET.SUBSAMPLE_CLASSES " "$1/log.txt" | tail -n 1) || true
    made=${line#* DATASET.SUBSAMPLE_CLASSES }
    made=$(telling "${made#"${made%% *}"}") # behind the classes
    [[ -z "$line" || "$made" == "$(telling "${OPTIONS:-}")" ]] || fail "$1 was run with OPTIONS='$made': $2"
    if [[ -n "$line" ]]; then refuse_other_settings "$1" "$line" "$2"; fi
    say "finished before, skipped: $1 (remove that folder to run it again)"
}

hint() { # what scripts/dpc trains is tested under its own preset
    if [[ "$preset" == own ]]; then echo " (PRESET=dpc tests a backbone that scripts/dpc trained)"; fi
}

has_best() { compgen -G "$1/*/model-best.pth.tar" >/dev/null; } # DIR

# Those that a data set or number of shots has of its own are part of every run's log, and said here.
say_settings() { if [[ -n "$settings" ]]; then say "$protocol has for $trainer on $(name_of "$dataset"): $settings"; fi; }

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
    say_settings
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
    say_settings
    # a result older than the training that it speaks of is out of date
    if has_result "$dir" && [[ -z "${LOADEP:-}" && ! "$train_dir/results.jsonl" -nt "$dir/results.jsonl" ]]; then
        skip "$dir" "remove that folder, or keep it under another name"
        return
    fi
    if [[ -n "$train_dir" ]]; then
        epoch=${LOADEP:-$(last_epoch "$train_dir")}
        [[ -n "$epoch" ]] ||
            fail "nothing trained in $train_dir yet: bash ${script/_test.sh/_train.sh} $train_words comes first$(hint)"
        how+=(--model-dir "$train_dir")
        # a run that chose among its epochs ends with the best one, which train.py takes where no epoch is given
        if [[ -n "${LOADEP:-}" ]] || ! has_best "$train_dir"; then how+=(--load-epoch "$epoch"); fi
    fi
    say "testing on $(name_of "$dataset"), $subset classes: $dir"
    train_py "$dir" "$subset" "${how[@]}"
}

run_dir() { echo "$OUTPUT/$1/shots_$shots/$trainer/$label/seed$seed"; } # PLACE

# Sets what one run is: trainer, cfg, label (its folder's name), shots, train_dir and options (KEY VALUE words).
describe() { # TRAINER CFG LABEL SHOTS OPTION...
    trainer=$1 cfg=$2 label=$3 shots=$4 options=("${@:5}") settings=
    train_dir=$(run_dir "$train_place")
}

# The same of a prompt learner, with the settings that the protocol has for it.
describe_learner() { # METHOD CFG SHOTS OPTION...
    describe "$(trainer_of "$1")" "$2" "$2" "${@:3}"
    settings=$(of_protocol "$1" settings "$2")
    # shellcheck disable=SC2206 # several words
    options+=($settings)
}

# Describes the runs of METHOD in the order in which they build on each other, and calls DO behind each.
# Beforehand are set: dataset, seed, backbone, protocol, preset, train_place and train_classes; for PromptKD across data
# sets distil_set, whose images the student sees.
method_runs() { # METHOD WISHED_CFG DO
    local name folder images teacher=()
    case $1 in
        dpc)
            method_runs "$backbone" "${BACKBONE_CFG:-}" "$3"
            if [[ "$backbone" == promptkd ]]; then teacher=("${options[@]:0:teacher_words}"); fi
            name=$(config_of "${trainer}_DPC" "$(default_cfg_of "$backbone" dpc)" "$2")
            folder=$name
            if [[ "$VARIANT" != paper ]]; then folder=$name-$VARIANT; fi
            describe "${trainer}_DPC" "$name" "$folder" "$SHOTS" ${teacher[@]+"${teacher[@]}"} \
                TRAINER.DPC.BACKBONE_DIR "$train_dir" TRAINER.DPC.VARIANT "$VARIANT"
            ;;
        promptkd)
            name=$(config_of PromptSRC "$(of_protocol teacher cfg)" "${TEACHER_CFG:-}")
            describe PromptSRC "$name" "$name" "$SHOTS"
            "$3"
            teacher=(TRAINER.PROMPTKD.TEACHER_DIR "$train_dir")
            if [[ "$protocol" != base2new ]]; then teacher+=(TRAINER.MODAL cross); fi
            teacher_words=${#teacher[@]}
            if [[ "$protocol" == xd && "$distil_set" != "$dataset" ]]; then
                dataset=$distil_set train_place=xd/distil/$(name_of "$distil_set")
            fi
            name=$(config_of PromptKD "$(default_cfg_of promptkd cfg)" "$2")
            # it learns from all images, without their labels; its teacher from SHOTS labelled ones of each class
            images=0
            if [[ "$protocol" == few_shot ]]; then images=$SHOTS; fi
            describe_learner promptkd "$name" "$images" "${teacher[@]}"
            if [[ "$protocol" == xd && "$distil_set" != "$source_set" && "$source_set" != "$default_source" ]]; then
                label=$label-from-$(name_of "$source_set")
                train_dir=$(run_dir "$train_place")
            fi
            ;;
        *)
            name=$(config_of "$(trainer_of "$1")" "$(default_cfg_of "$1" cfg)" "$2")
            describe_learner "$1" "$name" "$SHOTS"
            if [[ "$1" == zsclip ]]; then train_dir=; fi # there is nothing to train
            ;;
    esac
    "$3"
}

backbone_of() { if [[ "$1" == dpc ]]; then echo " $2"; fi; } # METHOD TEXT: the text for DPC, nothing for others

# ---- base-to-new generalisation ----------------------------------------------------------------------------------

# Sets protocol and preset; what is known of arguments depends on them.
begin() { # METHOD PROTOCOL
    protocol=$2 preset=own
    if [[ "$1" == dpc ]]; then preset=dpc; fi
    preset=${PRESET:-$preset}
}

base2new_begin() { # METHOD FORM WORD...
    begin "$1" base2new
    parse_arguments "${@:2}"
    train_place=base2new/train_base/$(name_of "$dataset") train_classes=base
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
    begin "$1" xd
    parse_arguments "${@:2}"
    target=$dataset distil_set=$source_set
    if [[ "$1" != zsclip ]]; then dataset=$source_set; fi
    train_place=xd/train/$(name_of "$source_set") train_classes=all subset=all
    train_words="$seed $(printf %q "$source_set")$(backbone_of "$1" "$backbone")"
    if [[ "$1" == promptkd ]]; then # as its authors do: one student a target, of its own unlabelled images
        distil_set=$target
        train_words="$(printf %q "$target") $train_words"
    fi
}

xd_train() { # METHOD WORD...
    local form="SEED [SOURCE]"
    if [[ "$1" == promptkd ]]; then form="DATASET $form"; fi
    xd_begin "$1" "$form$(backbone_of "$1" "[BACKBONE]")" "${@:2}"
    method_runs "$1" "${CFG:-}" train_run
}

xd_test() { # METHOD WORD...
    local form="DATASET SEED"
    if [[ "$1" != zsclip ]]; then form="$form [SOURCE]$(backbone_of "$1" "[BACKBONE]")"; fi
    xd_begin "$1" "$form" "${@:2}"
    method_runs "$1" "${CFG:-}" :
    dataset=$target
    # the folders' names say nothing of the usual source
    if [[ "$source_set" != "$default_source" ]]; then label=${label%-from-*}-from-$(name_of "$source_set"); fi
    test_run "$(run_dir "xd/test/$(name_of "$dataset")")"
}

# ---- few-shot learning -------------------------------------------------------------------------------------------

few_shot() { # METHOD WORD...
    begin "$1" few_shot
    parse_arguments "DATASET SEED$(backbone_of "$1" "[BACKBONE]")" "${@:2}"
    train_place=few_shot/$(name_of "$dataset") train_classes=all subset=all
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
