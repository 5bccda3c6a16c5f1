"""English questions by their wording."""

from __future__ import annotations

import re

from seetell.tasks.question import Question

_BE = r"(?:is|are|was|were|am|isn't|aren't|wasn't|weren't)"
_AUXILIARY = (
    rf"(?:{_BE}|do|does|did|don't|doesn't|didn't|can|can't|could|couldn't|has|have|had|hasn't|haven't|will|"
    r"won't|would|wouldn't|should|may|might|must|any|anyone|anybody|there's|there is|there are)"
)
_LEADS = re.compile(
    r"^(?:(?:please|so|and|now|hey|hi|ok|okay|well|quick question)\b[,:]?\s*|"
    r"(?:in|on|from|looking at|about) (?:this|the|that) (?:picture|photo|image|photograph|scene)\s*[,:]?\s*|"
    r"(?:can|could|would|will) you (?:please )?(?:tell|say|see|know|guess)(?: me| us)?\s+"
    r"(?=(?:if|whether|wh\w+|how)\b)|"
    r"(?:tell|show) (?:me|us)\s*[,:]?\s*|(?:do you know|i wonder|i want to know|answer)\s*[,:]?\s+"
    r"(?=(?:if|whether|wh\w+|how)\b)|(?:if|whether) (?=\w))+"
)
_TAIL = re.compile(
    r"\s*(?:,|\b(?:in|on|from|of) (?:this|the|that) (?:picture|photo|image|photograph|scene)|"
    r"\b(?:here|there|then|please|do you think|would you say|right now|shown|visible|pictured))*\s*$"
)
_YES_NO = Question("yes_no", "en", ("yes", "no"))
_ARTICLES = ("a", "an", "the", "some", "any")
_PREPOSITIONS = (
    "on", "to", "at", "in", "during", "with", "near", "by", "from", "wearing", "under", "behind", "of", "for",
    "inside", "outside", "that", "who", "which", "beside", "above", "below", "between", "next", "among",
)  # fmt: skip
_PRONOUNS = ("it", "this", "that", "he", "she", "they", "there", "these", "those", "you", "we", "someone")
# Words for anything, and what hardly a photo lacks: they take nothing for given.
_ANYTHING = frozenset({
    "shape", "shapes", "object", "objects", "thing", "things", "item", "items", "one", "ones", "picture",
    "photo", "image", "background", "foreground", "scene", "light", "lights", "sky", "ground", "floor",
    "wall", "walls", "color", "colour", "surface", "rest", "side", "part",
})  # fmt: skip
# Nouns that end like what somebody does.
_NOUNS = (
    "building",
    "ceiling",
    "clothing",
    "painting",
    "railing",
    "swing",
    "string",
    "wing",
    "ring",
    "earring",
)
_WH = re.compile(r"^(?:what|which|who|whom|whose|where|when|why|how)\b")
_COLOUR_QUESTION = re.compile(r"^(?:what|which)(?:'s| is| are)?(?: the)? (?:main |dominant )?colou?rs?\b")
_ONE = "(?:the|that|this|those|these|his|her|their|its)"
_COLOUR_OF = re.compile(
    rf"^(?:what|which) colou?rs? (?P<is>{_BE}) {_ONE} (?P<x>[^,]+)|"
    rf"^what(?:'s| {_BE}) the colou?rs? of {_ONE} (?P<y>[^,]+)|"
    rf"^(?:what|which) colou?rs? {_ONE} (?P<z>[^,]+?) (?P<late>{_BE})$"
)
_PLACE = re.compile(
    r"^(?:where\b|(?:in |at )?(?:what|which)(?: (?:kind|sort|type) of)? (?:place|location|room)\b)"
)
_ANIMAL = re.compile(
    r"^(?:what|which)(?:'s| is| are)?(?: the)?(?: kinds?| sorts?| types?)?(?: of)? animals?\b"
)


def read_english(text: str) -> Question:
    """What an English question asks for."""
    plain = re.sub(r"[’`]", "'", " ".join(text.casefold().split())).strip(" ?!.")
    asks_yes_or_no = "yes or no" in plain
    plain = re.sub(r"\s*,?\s*\bor (?:not|no)$", "", plain)
    lead = _LEADS.match(plain)
    plain = plain[lead.end() :] if lead else plain
    if asks_yes_or_no:
        return _YES_NO
    if re.search(r"\bhow many\b|^(?:what (?:is|'s) the )?number of\b|^count\b", plain):
        return Question("count", "en")
    options = _options(plain)
    if len(options) > 1:
        return Question("choice", "en", options)
    if _COLOUR_QUESTION.search(plain):
        return _coloured(plain)
    if re.search(r"^what\b.*\bdoing\b", plain):
        return Question("doing", "en")
    if _PLACE.search(plain):
        return Question("where", "en")
    if _ANIMAL.search(plain):
        return Question("animal", "en")
    whether = lead is not None and re.search(r"\b(?:if|whether)\s*$", lead.group())
    return _YES_NO if whether or re.match(rf"{_AUXILIARY}\b", plain) else Question("other", "en")


