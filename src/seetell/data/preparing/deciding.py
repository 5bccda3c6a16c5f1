"""What stays and what goes, from what was measured: no file is opened here, so that another threshold is
another answer in seconds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from seetell.data.cleaning.duplicates import Look, find_twins
from seetell.data.cleaning.languages import NO_GUESS, Guess, spoken_language, wrong_language
from seetell.data.cleaning.limits import Limits
from seetell.data.cleaning.measurement import fault_detail, photo_fault
from seetell.data.cleaning.reasons import Reason
from seetell.data.cleaning.texts import compared, names_its_photo, text_fault, tidied
from seetell.data.photo_refs import PhotoRef
from seetell.data.preparing.measuring import Looked
from seetell.data.records import AskedQuestion, Sample

GIVEN, GENERATED = "given", "generated"


@dataclass(slots=True)
class Text:
    """A caption and what became of it. ``score`` is its agreement with the photo, None if it has none."""

    text: str
    language: str
    origin: str = GIVEN
    score: float | None = None
    reason: Reason | None = None


@dataclass(slots=True)
class Verdict:
    """What became of a sample. ``twin`` is the place of the sample that stays instead of it."""

    texts: list[Text]
    questions: list[AskedQuestion] = field(default_factory=list)
    reason: Reason | None = None
    detail: str = ""
    twin: int | None = None

    @property
    def kept_texts(self) -> list[Text]:
        """The captions that stay."""
        return [text for text in self.texts if text.reason is None]


def judge(samples: Sequence[Sample[PhotoRef]], looked: Sequence[Looked], limits: Limits) -> list[Verdict]:
    """Everything that can be said without a model, one verdict per sample."""
    verdicts = [_judged_alone(one, seen, limits) for one, seen in zip(samples, looked, strict=True)]
    _drop_twins(samples, looked, verdicts, limits)
    _drop_repeated(verdicts, limits)
    return verdicts


def drop_silent(samples: Sequence[Sample[PhotoRef]], verdicts: Sequence[Verdict], limits: Limits) -> None:
    """Leave out the photos about which nothing is said, or nothing any more. The last step."""
    for sample, verdict in zip(samples, verdicts, strict=True):
        if verdict.reason is not None or verdict.kept_texts or verdict.questions or sample.label is not None:
            continue
        if verdict.texts or not limits.keep_silent:
            reasons = Counter(text.reason for text in verdict.texts if text.reason is not None)
            verdict.reason = Reason.NO_TEXT
            verdict.detail = ", ".join(f"{reason.value} x{n}" for reason, n in reasons.most_common())


def apply_scores(verdicts: Sequence[Verdict], limits: Limits) -> dict[str, float]:
    """Leave out captions that match their photos badly. Returns the threshold in force for each language.

    A kept fraction is taken of each language apart: a model scores one language higher than another for
    reasons that have nothing to do with the photos.
    """
    scored: dict[str, list[Text]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.reason is None:
            for text in verdict.kept_texts:
                if text.score is not None:
                    scored[text.language].append(text)
    thresholds: dict[str, float] = {}
    for language, texts in scored.items():
        if limits.keep_fraction is not None:
            ordered = sorted((text.score or 0.0 for text in texts), reverse=True)
            thresholds[language] = ordered[max(1, round(len(ordered) * limits.keep_fraction)) - 1]
        elif limits.min_score is not None:
            thresholds[language] = limits.min_score
        if language in thresholds:
            for text in texts:
                if text.score is not None and text.score < thresholds[language]:
                    text.reason = Reason.LOW_SCORE
    return thresholds


def generated_text(text: str, language: str, verdict: Verdict, limits: Limits) -> Text:
    """A caption that a model wrote, after the checks a given one goes through."""
    plain = tidied(text)
    found = Text(plain, language, GENERATED, reason=text_fault(plain, limits))
    if found.reason is None and compared(plain) in {compared(one.text) for one in verdict.kept_texts}:
        found.reason = Reason.SAME_TEXT
    return found


def _judged_alone(sample: Sample[PhotoRef], seen: Looked, limits: Limits) -> Verdict:
    texts = [
        _judged_text(sample.key, text, claimed, guess, limits)
        for (text, claimed), guess in zip(sample.captions, _padded(seen, sample), strict=True)
    ]
    reason = photo_fault(seen.photo, limits)
    detail = "" if reason is None else fault_detail(seen.photo, reason)
    return Verdict(texts, list(sample.questions), reason, detail)


def _padded(seen: Looked, sample: Sample[PhotoRef]) -> list[Guess]:
    return [*seen.languages, *[NO_GUESS] * (len(sample.captions) - len(seen.languages))]


def _judged_text(key: str, text: str, claimed: str, guess: Guess, limits: Limits) -> Text:
    plain = tidied(text)
    reason = text_fault(plain, limits)
    if reason in (None, Reason.TOO_SHORT) and names_its_photo(plain, key):
        reason = Reason.FILE_NAME
    if reason is None and wrong_language(claimed, guess, limits):
        reason = Reason.WRONG_LANGUAGE
    return Text(plain, spoken_language(claimed, guess, limits), reason=reason)


def _drop_twins(
    samples: Sequence[Sample[PhotoRef]],
    looked: Sequence[Looked],
    verdicts: Sequence[Verdict],
    limits: Limits,
) -> None:
    looks = [
        Look(
            seen.photo.sha256,
            seen.photo.phash,
            seen.photo.thumb,
            seen.photo.width * seen.photo.height,
            sample.split,
            bool(verdict.kept_texts or verdict.questions or sample.label),
        )
        if verdict.reason is None
        else None
        for sample, seen, verdict in zip(samples, looked, verdicts, strict=True)
    ]
    for place, twin in sorted(find_twins(looks, limits.near_distance).items()):
        verdict, stays = verdicts[place], verdicts[twin.of]
        verdict.reason, verdict.twin = twin.reason, twin.of
        verdict.detail = f"like {samples[twin.of].key}"
        if samples[twin.of].split != samples[place].split:
            verdict.detail += f" in {samples[twin.of].split or 'no split'}"
        if twin.reason is Reason.EXACT_DUPLICATE:
            # The very same photo: what was said about it is not lost.
            stays.texts.extend(verdict.texts)
            stays.questions.extend(verdict.questions)
            verdict.texts, verdict.questions = [], []


def _drop_repeated(verdicts: Sequence[Verdict], limits: Limits) -> None:
    """The same text twice about one photo, and the same about many."""
    photos: Counter[str] = Counter()
    words: list[list[tuple[Text, str]]] = []
    for verdict in verdicts:
        said: set[str] = set()
        listed: list[tuple[Text, str]] = []
        for text in verdict.kept_texts if verdict.reason is None else ():
            form = compared(text.text)
            if form in said:
                text.reason = Reason.SAME_TEXT
            else:
                said.add(form)
                listed.append((text, form))
        photos.update(said)
        words.append(listed)
    for listed in words:
        for text, form in listed:
            if photos[form] > limits.max_repeats:
                text.reason = Reason.REPEATED
