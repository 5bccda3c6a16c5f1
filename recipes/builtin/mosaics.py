"""Pictures put together from photos of streets, to learn to count and to tell left from right.

    python recipes/builtin/mosaics.py DATA OUT

Few photos show three cats or say on which side the bus is, and where they do, one answer is the commonest by
far. Photos of voc_traffic (without its last fifth, which is held out) are put side by side, on top of each
other or in a square, and what is known of each is added up; single photos are mirrored, and with them the
answers. Written is one folder in the recipe format ``vqa``, ``mosaics``, with questions in both languages.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from box_questions import VOC_KINDS, voc_kind, voc_worded
from PIL import Image, ImageOps
from question_forms import LANGUAGES, generator

from seetell.data.holdout import Holdout, split_holdout
from seetell.data.records import QuestionRecord
from seetell.data.vqa import read_vqa, write_vqa

_PICTURES = 2400
_SIZE = 224
# Rows and columns, and how often each is drawn.
_GRIDS = {(1, 2): 6, (2, 1): 2, (2, 2): 3, (1, 3): 2}
# Of the questions that can be asked of a picture.
_PER_PICTURE = 6
_MOST = 6


@dataclass(frozen=True)
class Known:
    """What the questions about a photo tell: kind -> how many, where that is known, and who stands where."""

    photo: Path
    counts: dict[str, int]
    sides: tuple[QuestionRecord, ...]


def known(records: Sequence[QuestionRecord]) -> list[Known]:
    """Photo by photo."""
    by_photo: dict[Path, list[QuestionRecord]] = defaultdict(list)
    for record in records:
        by_photo[record.photo].append(record)
    found = []
    for photo, own in by_photo.items():
        counts: dict[str, int] = {}
        for record in map(voc_kind, own):
            word, answer = str(record.word), record.answers[0]
            if record.kind == "presence" and answer == "no":
                counts[word] = 0
            elif str(record.kind).startswith("count"):
                counts[word] = int(answer)
        sides = tuple(record for record in map(voc_kind, own) if record.kind == "side")
        found.append(Known(photo, counts, sides))
    return found


def mirrored(one: Known, out: Path, name: str) -> list[tuple[QuestionRecord, str]]:
    """The photo the other way round, and its questions about sides with the other answer."""
    with Image.open(one.photo) as photo:
        ImageOps.mirror(photo.convert("RGB")).save(out / name, quality=92)
    other = {"left": "right", "right": "left"}
    found = []
    for record in one.sides:
        answer = other[record.answers[0]]
        found.append((replace(record, photo=out / name, answers=(answer,), majority=answer), "side"))
    return found


def mosaic(
    some: Sequence[Known], rows: int, columns: int, out: Path, name: str, rng: random.Random
) -> list[tuple[QuestionRecord, str]]:
    """Put them together, row by row, and ask about what is known of all."""
    longest = _SIZE // max(rows, columns)
    shapes = [rng.uniform(0.75, 1.4) for _ in range(columns)]
    widths = [round(longest * shape) for shape in shapes]
    whole = Image.new("RGB", (sum(widths), longest * rows))
    for place, one in enumerate(some):
        row, column = divmod(place, columns)
        with Image.open(one.photo) as photo:
            cell = ImageOps.fit(photo.convert("RGB"), (widths[column], longest))
        whole.paste(cell, (sum(widths[:column]), longest * row))
    whole.thumbnail((_SIZE, _SIZE))
    whole.save(out / name, quality=92)

    def asked(kind: str, word: str, answer: str) -> tuple[QuestionRecord, str]:
        return QuestionRecord(out / name, "", (answer,), 0, 0, answer, kind, word), kind

    counted, sided = [], []
    for word in VOC_KINDS:
        counts = [one.counts.get(word) for one in some]
        if any(count is None for count in counts):
            continue
        total = sum(count or 0 for count in counts)
        if 0 < total <= _MOST:
            counted.append(asked("count_one" if total == 1 else "count_more", word, str(total)))
        on = {place % columns for place, count in enumerate(counts) if count}
        middle = (columns - 1) / 2
        if on and (max(on) < middle or min(on) > middle) and total == 1:
            sided.append(asked("side", word, "left" if max(on) < middle else "right"))
    beside = []
    words = {record.word: place for place, (record, _) in enumerate(sided)}
    if len(words) > 1:
        first, second = rng.sample(sorted(str(word) for word in words), 2)
        answers = {str(record.word): record.answers[0] for record, _ in sided}
        if answers[first] != answers[second]:
            beside.append(asked("side", f"{first}|{second}", answers[first]))
    return [*sided, *beside, *counted]


def main() -> None:
    """Make the pictures, write their questions, and print how many of each kind."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with voc_traffic")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write to")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    folder = wanted.data / "voc_traffic"
    records = read_vqa(folder / "questions_train.json", folder / "annotations_train.json", folder / "images")
    learned, _ = split_holdout(records, Holdout(last_fraction=0.2))
    photos = known(learned)
    images = wanted.out / "mosaics" / "images"
    images.mkdir(parents=True, exist_ok=True)
    rng = generator(wanted.seed, "mosaics")
    pictures = []
    for one in photos:
        if one.sides:
            pictures.append(mirrored(one, images, f"m{len(pictures):05d}.jpg"))
    while len(pictures) < _PICTURES:
        rows, columns = rng.choices(list(_GRIDS), list(_GRIDS.values()))[0]
        some = rng.sample(photos, rows * columns)
        made = mosaic(some, rows, columns, images, f"m{len(pictures):05d}.jpg", rng)
        if any(kind in ("side", "count_more") for _, kind in made):
            pictures.append(made)
    asked: list[QuestionRecord] = []
    kinds: dict[str, int] = defaultdict(int)
    for number, made in enumerate(pictures):
        for record, kind in rng.sample(made, min(len(made), _PER_PICTURE)):
            for language in LANGUAGES:
                text = voc_worded(record, rng.randrange(1 << 30), language, "train")
                if text is not None:
                    kinds[f"{kind} {language}"] += 1
                    asked.append(replace(text, question_id=len(asked), photo_id=number))
    own = wanted.out / "mosaics"
    write_vqa(asked, own / "questions_train.json", own / "annotations_train.json", images)
    found = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    print(f"{len(pictures)} pictures: {found}")


if __name__ == "__main__":
    main()
