"""Fit a bundle's confidence of captions on captions people wrote: `score.captions` of its manifest.

    python benchmarks/caption_confidence.py BUNDLE CAPTIONS.json IMAGES --synonyms F
        [--named N.json] [--things T.json] [--keep]

A caption is right where every object it names stands in one of its photo's captions (CHAIR's list of English
words, `--synonyms`; a table of Chinese ones). Photos of another kind than those, and pictures of nothing, may
go with them (`--named`: photo -> language -> names for what it shows): there a caption is right where it says
one of the names, and of a picture without any it never is. With questions whether things are there and the
words by which captions name them (`--things`: language -> a list of AskedThing, as a manifest has it), what
the model itself answers about what its caption names is held against it. So is how well the photo is fitted
by what says nothing of it (the last of the bundle's prompts `unsure`). The probability is fitted on every
second photo by number. The model is unsure of a caption that is more probably wrong than right
(`--least 0.5`), and of as many more as it takes for `--right 80` of 100 captions that are shown to be right
on those photos. What comes of both is measured on the other photos and printed, a JSON object for each
language. `--keep` writes the fit into the bundle's manifest, in place of an earlier one, which has no part in
a new fit.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import seetell
from seetell.bundle.manifest import (
    FORMAT,
    MANIFEST_NAME,
    AskedThing,
    CaptionConfidence,
    manifest_json,
    read_manifest,
)
from seetell.core.errors import UsageError
from seetell.core.files import atomic_write_text
from seetell.data.coco import read_coco_captions
from seetell.data.records import CaptionRecord
from seetell.evaluation.bootstrap import Bootstrap
from seetell.evaluation.calibration import pick_threshold, score_calibration
from seetell.evaluation.caption_confidence import equal_mass_ece, fit_confidence, names_only
from seetell.evaluation.chair import Vocabulary, read_synonyms
from seetell.tasks.question_kinds import read_question
from seetell.tasks.sureness import Naming, presence

RIGHT_PERCENT, LEAST = 80.0, 0.5


@dataclass(frozen=True, slots=True)
class NamedPhoto:
    """A photo and what its one thing is called, in one language; nothing for a picture of nothing."""

    photo: Path
    names: tuple[str, ...]

    def said_by(self, caption: str, language: str) -> bool:
        """Whether a caption says one of the names."""
        if language == "zh":
            return any(name in caption for name in self.names)
        return any(re.search(rf"\b{re.escape(name)}(s|es)?\b", caption, re.IGNORECASE) for name in self.names)


def read_named(path: Path, language: str) -> list[NamedPhoto]:
    """Photos are named from where the file lies. Those without an entry in the language are left out."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return [
        NamedPhoto(path.parent / photo, tuple(names[language]))
        for photo, names in document.items()
        if language in names
    ]


def read_things(path: Path) -> dict[str, tuple[AskedThing, ...]]:
    """Language -> what to ask for."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return {
        language: tuple(AskedThing.model_validate_json(json.dumps(one)) for one in several)
        for language, several in document.items()
    }


def fit_captions(
    model: seetell.Model,
    records: Sequence[CaptionRecord],
    language: str,
    vocabulary: Vocabulary | None,
    *,
    named: Sequence[NamedPhoto] = (),
    things: Sequence[AskedThing] = (),
    instead: Sequence[str] = (),
    right_percent: float = RIGHT_PERCENT,
    least: float = LEAST,
) -> tuple[CaptionConfidence, dict[str, Any]]:
    """What is fitted on one half of the photos, and how it does on the other. instead: what may be said in
    place of an unsure caption.

    Raises UsageError where no threshold makes ``right_percent`` of the captions right.
    """
    photos = [*(record.photo for record in records), *(one.photo for one in named)]
    captions = model.caption(photos, language=language)
    texts = [one.written for one in captions]
    said = {text: place for place, text in enumerate(dict.fromkeys(text for text in texts if text.strip()))}
    vectors = model.embed_texts(list(said))
    images = model.embed_images(photos)
    cosines = np.array(
        [
            float(image @ vectors[said[text]]) if text in said else 0.0
            for image, text in zip(images, texts, strict=True)
        ]
    )
    contrast = images @ model.embed_texts([instead[-1]])[0] if instead else None
    scores = np.array([one.score for one in captions])
    there = np.array(_presence(model, photos, texts, Naming(things, language)))
    right = np.array(
        [
            names_only(text, language, record.captions, vocabulary)
            for text, record in zip(texts, records, strict=False)
        ]
        + [one.said_by(text, language) for text, one in zip(texts[len(records) :], named, strict=True)]
    )
    numbers = {photo: place for place, photo in enumerate(sorted(record.photo_id for record in records))}
    even = np.array(
        [numbers[record.photo_id] % 2 == 0 for record in records]
        + [place % 2 == 0 for place in range(len(named))]
    )
    captioned = np.arange(len(photos)) < len(records)
    shows = np.array([True] * len(records) + [bool(one.names) for one in named])
    fitted = fit_confidence(
        scores[even],
        cosines[even],
        right[even],
        there[even] if things else None,
        None if contrast is None else contrast[even],
    )
    chances = fitted.chances(scores, cosines, there, contrast)
    threshold = pick_threshold(chances[even].tolist(), right[even].astype(float).tolist(), right_percent)
    if threshold is None:
        raise UsageError(
            f"{language}: no threshold makes {right_percent:g} of 100 captions right "
            f"({100 * right[even].mean():.0f} are without one); ask for fewer with --right"
        )
    unsure_below = max(threshold, least)
    confidence = CaptionConfidence(
        bias=fitted.bias,
        log_prob_weight=fitted.log_prob_weight,
        match_weight=fitted.match_weight,
        presence_weight=fitted.presence_weight,
        contrast_weight=fitted.contrast_weight,
        things=tuple(things),
        unsure_below=unsure_below,
    )
    report: dict[str, Any] = {
        "language": language,
        **{name: round(value, 4) for name, value in confidence.model_dump(exclude={"things"}).items()},
        "fitted_on": _judged(chances[even], right[even], unsure_below),
        "others": _judged(chances[~even], right[~even], unsure_below),
    }
    if named:
        # The others again, kind by kind.
        for name, some in (
            ("captioned", captioned),
            ("named", ~captioned & shows),
            ("of_nothing", ~shows),
        ):
            if (some & ~even).any():
                report[name] = _judged(chances[some & ~even], right[some & ~even], unsure_below)
    return confidence, report


def _presence(
    model: seetell.Model, photos: Sequence[Path], texts: Sequence[str], naming: Naming
) -> list[float]:
    """Of each photo and its caption, what ``presence`` makes of the model's answers."""
    asked = [(place, question) for place, text in enumerate(texts) for question in naming.questions(text)]
    chances: list[list[float | None]] = [[] for _ in texts]
    if asked:
        answers = model.ask([photos[place] for place, _ in asked], [text for _, text in asked], top=2)
        for (place, question), answer in zip(asked, answers, strict=True):
            yes, no = read_question(question).options
            told = {one.answer: one.confidence for one in answer.alternatives}
            chances[place].append(told[yes] / (told[yes] + told[no]))
    return [presence(own) for own in chances]


