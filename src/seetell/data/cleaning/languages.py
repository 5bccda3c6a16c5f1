"""Which language a text is in, guessed with py3langid (the extra ``prepare``), and whether it should be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from seetell.core.errors import MissingExtra
from seetell.data.cleaning.limits import Limits
from seetell.data.cleaning.texts import count_words

# What captions are mostly written in. Among all the 139 that py3langid knows, a short English caption is now
# and then taken for Frisian, and a Chinese one for Wu.
COMMON = (
    *("ar", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hr", "hu"),
    *("id", "it", "ja", "ko", "lt", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sv", "th", "tr", "uk", "ur"),
    *("vi", "zh"),
)
# Fewer words than this say nothing about their language.
_MIN_WORDS = 3

Guess = tuple[str, float]
NO_GUESS: Guess = ("", 0.0)


def language_code(name: str) -> str:
    """``en-US`` and ``EN`` as ``en``."""
    return name.strip().lower().replace("_", "-").partition("-")[0]


class LanguageGuesser:
    """Guesses among the common languages and ``more``. Raises MissingExtra where py3langid is not there."""

    def __init__(self, more: Iterable[str] = ()) -> None:
        try:
            from py3langid.langid import MODEL_FILE, LanguageIdentifier
        except ModuleNotFoundError as error:
            raise MissingExtra("py3langid", "prepare", "to tell languages apart") from error
        self._identifier: Any = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        known = set(self._identifier.labels)
        self._identifier.set_languages(sorted(known & {*COMMON, *map(language_code, more)}))

    def guess(self, text: str) -> Guess:
        """(language, how sure); nothing for a text that is too short to tell."""
        if count_words(text) < _MIN_WORDS:
            return NO_GUESS
        language, confidence = self._identifier.classify(text)
        return str(language), round(float(confidence), 4)


def spoken_language(claimed: str, guess: Guess, limits: Limits) -> str:
    """The language to write down: the source's claim, else a sure guess, else the first that is wanted."""
    if claimed:
        return language_code(claimed)
    language, confidence = guess
    if language and confidence >= limits.language_confidence:
        return language
    return language_code(limits.languages[0]) if limits.languages else "en"


def wrong_language(claimed: str, guess: Guess, limits: Limits) -> bool:
    """Not one of the wanted languages, or surely not the one the source claims."""
    wanted = {language_code(one) for one in limits.languages}
    claim = language_code(claimed)
    if wanted and claim and claim not in wanted:
        return True
    language, confidence = guess
    if not language or confidence < limits.language_confidence:
        return False
    if claim in COMMON:
        return language != claim
    # A claim that cannot be guessed cannot be refuted.
    return bool(wanted) and not claim and language not in wanted
