"""Print the figures recorded in a bundle's manifest as the tables of the README.

    python benchmarks/measured_table.py [BUNDLE] [--language en|zh]

Figures come from `seetell evaluate --record`; nothing is computed here. A test holds the README to this.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from seetell.bundle.manifest import Measurement
from seetell.bundle.store import builtin_folder, open_bundle

HEADINGS = {
    "en": {
        "set": "set",
        "precision": "precision",
        "text_to_image": "text → photo R@1 / 5 / 10",
        "image_to_text": "photo → text R@1 / 5 / 10",
        "captions": "BLEU-4 / ROUGE-L / CIDEr-D",
        "vqa": "answers: exact match (95% interval)",
        "zero_shot": "labels as words: top-1 (95% interval)",
        "top_5": "top-5",
    },
    "zh": {
        "set": "数据",
        "precision": "精度",
        "text_to_image": "文字 → 照片 R@1 / 5 / 10",
        "image_to_text": "照片 → 文字 R@1 / 5 / 10",
        "captions": "BLEU-4 / ROUGE-L / CIDEr-D",
        "vqa": "回答完全匹配（95% 区间）",
        "zero_shot": "以词语给出的类别：top-1（95% 区间）",
        "top_5": "top-5",
    },
}
RECALLS = ("r1", "r5", "r10")


def tables(rows: list[Measurement], language: str) -> str:
    """One table of retrieval and captions, one of answers, and one of labels where any were measured, each in
    the order the figures were recorded."""
    heading = HEADINGS[language]
    sets: dict[tuple[str, str, str], dict[str, Measurement]] = {}
    for row in rows:
        # What the gate compared is of both precisions, on few photos, and not what the model is known by.
        if row.split == "gate":
            continue
        sets.setdefault((row.dataset, row.split, row.precision), {})[row.metric] = row
    pictures = [heading[key] for key in ("set", "text_to_image", "image_to_text", "captions", "precision")]
    answers = [heading[key] for key in ("set", "vqa", "precision")]
    labels = [heading[key] for key in ("set", "zero_shot", "top_5", "precision")]
    first, second = [_line(pictures), _rule(pictures)], [_line(answers), _rule(answers)]
    third: list[str] = []
    for (dataset, split, precision), found in sets.items():
        name = f"{dataset} {split}"
        if "text_to_image.r1" in found:
            captions = [
                _value(found, "captions.bleu_4", 1),
                _value(found, "captions.rouge_l", 1),
                _value(found, "captions.cider", 2),
            ]
            recalls = [_recalls(found, "text_to_image"), _recalls(found, "image_to_text")]
            first.append(_line([name, *recalls, " / ".join(captions), precision]))
        if "vqa.exact_match" in found:
            second.append(_line([name, _with_interval(found["vqa.exact_match"]), precision]))
        if "zero_shot.top_1" in found:
            top_5 = _value(found, "zero_shot.top_5", 1)
            third.append(_line([name, _with_interval(found["zero_shot.top_1"]), top_5, precision]))
    if third:
        third = ["", _line(labels), _rule(labels), *third]
    return "\n".join([*first, "", *second, *third])


def _with_interval(measured: Measurement) -> str:
    low, high = measured.interval or (measured.value, measured.value)
    return f"{measured.value:.1f} ({low:.1f} – {high:.1f})"


def _recalls(found: Mapping[str, Measurement], part: str) -> str:
    return " / ".join(_value(found, f"{part}.{recall}", 1) for recall in RECALLS)


def _value(found: Mapping[str, Measurement], metric: str, decimals: int) -> str:
    return f"{found[metric].value:.{decimals}f}" if metric in found else "–"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(cells: list[str]) -> str:
    return "|" + "---|" * len(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", type=Path, default=builtin_folder())
    parser.add_argument("--language", choices=sorted(HEADINGS), default="en")
    settings = parser.parse_args()
    print(tables(list(open_bundle(settings.bundle).manifest.measurements), settings.language))


if __name__ == "__main__":
    main()
