"""What each way of writing captions gives and takes: greedy, beams, mask-predict; `no_repeat` or not.

    python benchmarks/caption_methods.py CAPTIONS.json IMAGES [--model BUNDLE] [--language en] [--limit 300]

Captions are taken as the model writes them, also those it is unsure of. The ways take turns, so that a busy
machine slows all of them, and the time is the processor's, of all threads. Prints BLEU-4, CIDEr-D, the
share of captions that say three words (Chinese: characters) twice, and milliseconds per caption, as a
Markdown table.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import seetell
from seetell.data.coco import read_coco_captions
from seetell.evaluation.captions import score_captions

BATCH = 32
WAYS: dict[str, dict[str, Any]] = {
    f"{name}, no_repeat {rule}": {**options, "no_repeat": rule}
    for name, options in (
        ("greedy", {"beams": 1}),
        ("beams", {}),
        ("mask-predict", {"method": "mask_predict"}),
    )
    for rule in (0, 3)
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Ways of writing captions.")
    parser.add_argument("captions", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", default=None)
    parser.add_argument("--language", default="en")
    parser.add_argument("--limit", type=int, default=300, help="photos")
    parser.add_argument("--precision", default="auto")
    given = parser.parse_args()
    records = read_coco_captions(given.captions, given.images)[: given.limit]
    photos = [record.photo for record in records]
    said: dict[str, list[str]] = defaultdict(list)
    spent_s: dict[str, float] = defaultdict(float)
    with seetell.load(given.model, precision=given.precision) as model:
        for first in range(-BATCH, len(photos), BATCH):
            # The first turn makes the graphs ready.
            some = photos[max(0, first) : max(0, first) + BATCH]
            for way, changes in WAYS.items():
                options = model.generation_options(**changes)
                started = time.process_time()
                found = model.caption(some, language=given.language, options=options)
                if first >= 0:
                    spent_s[way] += time.process_time() - started
                    said[way] += [one.written for one in found]
    references = [record.texts(given.language) for record in records]
    print("| | BLEU-4 | CIDEr-D | say three words twice | ms |\n|---|---|---|---|---|")
    for way, texts in said.items():
        scores = score_captions(texts, references, given.language)
        figures = [f"{scores[name].value:.{digits}f}" for name, digits in (("bleu_4", 1), ("cider", 3))]
        figures.append(f"{scores['repeats'].value:.1f}%")
        print(f"| {way} | {' | '.join(figures)} | {1000 * spent_s[way] / len(texts):.1f} |")


if __name__ == "__main__":
    main()
