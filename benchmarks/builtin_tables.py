"""Print the figures recorded in the built-in's manifest as the tables of its page, docs/builtin-model.md.

    python benchmarks/builtin_tables.py [BUNDLE] [--into PAGE.md]

Figures come from `seetell evaluate --record` (recipes/builtin/measure.sh); nothing is computed here. With
`--into` the rows of the page that begin alike are replaced. A test holds the page to this.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from seetell.bundle.manifest import Measurement
from seetell.bundle.store import builtin_folder, open_bundle
from seetell.core.files import atomic_write_text

FLICKR8K = ("Flickr8k (en)", "Flickr8k (zh)")
RETRIEVAL = (
    ("text → photo R@1 / 5 / 10", ("text_to_image.r1", "text_to_image.r5", "text_to_image.r10")),
    ("photo → text R@1 / 5 / 10", ("image_to_text.r1", "image_to_text.r5", "image_to_text.r10")),
)
CAPTIONS = "BLEU-4 / ROUGE-L / CIDEr-D (Chinese per character)"
UNSURE = "captions that are unsure, and measured as what is said instead"
EVERYDAY = ("everyday questions (en)", "everyday questions (zh)")
KINDS = (
    ("is it there? (71 words, as many yes as no)", "presence"),
    ("one of two (a dog or a horse?)", "choice"),
    ("where?", "where"),
    ("which sport?", "sport"),
    ("which animal?", "animal"),
    ("what is somebody doing?", "doing"),
    ("what colour?", "colour"),
    ("how many, two or more", "count_more"),
    ("man or woman, boy or girl?", "gender"),
    ("indoors or outdoors?", "indoors"),
    ("day or night? (22 questions)", "day"),
)
TRAFFIC = ("voc_traffic", "voc_traffic_zh")
TRAFFIC_KINDS = (
    ("voc_traffic: is it there? English / Chinese", "presence"),
    ("voc_traffic: how many, two or more. English / Chinese", "count_more"),
    ("voc_traffic: left or right? English / Chinese", "side"),
)
ANSWERED = (("DAQUAR", ""), ("easy-VQA", "version 4: 100"))
LABELS = (
    ("Imagenette (its eyes know these photos' like: see the terms)", "Imagenette (en)"),
    ("Caltech 101", "Caltech 101 (en)"),
    ("clothing-dataset-small", "clothing-dataset-small (en)"),
)


def rows(measurements: list[Measurement]) -> Iterator[tuple[str, ...]]:
    """The cells of each row, its heading first."""
    known = {(one.dataset, one.metric): one for one in measurements if one.split != "gate"}

    def value(dataset: str, metric: str, decimals: int = 1) -> str:
        return f"{known[dataset, metric].value:.{decimals}f}"

    def within(dataset: str, metric: str) -> str:
        low, high = known[dataset, metric].interval or (known[dataset, metric].value,) * 2
        return f"{value(dataset, metric)} ({low:.1f} – {high:.1f})"

    for heading, metrics in RETRIEVAL:
        yield heading, *(" / ".join(value(one, metric) for metric in metrics) for one in FLICKR8K)
    yield (
        CAPTIONS,
        *(
            f"{value(one, 'captions.bleu_4')} / {value(one, 'captions.rouge_l')} / "
            f"{value(one, 'captions.cider', 2)}"
            for one in FLICKR8K
        ),
    )
    yield UNSURE, *(f"{value(one, 'captions.unsure')}%" for one in FLICKR8K)
    for heading, kind in KINDS:
        abstained = (value(one, f"vqa_kinds.{kind}.abstained", 0) for one in EVERYDAY)
        exact = (within(one, f"vqa_kinds.{kind}.exact_match") for one in EVERYDAY)
        yield heading, *exact, " / ".join(f"{one}%" for one in abstained)
    for heading, kind in TRAFFIC_KINDS:
        exact = (within(one, f"vqa_kinds.{kind}.exact_match") for one in TRAFFIC)
        abstained = (value(one, f"vqa_kinds.{kind}.abstained", 0) for one in TRAFFIC)
        of_others = " / ".join(value(one, f"vqa_kinds.{kind}.accuracy_answered", 0) for one in TRAFFIC)
        asides = f"abstains from {' / '.join(abstained)}%; of the others {of_others} are right"
        yield heading, " / ".join(exact), asides
    for dataset, aside in ANSWERED:
        yield dataset, within(dataset, "vqa.exact_match"), aside
    for heading, dataset in LABELS:
        yield heading, within(dataset, "zero_shot.top_1"), value(dataset, "zero_shot.top_5")


def lines(measurements: list[Measurement]) -> list[str]:
    return [f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in rows(measurements)]


def renewed(page: str, printed: list[str]) -> str:
    """The page with the rows that begin as these do replaced by them."""
    of_heading = {line.split(" | ")[0]: line for line in printed}
    return "\n".join(of_heading.get(line.split(" | ")[0], line) for line in page.split("\n"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", type=Path, default=builtin_folder())
    parser.add_argument("--into", type=Path, help="a page whose rows are replaced")
    given = parser.parse_args()
    printed = lines(list(open_bundle(given.bundle).manifest.measurements))
    print("\n".join(printed))
    if given.into is not None:
        atomic_write_text(given.into, renewed(given.into.read_text(encoding="utf-8"), printed))


if __name__ == "__main__":
    main()
