# shellcheck shell=bash
# Which data set a word of the command line means: sourced by common.sh, never run by itself.

own_set_usage="or a path: your folder of images, or your .csv or .json list of them (docs/datasets.md)"

known_sets() { names_in datasets | sed 's/ folder / /'; } # by name; folder stands for those that come as a path

# A data set is known by a configuration's name, or by the absolute path of one of the user's own.
# Sets found to that, from a word of the command line.
find_set() { # WORD
    local path
    found=$1
    [[ -n "$1" ]] || return 1
    if [[ "$1" != */* && -f "configs/datasets/$1.yaml" ]]; then
        [[ "$1" != folder || "${OPTIONS:-}" == *DATASET.DIR* ]] ||
            usage "'folder' stands for any set of your own: give the set's path in place of that word"
        return
    fi
    path=$(from_here "$1")
    if [[ -d "$path" ]]; then
        found=$(cd "$path" && pwd)
    elif [[ -f "$path" && ("$path" == *.csv || "$path" == *.json) ]]; then
        found=$(cd "$(dirname "$path")" && pwd)/$(basename "$path")
    else
        return 1
    fi
}

unknown_set() { # WORD
    case "$1" in
        */* | *.csv | *.json) usage "there is no folder and no .csv or .json list at '$1'" ;;
        *) usage "unknown data set '$1': neither one of the names below nor a folder or list of your own" ;;
    esac
}

name_of() { # SET: its name in folders and tables; datasets/folder.py says the same
    local name=${1##*/}
    if [[ "$1" == /* && ! -d "$1" ]]; then name=${name%.*}; fi
    echo "$name"
}

# Sets set_words to what tells train.py the data set.
describe_set() { # SET
    case "$1" in
        /*) set_words=(--dataset-config-file configs/datasets/folder.yaml DATASET.DIR "$1") ;;
        *) set_words=(--dataset-config-file "configs/datasets/$1.yaml") ;;
    esac
}

# The results' folders say no more than a set's name: those of another set, or of this one before it was changed,
# must not be taken for this one's.
refuse_foreign_results() { # SET
    local name words logs log other remedy
    remedy="set OUTPUT to another folder, or remove those results"
    name=$(name_of "$1")
    case "$1" in /*) words="DATASET.DIR $1 " ;; *) words="datasets/$1.yaml " ;; esac
    logs=("$OUTPUT"/*/"$name"/shots_*/*/*/seed*/log.txt "$OUTPUT"/*/*/"$name"/shots_*/*/*/seed*/log.txt)
    # a line without that option is not train.py's own, and does not say
    other=$(grep -as "^arguments: .*--dataset-config-file " /dev/null "${logs[@]}" | sed 's/$/ /' |
        grep -avF -m 1 -- "$words" || true)
    [[ -z "$other" ]] || fail "$OUTPUT has results of a data set of the same name, $name, from elsewhere:" \
        "${other%%:arguments*}; $remedy"
    [[ "$1" == /* ]] || return 0
    for log in "${logs[@]}"; do
        for other in "$1/split.json" "$1/classnames.txt" "$1"; do
            [[ -f "$log" && -f "$other" && "$other" -nt "$log" ]] || continue
            fail "$name is not what it was: $other is newer than the results $log; $remedy"
        done
    done
}
