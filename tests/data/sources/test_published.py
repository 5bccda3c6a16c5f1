"""Published lists in forms of their own: Karpathy's splits, Flickr8k's, LLaVA's conversations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seetell.data.sources.detect import read_source
from tests.data.photo_files import put
from tests.data.sources.test_sources import as_json, captions

FLICKR = {"a.jpg": ("A child .", "A girl"), "b.jpg": ('Two "big" dogs , running .',)}


def karpathy(**more: Any) -> str:
    images = [
        {
            "filename": name,
            "split": split,
            "imgid": 0,
            "sentids": [0],
            "sentences": [{"tokens": text.split(), "raw": text, "imgid": 0, "sentid": 0} for text in texts],
            **more,
        }
        for (name, texts), split in zip(FLICKR.items(), ("restval", "test"), strict=True)
    ]
    return as_json({"images": images, "dataset": "flickr8k"})


@pytest.mark.parametrize("whole", [True, False])
def test_karpathys_splits(tmp_path: Path, whole: bool) -> None:
    path = put(tmp_path, "dataset_flickr8k.json", karpathy())
    photo = put(tmp_path, "Flicker8k_Dataset/a.jpg")
    source = read_source(tmp_path if whole else path)
    assert source.format == "table"
    assert captions(source) == FLICKR
    assert [one.split for one in source.samples] == ["train", "test"]
    assert source.samples[0].photo == photo


def test_karpathys_coco(tmp_path: Path) -> None:
    put(tmp_path, "dataset_coco.json", karpathy(filepath="val2014"))
    photo = put(tmp_path, "val2014/a.jpg")
    assert read_source(tmp_path / "dataset_coco.json").samples[0].photo == photo


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "captions.txt",
            'image,caption\na.jpg,A child .\na.jpg,A girl\nb.jpg,"Two ""big"" dogs , running ."\n',
        ),
        (
            "Flickr8k.token.txt",
            'a.jpg#0\tA child .\na.jpg#1\tA girl\nb.jpg#0\tTwo "big" dogs , running .\n',
        ),
        (
            "results_20130124.token",
            'a.jpg#0\tA child .\na.jpg#1\tA girl\nb.jpg#0\tTwo "big" dogs , running .',
        ),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_flickrs_texts(tmp_path: Path, name: str, content: str, whole: bool) -> None:
    path = put(tmp_path, name, content)
    put(tmp_path, "Flickr_8k.trainImages.txt", "a.jpg\n")
    put(tmp_path, "Flickr8k.lemma.token.txt", "a.jpg#0\tA child be .\n")
    put(tmp_path, "Images/a.jpg")
    source = read_source(tmp_path if whole else path)
    assert source.format == "table"
    assert captions(source) == FLICKR
    assert source.samples[0].photo == tmp_path / "Images" / "a.jpg"


def test_a_line_that_is_no_token_is_named(tmp_path: Path) -> None:
    source = read_source(put(tmp_path, "x.token.txt", "a.jpg#0\ta dog\nnothing\n\nb.jpg#0\ta cat\n"))
    assert list(captions(source)) == ["a.jpg", "b.jpg"]
    assert [one.where.rpartition(" ")[2] for one in source.broken] == ["2"]


def said(speaker: str, text: str) -> dict[str, str]:
    return {"from": speaker, "value": text}


def test_llavas_conversations(tmp_path: Path) -> None:
    rows = [
        {
            "id": "1",
            "image": "a.jpg",
            "conversations": [
                said("human", "<image>\nDescribe the photo briefly."),
                said("gpt", "A red dog."),
                said("human", "What colour is it?"),
                said("gpt", "Red"),
                said("human", "Write a poem."),
                said("gpt", "Roses are red."),
            ],
        },
        {
            "id": "2",
            "image": "b.jpg",
            "conversations": [said("human", "Is it a cat?\n<image>"), said("gpt", "Yes")],
        },
        {"id": "3", "conversations": [said("human", "Who are you?"), said("gpt", "Nobody")]},
        {"id": "4", "image": "b.jpg", "conversations": [said("gpt", "Hello"), 7]},
    ]
    source = read_source(put(tmp_path, "llava.json", as_json(rows)))
    assert captions(source) == {"a.jpg": ("A red dog.",), "b.jpg": ()}
    assert [(q.question, q.answers) for one in source.samples for q in one.questions] == [
        ("What colour is it?", ("Red",)),
        ("Is it a cat?", ("Yes",)),
    ]
    assert [one.message.partition("llava.json: ")[2] for one in source.broken] == [
        "entry 0, turn 5: answers no question and is no caption; left out",
        "entry 2: a conversation about no photo; left out",
        "entry 3, turn 0: neither a question nor an answer to one; left out",
        "entry 3, turn 1: neither a question nor an answer to one; left out",
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "llava.json",
            [{"image": "a.jpg", "conversations": [said("human", "Tell."), said("gpt", "A dog.")]}],
        ),
        ("train.json", [{"image": "a.jpg", "caption": "A dog."}]),
        ("dataset.json", {"dataset": "mine", "images": [{"filename": "a.jpg", "sentences": ["A dog."]}]}),
    ],
)
@pytest.mark.parametrize("folder", [".", "images"])
def test_a_json_list_is_found_in_its_folder(tmp_path: Path, name: str, content: Any, folder: str) -> None:
    put(tmp_path, f"{folder}/a.jpg")
    put(tmp_path, name, as_json(content))
    source = read_source(tmp_path)
    assert source.format == "table"
    assert captions(source) == {"a.jpg": ("A dog.",)}


@pytest.mark.parametrize("content", [["A dog.", "A cat"], [{"caption": "A dog."}], {"text": "A dog."}, []])
def test_json_about_the_photo_beside_it_is_no_list_of_photos(tmp_path: Path, content: Any) -> None:
    put(tmp_path, "a.jpg")
    put(tmp_path, "a.json", as_json(content))
    assert read_source(tmp_path).format == "folder"
