"""Fit how probable it is that a hit of a search fits, and that a label does: `score.search`, `score.labels`.

    python benchmarks/search_confidence.py BUNDLE FLICKR8K [--labelled FOLDER] [--keep]

FLICKR8K holds `captions_train.json`, `captions_dev.json` (English and Chinese) and `images/`. Queries are
made from captions: a thing that a caption names, two of them, and captions that name three or more. A photo
fits where its captions, in either language, name all that a query names (`search_things.txt` has the words);
a caption fits its own photo, too. Absent are things that no caption of the photos searched names. Of a list
of labels one or more fit, or none.

The probabilities are fitted on 3,000 of the train photos, in indexes of 900 and of 100; the model was
taught with them, so it is a little better at them than at others. With `--labelled`, folders of photos
named for what they show, half of the indexes have some of those among them: without, a word that captions
never say looks absent wherever it is looked for. The thresholds let one in ten of what is absent be
answered there. What comes of it is measured on the dev photos (and on labelled photos of numbers that end
in 9), with the search and `classify` themselves, and printed, a JSON object for each language. Composed
queries ("a dog reading a newspaper") put together what no photo does. `--keep` writes the fit into the
bundle's manifest, in place of an earlier one.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seetell.bundle.manifest import (
    FORMAT,
    MANIFEST_NAME,
    FitProbability,
    Manifest,
    ScoreSpec,
    manifest_json,
    read_manifest,
)
from seetell.bundle.store import resolve
from seetell.core.files import atomic_write_text
from seetell.data.coco import read_coco_captions
from seetell.evaluation.calibration import score_calibration
from seetell.evaluation.logistic import fit_logistic, sigmoid
from seetell.runtime.select import choose_engine
from seetell.search.photo_index import PhotoIndex
from seetell.search.rows import SAMPLE
from seetell.tasks.fitting import BESIDE, EVIDENCE, background_text, background_vectors, evidence
from seetell.tasks.model import Model

LANGUAGES = ("en", "zh")
THINGS = Path(__file__).with_name("search_things.txt")
TRAIN_PHOTOS, LABELLED_PHOTOS, BACKGROUND = 3000, 6, 256
# Photos per index, how many indexes, and of each how many queries for what is there and for what is not.
INDEXES = ((900, 4, 250), (100, 4, 60))
QUERIES, LISTS, HITS, LABELS = 200, 400, 10, 8
# Of 100 absent things of the train photos so many are answered, chosen for no more than 10 on the dev photos,
# of which the model has learned nothing. And of 100 lists of which no label fits so many.
ANSWERED_SEARCHES = {"en": 6.0, "zh": 12.0}
ANSWERED_LISTS, HIT_BELOW = 7.5, 0.05
COLOURS = {"red", "blue", "green", "yellow", "orange", "pink", "white", "black", "brown"}
# From this thing on come what most photos show, colours and what people do: no labels.
SCENERY_FROM = "man"
# A caption that names fewer fits too many photos to be told apart.
_FEWEST_NAMED = 3
_COMPOSED = {
    "en": (
        "a {} {}",
        ("dog", "cat", "horse", "baby", "bird"),
        ("reading a newspaper", "driving a bus", "playing the piano", "cooking soup", "typing on a computer"),
    ),
    "zh": (
        "一个{}{}",
        ("狗", "猫", "马", "婴儿", "鸟"),
        ("在看报纸", "在开公交车", "在弹钢琴", "在煮汤", "在用电脑打字"),
    ),
}


class Things:
    """What photos may show. words: by language, of each of T things, its name first."""

    def __init__(self, words: dict[str, list[list[str]]]) -> None:
        self._words = words
        self._places: dict[str, list[int]] = {}
        for place, several in enumerate(words["en"]):
            for form in {form for word in several for form in _forms(word)}:
                self._places.setdefault(form, []).append(place)
        self._longest = 1 + max(form.count(" ") for form in self._places)

    def __len__(self) -> int:
        return len(self._words["en"])

    def names(self, language: str) -> list[str]:
        """What each is called."""
        return [words[0] for words in self._words[language]]

    def said(self, language: str, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Which things each text names: bool[N, T]."""
        found = np.zeros((len(texts), len(self)), np.bool_)
        for row, text in enumerate(texts):
            if language == "zh":
                found[row] = [any(word in text for word in words) for words in self._words["zh"]]
                continue
            read = re.findall(r"[a-z'-]+", text.lower())
            for first in range(len(read)):
                for end in range(first + 1, min(first + self._longest, len(read)) + 1):
                    found[row, self._places.get(" ".join(read[first:end]), [])] = True
        return found


