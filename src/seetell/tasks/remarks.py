"""What is doubtful about a text that a model is given: letters it was never taught, an end it does not read.
It is answered all the same, and the answer looks like any other."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection

from seetell.tasks.api import AnyModel

# The scripts of languages, as Unicode's names of letters begin. Of a language that is not here nothing is
# said.
_LATIN = ("LATIN",)
_SCRIPTS = {
    **dict.fromkeys(("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "no", "fi", "pl", "cs"), _LATIN),
    **dict.fromkeys(("ro", "hu", "tr", "vi", "id", "ms", "hr", "sk", "sl", "et", "lv", "lt", "ca"), _LATIN),
    **dict.fromkeys(("ru", "uk", "bg", "be"), ("CYRILLIC",)),
    **dict.fromkeys(("ar", "fa", "ur"), ("ARABIC",)),
    **dict.fromkeys(("hi", "mr", "ne"), ("DEVANAGARI",)),
    "zh": ("CJK", "BOPOMOFO"),
    "ja": ("CJK", "HIRAGANA", "KATAKANA"),
    "ko": ("HANGUL", "CJK"),
    "el": ("GREEK",),
    "he": ("HEBREW",),
    "th": ("THAI",),
}
_CALLED = {"CJK": "Chinese"}
_LETTERS = frozenset({"Lu", "Ll", "Lt", "Lo"})


# Characters of a text that tell it from others.
_TELLING = 30


def remarks_on(texts: Collection[str], model: AnyModel) -> list[str]:
    """A line for each thing that is doubtful; none for a model that does not say what it reads."""
    if model.context_length is None:
        return []
    results = []
    for text in texts:
        if text.strip():
            name = (
                "the text"
                if len(texts) == 1
                else repr(text if len(text) <= _TELLING else f"{text[:_TELLING]}…")
            )
            results += [line for line in (_strange(text, model), _cut(text, name, model)) if line is not None]
    return list(dict.fromkeys(results))


def _strange(text: str, model: AnyModel) -> str | None:
    """That half of the letters or more are of no script that the model was taught."""
    taught: set[str] = set()
    for language in model.languages:
        if language not in _SCRIPTS:
            return None
        taught.update(_SCRIPTS[language])
    # Normalised, because wide and mathematical letters bear other names.
    letters = [one for one in unicodedata.normalize("NFKC", text) if unicodedata.category(one) in _LETTERS]
    scripts = Counter(unicodedata.name(one, "?").replace("-", " ").split()[0] for one in letters)
    others = Counter({script: count for script, count in scripts.items() if script not in taught})
    if not taught or not others or 2 * others.total() < len(letters):
        return None
    (script, _), *_ = others.most_common(1)
    return (
        f"{model.name} was taught {', '.join(model.languages)} and no {_CALLED.get(script, script.title())} "
        "letters: what it says may be chance"
    )


def _cut(text: str, name: str, model: AnyModel) -> str | None:
    """That the text is longer than what the model reads."""
    if not is_cut(text, model):
        return None
    return (
        f"{name} is longer than the {model.context_length} tokens that {model.name} reads: its end counts "
        "for nothing"
    )


def is_cut(text: str, model: AnyModel) -> bool:
    """Whether the text is longer than what the model reads."""
    most = model.context_length
    if most is None or model.count_tokens([text])[0] < most:
        return False  # what is cut fills the context
    # No more than that is ever counted; of both halves together there are more if anything is cut.
    middle = len(text) // 2
    blanks = [at for at, character in enumerate(text) if character.isspace() and text[:at].strip()]
    place = min(blanks, key=lambda at: abs(at - middle), default=middle)
    halves = [half for half in (text[:place], text[place:]) if half.strip()]
    words = sum(count - model.text_marks for count in model.count_tokens(halves))
    return words > most - model.text_marks
