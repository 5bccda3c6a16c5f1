#!/bin/sh
# The built-in model from nothing, about eight hours on 2 cores. Stopped, it goes on where it was when run again.
#   SEETELL_DATA=DATA sh recipes/builtin/all.sh OUT
# writes the bundle OUT; runs are kept below runs/builtin.
set -eu
out=$1
here=$(dirname "$0")

learn() {
    for stage in "$@"; do seetell train "$here/$stage.yaml"; done
}

# Between what a stage began with and what it ended with (Wortsman et al. 2022), which finds more than either.
average() {
    test -d "runs/builtin/$1-half" || seetell convert "runs/builtin/$1" "runs/builtin/$1-half" --interpolate 0.5
}

learn 1-image 2-joint 3-longer 4-captions 5-image-again 6-all
learn 7-image-more
average 7-image-more
learn 8-image-longer
average 8-image-longer
learn 9-all
seetell convert runs/builtin/9-all "$out" \
    --average runs/builtin/7-image-more-half=0.4 --average runs/builtin/4-captions=0.2
