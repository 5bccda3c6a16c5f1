#!/bin/sh
# Measure a bundle on what was held out, in the int8 it ships, and keep the figures in its manifest.
#   sh recipes/builtin/measure.sh BUNDLE DATA
# DATA is the folder that all.sh makes: the data sets and, in `made`, the questions.
set -eu
bundle=$1
data=$2

record() {
    name=$1
    shift
    seetell evaluate --model "$bundle" --precision int8 --record "$name" "$@"
}

for language in en zh; do
    record Flickr8k:dev --captions "$data/flickr8k/captions_dev.json" \
        --images "$data/flickr8k/images" --language "$language"
done
for language in en zh; do
    set="$data/made/flickr8k_$language"
    record "everyday questions ($language):dev" --questions "$set/questions_dev.json" \
        --annotations "$set/annotations_dev.json" --images "$data/flickr8k/images"
done
for set in voc_traffic voc_traffic_zh; do
    record "$set:held out" --questions "$data/made/$set/questions_dev.json" \
        --annotations "$data/made/$set/annotations_dev.json" --images "$data/voc_traffic/images"
done
record "easy-VQA:held out" --questions "$data/easy_vqa/questions_train.json" \
    --annotations "$data/easy_vqa/annotations_train.json" --images "$data/easy_vqa/images" --holdout 10:9
record "DAQUAR:held out" --questions "$data/daquar/questions_train.json" \
    --annotations "$data/daquar/annotations_train.json" --images "$data/daquar/images" --holdout 0.1
record "Imagenette:held out" --labelled "$data/labelled/imagenette" --holdout 10:9
record "Caltech 101:held out" --labelled "$data/labelled/caltech101" --holdout 10:9
record "clothing-dataset-small:held out" --labelled "$data/labelled/clothing" --holdout 10:9
