"""What captions could gain without training: of the beams, the one that is likely and fits its photo.

    python benchmarks/caption_choices.py CAPTIONS.json IMAGES [--model BUNDLE] [--language en] [--beams 10]

Each photo's beams are written once, by the model's own penalties, and ranked again by mean log-probability
plus a weight times the cosine of photo and caption (`fit_weight` of GenerationOptions). Prints BLEU-4,
ROUGE-L, CIDEr-D and the mean length for each weight as a Markdown table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import seetell
from seetell.core.results import Caption
from seetell.data.coco import read_coco_captions
from seetell.evaluation.caption_tokens import caption_tokens
from seetell.evaluation.captions import score_captions

WEIGHTS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("captions", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", default=None)
    parser.add_argument("--language", default="en")
    parser.add_argument("--beams", type=int, default=10)
    parser.add_argument("--limit", type=int, default=None, help="photos; default all")
    given = parser.parse_args()
    records = read_coco_captions(given.captions, given.images)[: given.limit]
    photos = [record.photo for record in records]
    with seetell.load(given.model) as model:
        options = model.generation_options(beams=given.beams, fit_weight=0.0)
        written: list[list[Caption]] = list(
            model.stream("captions", photos, count=given.beams, language=given.language, options=options)
        )
        images = list(model.stream("embed_images", photos))
        cosines = [
            model.embed_texts([one.text for one in several]) @ image
            for several, image in zip(written, images, strict=True)
        ]
    references = [record.texts(given.language) for record in records]
    print("| fit_weight | BLEU-4 | ROUGE-L | CIDEr-D | length |\n|---|---|---|---|---|")
    for weight in WEIGHTS:
        chosen = [
            several[int(np.argmax([one.score for one in several] + weight * cosine))].text
            for several, cosine in zip(written, cosines, strict=True)
        ]
        scores = score_captions(chosen, references, given.language)
        length = np.mean([len(caption_tokens(text, given.language)) for text in chosen])
        figures = (scores["bleu_4"].value, scores["rouge_l"].value, scores["cider"].value, length)
        print(f"| {weight:g} | {figures[0]:.2f} | {figures[1]:.2f} | {figures[2]:.4f} | {figures[3]:.1f} |")


if __name__ == "__main__":
    main()
