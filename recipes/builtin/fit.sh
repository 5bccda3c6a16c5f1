#!/bin/sh
# Fit how sure a bundle is of its answers, captions and what it finds, and keep it in its manifest: the first two on one
# half of what was held out, the last on train photos.
#   sh recipes/builtin/fit.sh BUNDLE DATA
set -eu
bundle=$1
data=$2
here=$(dirname "$0")/../../benchmarks

questions() { printf '%s %s %s' "$1/questions_$2.json" "$1/annotations_$2.json" "$3"; }

# shellcheck disable=SC2046  # three words each
python "$here/calibrate_answers.py" "$bundle" --precision int8 --keep \
    --set $(questions "$data/made/flickr8k_en" dev "$data/flickr8k/images") \
    --set $(questions "$data/made/flickr8k_zh" dev "$data/flickr8k/images") \
    --set $(questions "$data/made/voc_traffic" dev "$data/voc_traffic/images") \
    --set $(questions "$data/made/voc_traffic_zh" dev "$data/voc_traffic/images")
# So many of 100 captions that are shown are right; Chinese ones are told apart less well.
for fit in "en 87.5" "zh 77"; do
    python "$here/caption_confidence.py" "$bundle" "$data/flickr8k/captions_dev.json" "$data/flickr8k/images" \
        --synonyms "$data/metrics/chair_synonyms.txt" --named "$data/made/unsure/names.json" \
        --things "$data/made/unsure/things.json" --precision int8 \
        --language "${fit% *}" --right "${fit#* }" --keep
done
# How probable it is that a photo found by words, and a label given to one, is right.
python "$here/search_confidence.py" "$bundle" "$data/flickr8k" --labelled "$data/labelled/caltech101" \
    --precision int8 --keep