def _judged(chances: Any, right: Any, threshold: float) -> dict[str, Any]:
    """Percentages with their 95% intervals, of the captions of one half."""
    unsure = chances < threshold
    scores = score_calibration(
        chances.tolist(),
        right.astype(float).tolist(),
        range(len(right)),
        of="right",
        abstained=unsure.tolist(),
        bootstrap=Bootstrap(),
    ).scores
    shown = scores.get("accuracy_answered")
    return {
        "n": len(right),
        "right": _percent(right),
        "unsure": _percent(unsure),
        "right_of_shown": _percent(right[~unsure]),
        "interval": None if shown is None else [round(shown.low, 1), round(shown.high, 1)],
        "right_of_unsure": _percent(right[unsure]),
        "ece": round(equal_mass_ece(chances.tolist(), right.tolist()), 1),
    }


def _percent(share: Any) -> float | None:
    return round(100 * float(share.mean()), 1) if len(share) else None


def fit_bundle(
    folder: Path,
    captions: Path,
    images: Path,
    *,
    synonyms: Path,
    named: Path | None = None,
    things: Path | None = None,
    right_percent: float = RIGHT_PERCENT,
    least: float = LEAST,
    languages: Sequence[str] = (),
    precision: str = "auto",
    keep: bool = True,
) -> list[dict[str, Any]]:
    """Fit ``languages``, or every one that the bundle writes captions in, with ``keep`` into its manifest.
    Returns the reports."""
    records = read_coco_captions(captions, images)
    vocabulary = read_synonyms(synonyms)
    asked = {} if things is None else read_things(things)
    fitted: dict[str, CaptionConfidence] = {}
    reports = []
    with seetell.load(folder, precision=precision) as model:
        assert model.manifest.text is not None  # it writes captions
        for language in languages or model.manifest.text.decoder_start_ids:
            spoken = [record for record in records if record.texts(language)]
            fitted[language], report = fit_captions(
                model,
                spoken,
                language,
                vocabulary,
                named=[] if named is None else read_named(named, language),
                things=asked.get(language, ()),
                instead=model.manifest.prompts.get("unsure", {}).get(language, ()),
                right_percent=right_percent,
                least=least,
            )
            reports.append({**report, "precision": model.precision})
    if keep:
        keep_fitted(folder, fitted)
    return reports


def keep_fitted(folder: Path, fitted: Mapping[str, CaptionConfidence]) -> None:
    """Write into the manifest of a bundle what was fitted, by language."""
    manifest = read_manifest(folder)
    score = manifest.score.model_copy(update={"captions": {**manifest.score.captions, **fitted}})
    # What an earlier format does not know makes it this one.
    updated = manifest.model_copy(update={"format": FORMAT, "score": score})
    atomic_write_text(folder / MANIFEST_NAME, manifest_json(updated))


def main() -> None:
    """Print a report for each language."""
    parser = argparse.ArgumentParser(description="Fit a bundle's confidence of captions.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("captions", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--synonyms", type=Path, required=True, help="English words for objects")
    parser.add_argument("--named", type=Path, help="photos of other kinds: photo -> language -> names")
    parser.add_argument("--things", type=Path, help="what to ask of what captions name, by language")
    parser.add_argument("--right", type=float, default=RIGHT_PERCENT, help="of 100 captions shown")
    parser.add_argument("--least", type=float, default=LEAST, help="probability of one that is shown")
    parser.add_argument("--language", action="append", default=[], help="en or zh; left out, all")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--keep", action="store_true", help="write into the manifest")
    given = parser.parse_args()
    reports = fit_bundle(
        given.bundle,
        given.captions,
        given.images,
        synonyms=given.synonyms,
        named=given.named,
        things=given.things,
        right_percent=given.right,
        least=given.least,
        languages=given.language,
        precision=given.precision,
        keep=given.keep,
    )
    for report in reports:
        print(json.dumps(report, ensure_ascii=False))


if __name__ == "__main__":
    main()
