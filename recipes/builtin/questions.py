"""Questions about everyday photos, English and Chinese, made from captions, boxes and labels.

    python recipes/builtin/questions.py DATA OUT

reads ``DATA/flickr8k``, ``DATA/voc_traffic`` and ``DATA/labelled`` and writes folders in the recipe format
``vqa``: ``flickr8k_en``, ``flickr8k_zh``, ``voc_traffic``, ``voc_traffic_zh``, ``labelled``, ``labelled_zh``,
``animals``, ``animals_zh``, and ``nothing`` and ``nothing_zh``, about pictures drawn into ``drawn``, which
are to learn from alone.
In each are ``questions_train.json``, ``annotations_train.json``, the same for ``dev``, and ``images``, a link
to the photos. Every annotation says its kind of question (``question_type``) and what it is about (``word``).

Held out as ``dev``: Flickr8k's dev photos, the last fifth of voc_traffic by number, every tenth photo of a
label. The same seed writes the same files.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from box_questions import voc_traffic
from caption_facts import caption_facts
from drawn import nothing
from label_questions import animals, labelled
from photo_words import Photo
from question_forms import LANGUAGES, MOST, Split, asked, generator

from seetell.data.coco import read_coco_captions
from seetell.data.records import QuestionRecord
from seetell.data.vqa import write_vqa


def flickr8k(data: Path, seed: int) -> dict[str, Split]:
    """Language -> split -> questions from the captions of both languages."""
    found: dict[str, Split] = {language: {} for language in LANGUAGES}
    for split in ("train", "dev"):
        records = read_coco_captions(data / f"captions_{split}.json", data / "images")
        photos = [Photo(record) for record in records]
        facts = caption_facts(photos, MOST, generator(seed, "flickr8k", split))
        for language in LANGUAGES:
            found[language][split] = asked(facts, language)
    return found


def blind(
    train: Sequence[QuestionRecord], dev: Sequence[QuestionRecord]
) -> dict[str, tuple[int, int, float]]:
    """Kind -> (questions to learn from, held out, percent of those that the commonest training answer to the
    same text gets right, else to the kind): what can be had without a look at the photo."""
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for record in train:
        for asked_for in (record.question, str(record.kind)):
            answers[asked_for][record.majority or record.answers[0]] += 1
    commonest = {text: counts.most_common(1)[0][0] for text, counts in answers.items()}
    learned = Counter(str(record.kind) for record in train)
    right: dict[str, list[bool]] = defaultdict(list)
    for record in dev:
        said = commonest.get(record.question, commonest.get(str(record.kind)))
        right[str(record.kind)].append(said == (record.majority or record.answers[0]))
    return {kind: (learned[kind], len(own), 100 * sum(own) / len(own)) for kind, own in sorted(right.items())}


def write(out: Path, images: Path, splits: Split) -> None:
    """One folder in the recipe format ``vqa``."""
    out.mkdir(parents=True, exist_ok=True)
    link = out / "images"
    if link.is_symlink():
        link.unlink()
    link.symlink_to(images.resolve())
    for split, records in splits.items():
        write_vqa(records, out / f"questions_{split}.json", out / f"annotations_{split}.json", images)


def main() -> None:
    """Make every set, write it, and print what the questions' texts alone give away."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="folder with flickr8k, voc_traffic and labelled"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write to")
    parser.add_argument("--seed", type=int, default=1)
    asked_for = parser.parse_args()
    makers = {
        "flickr8k": (flickr8k, asked_for.data / "flickr8k", "images"),
        "voc_traffic": (voc_traffic, asked_for.data / "voc_traffic", "images"),
        "labelled": (labelled, asked_for.data / "labelled", ""),
        "animals": (animals, asked_for.data / "labelled", ""),
    }
    print(f"{'set':16}{'kind':18}{'train':>8}{'dev':>7}{'by text alone':>15}")
    for name, (make, folder, images) in makers.items():
        for language, splits in make(folder, asked_for.seed).items():
            own = name if language == "en" and name != "flickr8k" else f"{name}_{language}"
            write(asked_for.out / own, folder / images, splits)
            for kind, (learned, held, share) in blind(splits["train"], splits["dev"]).items():
                print(f"{own:16}{kind:18}{learned:8}{held:7}{share:14.1f}%")
    drawn = asked_for.out / "drawn"
    for language, splits in nothing(drawn, asked_for.seed).items():
        own = "nothing" if language == "en" else f"nothing_{language}"
        write(asked_for.out / own, drawn, splits)
        print(f"{own:16}{'presence':18}{len(splits['train']):8}")


if __name__ == "__main__":
    main()
