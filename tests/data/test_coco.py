"""COCO captions JSON: what is read, and how broken files are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.core.errors import DataError
from seetell.data.coco import read_coco_captions
from seetell.data.records import CaptionRecord

IMAGES = Path("photos")


def written(folder: Path, document: object) -> Path:
    path = folder / "captions.json"
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


def document(**changes: Any) -> dict[str, Any]:
    base = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": "x", "file_name": "sub/b.jpg"}],
        "annotations": [
            {"id": 0, "image_id": "x", "caption": " 一只狗。 ", "language": "zh"},
            {"id": 1, "image_id": 7, "caption": "a cat"},
            {"id": 2, "image_id": 7, "caption": "猫", "language": "zh"},
        ],
    }
    return {**base, **changes}


def test_reads_photos_in_order_with_languages(tmp_path: Path) -> None:
    first, second = read_coco_captions(written(tmp_path, document()), IMAGES)
    assert (first.photo, first.photo_id) == (IMAGES / "a.jpg", 7)
    assert first.captions == (("a cat", "en"), ("猫", "zh"))
    assert first.texts("zh") == ("猫",)
    assert second.captions == (("一只狗。", "zh"),)
    assert second.texts("en") == ()


def test_photos_without_captions_are_left_out_and_files_are_not_opened(tmp_path: Path) -> None:
    alone = document(annotations=[{"image_id": 7, "caption": "a cat"}])
    records = read_coco_captions(written(tmp_path, alone), tmp_path / "nowhere")
    assert [record.photo_id for record in records] == [7]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"images": None}, "'images'"),
        ({"annotations": {}}, "'annotations'"),
        ({"images": ["a.jpg"]}, "images[0]"),
        ({"images": [{"file_name": "a.jpg"}]}, "images[0]: 'id' is missing"),
        ({"images": [{"id": True, "file_name": "a.jpg"}]}, "not an id"),
        ({"images": [{"id": 7}]}, "image 7: 'file_name' is missing"),
        ({"images": [{"id": 7, "file_name": 3}]}, "image 7: 'file_name' is not a text"),
        ({"images": [{"id": 7, "file_name": "a"}, {"id": 7, "file_name": "b"}]}, "occurs twice"),
        (
            {"annotations": [{"id": 5, "image_id": 99, "caption": "a"}]},
            "annotation 5: no image has the id 99",
        ),
        ({"annotations": [{"id": 5, "image_id": 7}]}, "annotation 5: 'caption' is missing"),
        ({"annotations": [{"id": 5, "image_id": 7, "caption": "  "}]}, "image 7: a caption is empty"),
        ({"annotations": [{"image_id": 7, "caption": "a", "language": 1}]}, "annotation number 0"),
    ],
)
def test_a_broken_entry_is_named(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    path = written(tmp_path, document(**changes))
    with pytest.raises(DataError) as caught:
        read_coco_captions(path, IMAGES)
    message = str(caught.value)
    assert str(path) in message
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../up.jpg", "a/../../up.jpg", "a\\..\\..\\up.jpg", "C:\\up.jpg", "a\x00.jpg"],
)
def test_a_file_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, document(images=[{"id": 7, "file_name": name}]))
    with pytest.raises(DataError, match=r"leaves the image folder|lies outside|on the drive"):
        read_coco_captions(path, IMAGES)


def test_ids_as_text_and_as_number_are_one_and_a_backslash_is_a_slash(tmp_path: Path) -> None:
    captions = [{"image_id": 7, "caption": "a dog"}]
    path = written(tmp_path, document(images=[{"id": "7", "file_name": "a\\b.jpg"}], annotations=captions))
    assert read_coco_captions(path, IMAGES) == [
        CaptionRecord(IMAGES / "a" / "b.jpg", (("a dog", "en"),), "7")
    ]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "line 1"),
        (b'{"images": [],\n "annotations": [', "line 2"),
        (b"[1, 2]", "expected a JSON object, found list"),
        (b"\xff\xfe\x00\x01{", "not UTF-8"),
        (b'{"a":' + b"[" * 100_000, "not JSON"),
    ],
)
def test_no_json_is_one_line_with_the_file(tmp_path: Path, raw: bytes, expected: str) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(raw)
    with pytest.raises(DataError) as caught:
        read_coco_captions(path, IMAGES)
    assert str(path) in str(caught.value)
    assert expected in str(caught.value)


def test_a_missing_file_and_a_folder_are_data_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            read_coco_captions(path, IMAGES)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["images", "annotations", "id", "file_name", "image_id", "caption", "language"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(document=JSON)
def test_any_json_gives_records_or_a_data_error(
    document: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = written(tmp_path_factory.getbasetemp(), document)
    try:
        records = read_coco_captions(path, IMAGES)
    except DataError:
        return
    assert all(text.strip() for record in records for text, _ in record.captions)
