"""Checks of a caption: each a function of the text and the limits, true where it should be left out."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from seetell.core.chinese import HAN
from seetell.data.cleaning.limits import Limits
from seetell.data.cleaning.reasons import Reason

# Scripts written without blanks between words: kana, Chinese characters; Hangul has blanks.
_UNSPACED = rf"\u3040-\u30ff{HAN}"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+(?:['’](?:(?![{_UNSPACED}])\w)+)*")

_FILE_ENDINGS = r"jpe?g|png|gif|webp|bmp|tiff?|heic|heif|avif|svg|jp2|raw|cr2|nef|psd"
_FILE_NAME = re.compile(
    rf"""
    \S[^/\\<>|"]*\.(?:{_FILE_ENDINGS})               # anything.jpg
    | (?:img|dsc|dscn|dscf|dscw?|pxl|mvimg|gopr|gp|vid|wp|imag|image|photo|pic|picture|pict|scan|p|
        screen[ ]?shot|whatsapp[ ]image|snapchat|fb[_ ]img)
      [ _-]*\d[\d _.:-]*(?:at\ [\d.:]+)?(?:\(\d+\))?  # what cameras and telephones call their files
    | [\W\d_]+                                        # no letter at all
    | [0-9a-f]{{16,}}(?:[_-]\w+)?                     # a hash
    | [0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}
    """,
    re.IGNORECASE | re.VERBOSE,
)

# Phrases of web pages that are no description. The whole text, or anywhere in it.
_WHOLE = re.compile(
    r"""(?:
    image | picture | photo | img | photograph | thumbnail | logo | banner | avatar | icon | placeholder
    | untitled(?:\ \w{1,8})? | no\ title | no\ (?:image|photo|picture|caption|description|alt\ text).*
    | (?:image|photo|picture)\ (?:not\ found|unavailable|not\ available|coming\ soon|may\ contain.*)
    | null | none | nan | n/?a | undefined | unknown | loading | test | todo | caption | description
    | (?:click|tap)\ (?:here|to|for|on)\b.* | (?:read|see|show|view|load)\ more
    | view\ (?:larger|full|image)\b.*
    | (?:download|buy|order|subscribe|sign\ up|log\ in|share|pin|follow\ us|enlarge)\b.{0,40}
    | 图片 | 照片 | 无标题 | 暂无.* | 点击.* | 未命名.*
    )[\s.!:。！…]*""",
    re.IGNORECASE | re.VERBOSE,
)
_ANYWHERE = re.compile(
    r"""https?:// | \bwww\.\w | [\w.+-]+@[\w-]+\.\w{2,}
    | all\ rights\ reserved | © | \(c\)\s*\d{4} | \bcopyright\b
    | \bstock\ (?:photo|image|illustration|vector|footage|picture)s? | royalty[\ -]free
    | \b(?:getty\ ?images|shutterstock|istock(?:photo)?|alamy|dreamstime|123rf|adobe\ stock|depositphotos)\b
    | (?:photo|image|picture)\ (?:credit|courtesy|source)\b | \bcourtesy\ of\b
    | click\ (?:here|to\ (?:enlarge|view|see))\b | image\ may\ contain | lorem\ ipsum
    | free\ shipping | add\ to\ (?:cart|basket) | 版权所有 | 点击查看 | 图片来源
    """,
    re.IGNORECASE | re.VERBOSE,
)


def tidied(text: str) -> str:
    """The text on one line, in NFC, without control characters, HTML entities turned into characters."""
    plain = unicodedata.normalize("NFC", html.unescape(text))
    plain = "".join(c if c.isspace() or unicodedata.category(c)[0] != "C" else "" for c in plain)
    return " ".join(plain.split())


def count_words(text: str) -> int:
    """Words; in scripts without blanks every character counts."""
    return len(_WORD.findall(text))


def compared(text: str) -> str:
    """What two texts that say the same have in common: words alone, in one case."""
    return " ".join(_WORD.findall(text.casefold())) or text.casefold()


def empty(text: str, limits: Limits) -> bool:
    """There is no text."""
    return not text.strip()


def file_name(text: str, limits: Limits) -> bool:
    """The name of a file, or a number."""
    return _FILE_NAME.fullmatch(text.strip()) is not None


def names_its_photo(text: str, key: str) -> bool:
    """The photo's own file name, where that is a name for machines: ``beach_02``, and not ``beach``."""
    stem = key.rpartition("/")[2].partition(".")[0].casefold()
    return text.strip().casefold() == stem and re.search(r"[\d_]", stem) is not None


def boilerplate(text: str, limits: Limits) -> bool:
    """A web page's phrase, an address, a notice of rights."""
    if _WHOLE.fullmatch(text.strip()) is not None or _ANYWHERE.search(text) is not None:
        return True
    return any(pattern.search(text) is not None for pattern in _compiled(limits.boilerplate))


@lru_cache(maxsize=8)
def _compiled(patterns: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)


def too_short(text: str, limits: Limits) -> bool:
    """Fewer words than ``min_words``."""
    return count_words(text) < limits.min_words


def too_long(text: str, limits: Limits) -> bool:
    """More words than ``max_words``."""
    return count_words(text) > limits.max_words


# In the order in which they are asked; the first that is true is the reason.
TEXT_CHECKS: tuple[tuple[Reason, Callable[[str, Limits], bool]], ...] = (
    (Reason.EMPTY, empty),
    (Reason.FILE_NAME, file_name),
    (Reason.BOILERPLATE, boilerplate),
    (Reason.TOO_SHORT, too_short),
    (Reason.TOO_LONG, too_long),
)


def text_fault(text: str, limits: Limits) -> Reason | None:
    """The first reason to leave a tidied caption out, by itself; None if there is none."""
    return next((reason for reason, fails in TEXT_CHECKS if fails(text, limits)), None)
