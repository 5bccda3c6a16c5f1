"""A recipe reads whatever ``seetell prepare`` reads, and draws from it as from any other source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seetell.core.errors import DataError, RecipeError, UsageError
from seetell.data.photo_refs import ref_file
from seetell.learning.sources import Row
from seetell.learning.training.corpus import Corpus, build_sources, read_corpus
from seetell.learning.training.measured import read_measured
from seetell.learning.training.reading import source_name
from seetell.learning.training.sections import DataSettings
from tests.data.photo_files import photo_bytes, put
from tests.data.sources.test_sources import as_json, make_tar
from tests.learning.training.test_shards import recipe

NAMES = [f"{number}.jpg" for number in range(5)]
TEXTS = {name: f"photo {name[0]} of a dog" for name in NAMES}
SPLITS = ["train"] * 4 + ["val"]


def csv_table(root: Path) -> str:
    rows = [f"{name},{TEXTS[name]},{split}" for name, split in zip(NAMES, SPLITS, strict=True)]
    put(root, "data/photos.csv", "\n".join(["image,caption,split", *rows]))
    _photos(root / "data" / "images")
    return "data"


def one_table(root: Path) -> str:
    csv_table(root)
    return "data/photos.csv"


def llava(root: Path) -> str:
    for split, names in (("train", NAMES[:4]), ("val", NAMES[4:])):
        turns = {
            name: [{"from": "human", "value": "Tell."}, {"from": "gpt", "value": TEXTS[name]}]
            for name in names
        }
        rows = [{"image": name, "conversations": turns[name]} for name in names]
        put(root, f"data/{split}.json", as_json(rows))
    _photos(root / "data" / "photos")
    return "data"


def beside(root: Path) -> str:
    for name, split in zip(NAMES, SPLITS, strict=True):
        put(root, f"data/{split}/{name}")
        put(root, f"data/{split}/{name[0]}.en.txt", TEXTS[name])
    return "data"


def tars(root: Path) -> str:
    for split, names in (("train", NAMES[:4]), ("val", NAMES[4:])):
        members = {}
        for name in names:
            members |= {name: photo_bytes(int(name[0])), f"{name[0]}.txt": TEXTS[name].encode()}
        (root / "data").mkdir(exist_ok=True)
        make_tar(root / "data" / f"{split}-0.tar", members)
    return "data"


def parquet(root: Path) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (root / "data").mkdir()
    for split, names in (("train", NAMES[:4]), ("val", NAMES[4:])):
        photos = [photo_bytes(int(name[0])) for name in names]
        table = pa.table({"image": photos, "caption": [TEXTS[name] for name in names]})
        pq.write_table(table, root / "data" / f"{split}-00000-of-00001.parquet")
    return "data"


def coco_as_unpacked(root: Path) -> str:
    for split, names in (("train", NAMES[:4]), ("val", NAMES[4:])):
        document = {
            "images": [{"id": int(name[0]), "file_name": name} for name in names],
            "annotations": [{"image_id": name[0], "caption": TEXTS[name]} for name in names],
        }
        put(root, f"data/annotations/captions_{split}2017.json", as_json(document))
        for name in names:
            put(root, f"data/{split}2017/{name}")
    return "data"


def _photos(folder: Path) -> None:
    for name in NAMES:
        put(folder, name)


FORMATS: list[tuple[str, Callable[[Path], str]]] = [
    ("table", csv_table),
    ("table", one_table),
    ("table", llava),
    ("folder", beside),
    ("webdataset", tars),
    ("parquet", parquet),
    ("coco_captions", coco_as_unpacked),
]


def corpus(root: Path, **source: Any) -> tuple[Corpus, list[Row]]:
    """The corpus of a recipe with one source, and the rows of two steps."""
    names = source.pop("objectives", ["contrastive"])
    settings = recipe(root, root / "run", data=[source], objectives=[{"name": name} for name in names])
    read = read_corpus(settings)
    [drawn] = build_sources(settings, read)
    return read, [*drawn.draw(0), *drawn.draw(1)]


@pytest.mark.parametrize(("form", "make"), FORMATS)
def test_every_format_is_read_and_drawn_from(tmp_path: Path, form: str, make: Callable[[Path], str]) -> None:
    source = {"format": form, "path": make(tmp_path), "batch_size": 2, "languages": ["en"]}
    read, rows = corpus(tmp_path, **source)
    assert sorted(row.captions for row in rows) == [((TEXTS[name], "en"),) for name in NAMES[:4]]
    assert all(ref_file(row.photo).is_file() for row in rows)
    assert sorted(read.texts()) == sorted(TEXTS[name] for name in NAMES[:4])
    measured = read_measured(
        DataSettings(**{**source, "split": "val"}), tmp_path, "validate", may_lack_photos=False
    )
    assert [record.captions for record in measured.captioned] == [((TEXTS[NAMES[4]], "en"),)]
    with pytest.raises((UsageError, DataError), match=r"data\.0: .*test.*"):
        corpus(tmp_path, **{**source, "split": "test"})


def test_captions_questions_and_labels_of_one_table(tmp_path: Path) -> None:
    rows = [
        {"image": "0.jpg", "caption": "a dog", "language": "en", "label": "pet"},
        {"image": "0.jpg", "question": "what?", "answer": "dog"},
        {"image": "1.jpg", "caption": "ein Hund", "language": "de", "label": "pet"},
        {"image": "2.jpg", "question": "where?", "answer": ["home", "home"], "label": "place"},
        {"image": "3.jpg", "label": "place"},
    ]
    put(tmp_path, "data/rows.json", as_json(rows))
    _photos(tmp_path / "data")
    everything = ["contrastive", "answer_list", "labels", "label_names"]
    source = {"format": "table", "path": "data", "batch_size": 2, "languages": ["en"]}
    read, drawn = corpus(
        tmp_path, **source, objectives=everything, templates={"en": ["a {}"]}, rare_answers=0.5
    )
    assert (read.answers, read.labels) == (("dog", "home"), ("pet", "place"))
    by_name = {ref_file(row.photo).name: row for row in drawn}
    assert by_name["0.jpg"].captions == (("a dog", "en"),)
    assert by_name["0.jpg"].questions == (("what?", "dog"),)
    assert [by_name[name].label for name in NAMES[:4]] == [0, 0, 1, 1]
    assert not by_name["1.jpg"].captions
    assert {row.named.names for row in drawn if row.named is not None} == {("a pet", "a place")}
    # What the objectives do not learn from is not taught.
    read, drawn = corpus(tmp_path, **source, objectives=["captioning"])
    assert {ref_file(row.photo).name for row in drawn} == {"0.jpg"} and read.labels == ()
    with pytest.raises(RecipeError, match="data has no captions in fr, and no other source"):
        corpus(tmp_path, **{**source, "languages": ["fr"]})


def test_a_broken_entry_stops_the_run_before_it_begins(tmp_path: Path) -> None:
    put(tmp_path, "data/photos.csv", "image,caption\n0.jpg,a dog\n,no photo\n,none either\n")
    _photos(tmp_path / "data")
    with pytest.raises(DataError) as caught:
        corpus(tmp_path, format="table", path="data", batch_size=1)
    assert "photos.csv: line 3: 'image' names no photo" in str(caught.value)
    assert "(and 1 more like it)" in str(caught.value) and "seetell prepare" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_source_has_the_name_the_recipe_writes(tmp_path: Path) -> None:
    csv_table(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "data")
    names = [
        source_name(DataSettings(format="table", path=path), tmp_path)
        for path in ("data", "linked", "./linked/", "data/photos.csv", "data/../linked")
    ]
    assert names == ["data", "linked", "linked", "photos", "linked"]


def test_vqa_as_it_is_unpacked(tmp_path: Path) -> None:
    asked = [
        {"question_id": 10 * number + turn, "image_id": number, "question": f"is it {number}.{turn}?"}
        for turn in range(2)
        for number in range(1, 4)
    ]
    answers = [{"question_id": one["question_id"], "answers": [{"answer": "yes"}]} for one in asked]
    put(tmp_path, "data/v2_OpenEnded_mscoco_train2014_questions.json", as_json({"questions": asked}))
    put(tmp_path, "data/v2_mscoco_train2014_annotations.json", as_json({"annotations": answers}))
    for number in range(1, 4):
        put(tmp_path, f"data/train2014/COCO_train2014_{number:012d}.jpg")
    read, rows = corpus(tmp_path, format="vqa", path="data", batch_size=2, objectives=["answer_list"])
    assert read.answers == ("yes",)
    assert {ref_file(row.photo).parent.name for row in rows} == {"train2014"}
    # A tokenizer, and what tells one run from another, know the questions in the order of their file.
    assert [text for text in read.texts() if text != "yes"] == [one["question"] for one in asked]
