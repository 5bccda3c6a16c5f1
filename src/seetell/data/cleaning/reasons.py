"""Why a photo or a text was left out: a stable word each, and what it means to a person."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """A reason for leaving something out. The value stands in files, reports and JSON."""

    # An entry of the source that says nothing usable.
    BROKEN_ENTRY = "broken_entry"
    # A photo, with all that is said about it.
    UNREADABLE = "unreadable"
    TINY = "tiny"
    EXTREME_ASPECT = "extreme_aspect"
    BLANK = "blank"
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    ACROSS_SPLITS = "across_splits"
    NO_TEXT = "no_text"
    # A caption.
    EMPTY = "empty"
    FILE_NAME = "file_name"
    BOILERPLATE = "boilerplate"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    WRONG_LANGUAGE = "wrong_language"
    SAME_TEXT = "same_text"
    REPEATED = "repeated"
    LOW_SCORE = "low_score"
    NOT_SCORED = "not_scored"


PHOTO_REASONS = (
    Reason.UNREADABLE,
    Reason.TINY,
    Reason.EXTREME_ASPECT,
    Reason.BLANK,
    Reason.EXACT_DUPLICATE,
    Reason.NEAR_DUPLICATE,
    Reason.ACROSS_SPLITS,
    Reason.NO_TEXT,
)
CAPTION_REASONS = (
    Reason.EMPTY,
    Reason.FILE_NAME,
    Reason.BOILERPLATE,
    Reason.TOO_SHORT,
    Reason.TOO_LONG,
    Reason.WRONG_LANGUAGE,
    Reason.SAME_TEXT,
    Reason.REPEATED,
    Reason.LOW_SCORE,
    Reason.NOT_SCORED,
)

# What it means, and the option that changes it; no option where there is nothing to choose.
MEANING: dict[Reason, tuple[str, str | None]] = {
    Reason.BROKEN_ENTRY: ("an entry of the source that says nothing usable", None),
    Reason.UNREADABLE: ("missing, damaged, or no image at all", None),
    Reason.TINY: ("its shorter edge has too few pixels", "--min-edge"),
    Reason.EXTREME_ASPECT: ("far longer than wide, or wider than long", "--max-aspect"),
    Reason.BLANK: ("one colour, or nearly", "--min-contrast"),
    Reason.EXACT_DUPLICATE: ("the same bytes as another; its texts went to that one", None),
    Reason.NEAR_DUPLICATE: ("looks the same as another", "--near-distance"),
    Reason.ACROSS_SPLITS: ("in another split too, where it would leak", "--near-distance"),
    Reason.NO_TEXT: ("nothing said about it is left, or it came without (--keep-silent keeps those)", None),
    Reason.EMPTY: ("no text", None),
    Reason.FILE_NAME: ("the name of a file", None),
    Reason.BOILERPLATE: ("a web page's phrase, an address or a notice", "--boilerplate"),
    Reason.TOO_SHORT: ("too few words", "--min-words"),
    Reason.TOO_LONG: ("too many words", "--max-words"),
    Reason.WRONG_LANGUAGE: ("in another language than it should be", "--languages"),
    Reason.SAME_TEXT: ("said twice about the same photo", None),
    Reason.REPEATED: ("said about many photos", "--max-repeats"),
    Reason.LOW_SCORE: ("does not match its photo", "--min-score or --keep-fraction"),
    Reason.NOT_SCORED: ("the model could not look at its photo", None),
}