def _forms(word: str) -> set[str]:
    return {word, word + "s", word + "es", *([word[:-1] + "ies"] if word.endswith("y") else [])}


def read_things(path: Path = THINGS) -> Things:
    """A line for each thing: English words | Chinese words."""
    words: dict[str, list[list[str]]] = {language: [] for language in LANGUAGES}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            for language, part in zip(LANGUAGES, line.split("|"), strict=True):
                words[language].append([word.strip() for word in part.split(",")])
    return Things(words)


@dataclass(frozen=True, slots=True)
class Photos:
    """Of N photos. captions: by language, of each. fits: bool[N, T], the things that its captions name."""

    paths: list[Path]
    captions: dict[str, list[list[str]]]
    fits: NDArray[np.bool_]

    def of(self, rows: NDArray[np.intp]) -> Photos:
        """Some of them."""
        captions = {language: [texts[row] for row in rows] for language, texts in self.captions.items()}
        return Photos([self.paths[row] for row in rows], captions, self.fits[rows])

    def __add__(self, more: Photos) -> Photos:
        captions = {language: texts + more.captions[language] for language, texts in self.captions.items()}
        return Photos(self.paths + more.paths, captions, np.concatenate([self.fits, more.fits]))


def read_photos(folder: Path, split: str, things: Things, count: int | None = None) -> Photos:
    """``count`` photos evenly spread over those of a split, or all."""
    records = read_coco_captions(folder / f"captions_{split}.json", folder / "images")
    records = records[:: 1 if count is None else max(1, len(records) // count)][:count]
    captions = {language: [list(one.texts(language)) for one in records] for language in LANGUAGES}
    fits = np.zeros((len(records), len(things)), np.bool_)
    for language, texts in captions.items():
        fits |= things.said(language, [" . ".join(several) for several in texts])
    return Photos([one.photo for one in records], captions, fits)


def read_labelled(folder: Path, things: Things, count: int, *, held_out: bool) -> Photos:
    """Up to ``count`` photos of each class whose name names a thing; a folder for each class. The name is all
    that is said of its photos. held_out: those of numbers that end in 9, else none of these."""
    paths: list[Path] = []
    for place in sorted(one for one in folder.iterdir() if one.is_dir()):
        if things.said("en", [place.name]).any():
            photos = sorted(place.glob("*.jpg"))
            paths += [one for one in photos if one.stem.endswith("9") == held_out][:count]
    fits = things.said("en", [path.parent.name for path in paths])
    captions = {
        language: [[things.names(language)[one] for one in np.flatnonzero(row)] for row in fits]
        for language in LANGUAGES
    }
    return Photos(paths, captions, fits)


@dataclass(frozen=True, slots=True)
class Query:
    """kind: thing, pair, caption, absent or composed. fits: bool[N], of the photos searched."""

    kind: str
    text: str
    fits: NDArray[np.bool_]


def present(photos: Photos, things: Things, language: str, count: int, seed: int) -> list[Query]:
    """Queries for what is there, of three kinds in turn."""
    draw = random.Random(seed)
    names, english = things.names(language), things.names("en")
    found: dict[str, Query] = {}
    for _ in range(100 * count):
        if len(found) == count:
            break
        photo = draw.randrange(len(photos.paths))
        text = draw.choice(photos.captions[language][photo] or [""]).rstrip(" .。")
        named = np.flatnonzero(things.said(language, [text])[0]).tolist()
        # A child is named wherever a boy is.
        plain = [one for one in named if english[one] not in {*COLOURS, "child"}]
        kind = ("thing", "pair", "caption")[len(found) % 3]
        if kind == "caption":
            asked = [one for one in named if english[one] != "child"]
            fewest = _FEWEST_NAMED
        else:
            asked = draw.sample(plain, min(len(plain), 1 if kind == "thing" else 2))
            fewest = 1 if kind == "thing" else 2
            text = (" and " if language == "en" else "和").join(names[one] for one in asked)
        if len(asked) < fewest:
            continue
        fits = np.asarray(photos.fits[:, asked].all(axis=1))
        fits[photo] = True
        found.setdefault(text, Query(kind, text, fits))
    return list(found.values())


def absent(photos: Photos, things: Things, language: str, count: int, seed: int) -> list[Query]:
    """Queries for things that no photo shows, as far as its captions say."""
    gone = np.flatnonzero(~photos.fits.any(axis=0)).tolist()
    random.Random(seed).shuffle(gone)
    nowhere = np.zeros(len(photos.paths), np.bool_)
    return [Query("absent", things.names(language)[one], nowhere) for one in gone[:count]]


def composed(photos: Photos, language: str) -> list[Query]:
    """Queries for what may be there, doing what is not done."""
    form, who, what = _COMPOSED[language]
    nowhere = np.zeros(len(photos.paths), np.bool_)
    return [Query("composed", form.format(one, does), nowhere) for one in who for does in what]


@dataclass(frozen=True, slots=True)
class Listed:
    """A photo and labels to choose from, by their places. fits: of each label."""

    photo: int
    labels: list[int]
    fits: NDArray[np.bool_]


def listed(photos: Photos, things: Things, count: int, seed: int) -> list[Listed]:
    """For every second photo a list of labels with one or more that fit, for the others one with none."""
    draw = random.Random(seed)
    english = things.names("en")
    scenery = english.index(SCENERY_FROM)
    found: list[Listed] = []
    while len(found) < count:
        photo = draw.randrange(len(photos.paths))
        fits = photos.fits[photo]
        shown = np.flatnonzero(fits[:scenery]).tolist()
        others = np.flatnonzero(~fits[:scenery]).tolist()
        if not shown:
            continue
        labels = draw.sample(others, LABELS)
        if len(found) % 2 == 0:
            labels[draw.randrange(LABELS)] = draw.choice(shown)
        found.append(Listed(photo, labels, fits[labels]))
    return found


def search_evidence(
    model: Model,
    queries: Sequence[Query],
    vectors: NDArray[np.float32],
    background: NDArray[np.float32],
    contrast: NDArray[np.float32],
) -> Iterator[tuple[Query, NDArray[np.float64], NDArray[np.bool_]]]:
    """Of each query what speaks for its nearest photos, float64[HITS, F], and which of them fit."""
    every = max(1, -(-len(vectors) // SAMPLE))
    others = np.concatenate([vectors[::every], background[:BESIDE]])
    for query, text in zip(queries, model.embed_texts([one.text for one in queries]), strict=True):
        nearest = np.argsort(-(vectors @ text), kind="stable")[:HITS]
        yield query, evidence(text, vectors[nearest], others, contrast), query.fits[nearest]


def fitted_search(
    model: Model,
    photos: Photos,
    vectors: NDArray[np.float32],
    things: Things,
    background: NDArray[np.float32],
    language: str,
    captioned: int,
) -> FitProbability:
    """Fitted on searches of indexes drawn from the photos; the threshold on those of many captioned photos,
    which are the first ``captioned``."""
    contrast = model.embed_texts(things.names(language))
    draw = np.random.default_rng(0)
    features, right = [], []
    gone: list[NDArray[np.float64]] = []
    for size, times, count in INDEXES:
        for number in range(times):
            # Every second index has photos of labelled things among them.
            pool = len(vectors) if number % 2 else captioned
            rows = np.sort(draw.choice(pool, min(size, pool), replace=False))
            mine = photos.of(rows)
            queries = present(mine, things, language, count, number)
            queries += absent(mine, things, language, count, number)
            for query, seen, fits in search_evidence(model, queries, vectors[rows], background, contrast):
                features.append(seen)
                right.append(fits)
                if query.kind == "absent" and size == INDEXES[0][0] and pool == captioned:
                    gone.append(seen)
    bias, weights = fit_logistic(np.concatenate(features), np.concatenate(right).astype(np.float64))
    best = [float(sigmoid(bias + seen @ weights).max()) for seen in gone]
    return _fit(bias, weights, float(np.quantile(best, 1 - ANSWERED_SEARCHES[language] / 100)), HIT_BELOW)


def fitted_labels(
    photos: Photos,
    vectors: NDArray[np.float32],
    things: Things,
    background: NDArray[np.float32],
    labels: NDArray[np.float32],
) -> FitProbability:
    """Fitted on the best label of lists. labels: float32[T, S], the things' vectors as labels."""
    features, right = [], []
    for one in listed(photos, things, 4000, 0):
        of_labels = labels[one.labels]
        best = int((of_labels @ vectors[one.photo]).argmax())
        features.append(evidence(of_labels[best], vectors[one.photo][None], background, labels)[0])
        # What is best of a list in which nothing fits is wrong in any case.
        right.append((bool(one.fits[best]), bool(one.fits.any())))
    seen, fits = np.array(features), np.array(right)
    bias, weights = fit_logistic(seen, fits[:, 0].astype(np.float64))
    chances = sigmoid(bias + seen @ weights)
    return _fit(bias, weights, float(np.quantile(chances[~fits[:, 1]], 1 - ANSWERED_LISTS / 100)), 0.0)


def _fit(bias: float, weights: NDArray[np.float64], nothing: float, hit: float) -> FitProbability:
    by_name = dict(zip(EVIDENCE, (round(float(one), 5) for one in weights), strict=True))
    return FitProbability(
        bias=round(bias, 5), **by_name, nothing_below=round(nothing, 4), hit_below=min(hit, nothing)
    )


def measured_search(
    index: PhotoIndex, photos: Photos, things: Things, language: str, seed: int
) -> dict[str, Any]:
    """How searches of these photos do, those of what is there and what is not."""
    place = {str(path): number for number, path in enumerate(photos.paths)}
    queries = present(photos, things, language, QUERIES, seed)
    queries += absent(photos, things, language, QUERIES, seed)
    chances: list[float] = []
    right: list[float] = []
    answered: dict[str, list[bool]] = {}
    kept: dict[str, list[bool]] = {}
    shown: list[bool] = []
    for query in [*queries, *composed(photos, language)]:
        hits = index.search(query.text, k=HITS, min_probability=0.0)
        left = {hit.photo for hit in index.search(query.text, k=HITS)}
        answered.setdefault(query.kind, []).append(bool(left))
        for hit in hits:
            fits = bool(query.fits[place[hit.photo]])
            if query.kind != "composed":
                assert hit.probability is not None
                chances.append(hit.probability)
                right.append(float(fits))
            if fits:
                kept.setdefault(query.kind, []).append(hit.photo in left)
            if query.kind not in ("absent", "composed") and hit.photo in left:
                shown.append(fits)
    there = [one for several in kept.values() for one in several]
    return {
        "queries": {kind: len(several) for kind, several in answered.items()},
        "absent_answered": _percent(answered["absent"]),
        "composed_answered": _percent(answered["composed"]),
        "right_hits_kept": _percent(there),
        "kept_by_kind": {kind: _percent(several) for kind, several in kept.items()},
        "present_answered": _percent(one for kind in ("thing", "pair", "caption") for one in answered[kind]),
        "right_of_shown": _percent(shown),
        "ece": _ece(chances, right),
    }


def measured_labels(model: Model, photos: Photos, things: Things, language: str, seed: int) -> dict[str, Any]:
    """How lists of labels do, those in which one fits and those in which none does."""
    names = things.names(language)
    chances, right = [], []
    kept, answered, best_right = [], [], []
    for one in listed(photos, things, 2 * LISTS, seed):
        found = model.classify(
            photos.paths[one.photo], [names[label] for label in one.labels], language=language
        )
        assert found.none_probability is not None
        fits = bool(one.fits[one.labels.index(names.index(found.label))])
        chances.append(1 - found.none_probability)
        right.append(float(fits))
        if fits:
            kept.append(not found.none)
        if one.fits.any():
            best_right.append(fits)
        else:
            answered.append(not found.none)
    return {
        "lists": {"one_fits": len(best_right), "none_fits": len(answered)},
        "none_fits_answered": _percent(answered),
        "right_labels_kept": _percent(kept),
        "best_label_right": _percent(best_right),
        "ece": _ece(chances, right),
    }


def _percent(flags: Iterable[bool]) -> float | None:
    given = list(flags)
    return round(100 * sum(given) / len(given), 1) if given else None


def _ece(chances: Sequence[float], right: Sequence[float]) -> float:
    found = score_calibration(list(chances), right, range(len(right)), of="fits")
    return round(found.scores["ece"].value, 1)


def with_fit(
    manifest: Manifest,
    search: dict[str, FitProbability],
    labels: dict[str, FitProbability],
    things: Things,
    background: str,
) -> Manifest:
    """A manifest that has what was fitted."""
    score: ScoreSpec = manifest.score.model_copy(
        update={"search": search, "labels": labels, "background": background}
    )
    contrast = {language: tuple(things.names(language)) for language in search}
    prompts = {**manifest.prompts, "contrast": contrast}
    # What an earlier format does not know makes it this one.
    return manifest.model_copy(update={"format": FORMAT, "score": score, "prompts": prompts})


def fit_bundle(
    folder: Path,
    data: Path,
    *,
    labelled: Path | None = None,
    precision: str = "auto",
    keep: bool = False,
) -> list[dict[str, Any]]:
    """Fit every language of ``LANGUAGES`` that the bundle knows, with ``keep`` into its manifest. Returns the
    reports."""
    things = read_things()
    bundle = resolve(folder)
    engine = choose_engine(bundle, precision=precision, device="auto", threads=None, streams=1)
    with Model(bundle.manifest, bundle.tokenizer(), engine) as model:
        languages = [language for language in LANGUAGES if language in model.languages]
        train = read_photos(data, "train", things, TRAIN_PHOTOS)
        is_captioned = np.arange(len(train.paths)) < len(train.paths)
        if labelled is not None:
            train += read_labelled(labelled, things, LABELLED_PHOTOS, held_out=False)
            is_captioned = np.arange(len(train.paths)) < len(is_captioned)
        every = model.embed_images(train.paths)
        apart = np.zeros(len(every), np.bool_)
        # In no order, because in some places only the first of them count.
        apart[np.random.default_rng(0).choice(len(every), BACKGROUND, replace=False)] = True
        kept_text = background_text(np.random.default_rng(1).permutation(every[apart]))
        background = background_vectors(kept_text, every.shape[1])
        rest = np.flatnonzero(~apart)
        photos, vectors = train.of(rest), every[rest]
        search, labels = {}, {}
        for language in languages:
            search[language] = fitted_search(
                model, photos, vectors, things, background, language, int(is_captioned[rest].sum())
            )
            templates = bundle.manifest.prompts.get("classify", {}).get(language) or ("{}",)
            names = things.names(language)
            prompts = [form.replace("{}", name) for name in names for form in templates]
            means = model.embed_texts(prompts).reshape(len(names), len(templates), -1).mean(axis=1)
            as_labels = means / np.linalg.norm(means, axis=1, keepdims=True)
            labels[language] = fitted_labels(
                photos, vectors, things, background, as_labels.astype(np.float32)
            )
        manifest = with_fit(bundle.manifest, search, labels, things, kept_text)
        reports = _measured(Model(manifest, bundle.tokenizer(), engine), data, labelled, things, languages)
    for report in reports:
        language = report["language"]
        report["fit"] = {"search": search[language].model_dump(), "labels": labels[language].model_dump()}
    if keep:
        kept = read_manifest(folder)
        atomic_write_text(
            folder / MANIFEST_NAME, manifest_json(with_fit(kept, search, labels, things, kept_text))
        )
    return reports


def _measured(
    model: Model, data: Path, labelled: Path | None, things: Things, languages: Sequence[str]
) -> list[dict[str, Any]]:
    dev = read_photos(data, "dev", things)
    index = PhotoIndex(None, model)
    index.add(dev.paths)
    reports: list[dict[str, Any]] = [
        {
            "language": language,
            "precision": model.precision,
            "search": measured_search(index, dev, things, language, 1),
            "labels": measured_labels(model, dev, things, language, 1),
        }
        for language in languages
    ]
    if labelled is not None:
        held = read_labelled(labelled, things, 1, held_out=True)
        index.add(held.paths)
        for report in reports:
            report["labelled"] = measured_labelled(index, model, held, things, report["language"])
    return reports


def measured_labelled(
    index: PhotoIndex, model: Model, held: Photos, things: Things, language: str
) -> dict[str, Any]:
    """How searches for labelled things do, of which the index has a photo or two among many others, and lists
    of labels with the photo's own. Only that photo is known to fit: others are not counted."""
    names = things.names(language)
    place = {str(path): number for number, path in enumerate(held.paths)}
    kept: list[bool] = []
    for one in np.flatnonzero(held.fits.any(axis=0)):
        left = {hit.photo for hit in index.search(names[one], k=HITS)}
        for hit in index.search(names[one], k=HITS, min_probability=0.0):
            if hit.photo in place and held.fits[place[hit.photo], one]:
                kept.append(hit.photo in left)
    labels = []
    for listing in listed(held, things, 2 * len(held.paths), 0):
        if listing.fits.any():
            found = model.classify(
                held.paths[listing.photo], [names[label] for label in listing.labels], language=language
            )
            if listing.fits[listing.labels.index(names.index(found.label))]:
                labels.append(not found.none)
    return {"n": len(held.paths), "right_hits_kept": _percent(kept), "right_labels_kept": _percent(labels)}


def main() -> None:
    """Print a report for each language."""
    parser = argparse.ArgumentParser(description="Fit how probable it is that hits and labels fit.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path, help="Flickr8k: captions_train.json, captions_dev.json, images/")
    parser.add_argument("--labelled", type=Path, help="photos in folders named for what they show")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--keep", action="store_true", help="write into the manifest")
    given = parser.parse_args()
    reports = fit_bundle(
        given.bundle, given.data, labelled=given.labelled, precision=given.precision, keep=given.keep
    )
    for report in reports:
        print(json.dumps(report, ensure_ascii=False))


if __name__ == "__main__":
    main()