def _coloured(plain: str) -> Question:
    match = _COLOUR_OF.search(plain)
    if match is None:
        return Question("colour", "en")
    words = _cut_tail(match["x"] or match["y"] or match["z"]).split()
    # "The car on the left": the car. "The man's shirt": the shirt.
    ends = (place for place, word in enumerate(words) if place and (word == "and" or _ends_a_name(word)))
    end = next(ends, len(words))
    words = words[:end]
    for place, word in enumerate(words):
        if word.endswith(("'s", "s'")):
            words = words[place + 1 :]
            break
    thing = " ".join(words)
    if not thing or words[-1] in _ANYTHING:
        return Question("colour", "en")
    verb = match["is"] or match["late"] or ""
    several = verb.startswith(("are", "were")) or (
        not verb and words[-1].endswith("s") and not words[-1].endswith(("ss", "us"))
    )
    return Question("colour", "en", thing=thing, several=several)


def _ends_a_name(word: str) -> bool:
    """Whether a word cannot belong to a thing's name after its first one."""
    return word in (*_PREPOSITIONS, "is", "are", "closest") or (word.endswith("ing") and word not in _NOUNS)


def _options(plain: str) -> tuple[str, ...]:
    """What an "A or B?" offers; nothing where it is none."""
    if " or " not in plain:
        return ()
    if _WH.match(plain):
        # "Which is it: a cat or a dog?" offers; "what is on the left or right of it?" does not, and "which of
        # these are there?" may take several.
        several = re.match(r"which (?:of (?:these|those|the following) )?(?:are|do|can)\b", plain)
        _, mark, plain = plain.rpartition(":") if ":" in plain else plain.partition(",")
        if not mark or " or " not in plain or several:
            return ()
        lead, plain = False, plain.strip()
    else:
        lead = re.match(rf"{_AUXILIARY}\b", plain) is not None
        if not lead and len(plain.split()) > 8:
            return ()
    *before, last = (part.strip() for part in re.split(r",? or |, ", plain))
    last = _cut_tail(last)
    if not before or not last or last.split()[0] in ("more", "less", "fewer"):
        return ()
    first = before[0]
    again = re.match(rf"{_AUXILIARY} (?:{'|'.join(_PRONOUNS)}) ", last)
    if again:
        last = last[again.end() :]
    last = _named(last)
    found = [_first_option(first, last) if lead else first, *map(_named, before[1:])]
    if len(last.split()) > len(found[0].split()):
        # "An indoor or an outdoor scene".
        last = re.sub(r" (?:scene|picture|photo|image|shot|setting|place|one)$", "", last)
    found.append(last)
    names = tuple(dict.fromkeys(_bare(one) for one in found))
    return names if len(names) > 1 and all(0 < len(name.split()) <= 6 for name in names) else ()


def _cut_tail(text: str) -> str:
    return _TAIL.sub("", text).strip() or text


def _first_option(text: str, last: str) -> str:
    """The first option, which begins at the last word like the one that the last option begins with, else so
    many words from the end as that has."""
    words, pattern = text.split(), last.split()
    if pattern[0].endswith("ing"):
        starts = [place for place, word in enumerate(words) if place and word.endswith("ing")]
        if starts:
            return " ".join(words[starts[-1] :])
    for alike in (_ARTICLES, _PREPOSITIONS):
        if pattern[0] in alike:
            starts = [place for place, word in enumerate(words) if place and word in alike]
            if alike is _PREPOSITIONS:
                starts = [place for place in starts if words[place] == pattern[0]] or starts
            if starts:
                return " ".join(words[starts[-1] :])
    # "Is it a man or woman?", "is the dog black or white?"
    count = min(len(pattern), len(words) - 1) or 1
    own = words[-count:]
    while len(own) > 1 and own[0] in (*_PRONOUNS, "is", "are", "was", "were"):
        own = own[1:]
    return " ".join(own)


def _named(option: str) -> str:
    """An option without what follows its name: "a woman riding a horse" is "a woman"."""
    words = option.split()
    begin = next((place for place, word in enumerate(words) if word not in (*_ARTICLES, *_PREPOSITIONS)), 0)
    end = next((place for place in range(begin + 1, len(words)) if _ends_a_name(words[place])), len(words))
    return " ".join(words[:end])


def _bare(option: str) -> str:
    """Without the small words it begins with: "on the left" is "left"."""
    words, small = option.split(), (*_ARTICLES, "on", "to", "at", "in", "during", "more", "either", "like")
    while len(words) > 1 and words[0] in small:
        words = words[1:]
    return " ".join(words)
