"""Files of objects on photos, whole and broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seetell.core.errors import DataError
from seetell.evaluation.objects import ObjectRecord, read_objects

COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
    "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
    "annotations": [
        {"id": 5, "image_id": 1, "category_id": 18},
        {"id": 6, "image_id": 1, "category_id": 1},
        {"id": 7, "image_id": 1, "category_id": 18},
    ],
}


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "objects.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_coco_instances(tmp_path: Path) -> None:
    expected = [ObjectRecord(Path("p/a.jpg"), ("dog", "person")), ObjectRecord(Path("p/b.jpg"), ())]
    assert read_objects(written(tmp_path, json.dumps(COCO)), Path("p")) == expected
    assert read_objects(written(tmp_path, json.dumps(COCO, indent=1)), Path("p")) == expected


def test_lines_as_pope_has_them(tmp_path: Path) -> None:
    lines = (
        '{"image": "a.jpg", "objects": ["person", "baseball bat", "person"]}\r\n\n'
        '{"image": "b.jpg", "objects": []}'
    )
    assert read_objects(written(tmp_path, lines), Path("p")) == [
        ObjectRecord(Path("p/a.jpg"), ("person", "baseball bat")),
        ObjectRecord(Path("p/b.jpg"), ()),
    ]
    one = read_objects(written(tmp_path, '{"image": "a.jpg", "objects": ["cup"]}'), Path("p"))
    assert one == [ObjectRecord(Path("p/a.jpg"), ("cup",))]


@pytest.mark.parametrize(
    "content",
    [
        "",
        " \n ",
        "[]",
        "{",
        "[" * 100_000,
        b"\xff\xfe",
        '{"image": "a.jpg", "objects": ["cup"]}\nnonsense',
        '{"image": "a.jpg", "objects": "cup"}\n{"image": "b.jpg", "objects": []}',
        '{"image": "a.jpg", "objects": [3]}\n{}',
        '{"image": "a.jpg", "objects": [" "]}\n{}',
        '{"image": "../a.jpg", "objects": []}\n{}',
        '{"image": 3, "objects": []}\n{}',
        '{"objects": []}\n{}',
        json.dumps({**COCO, "categories": []}),
        json.dumps({**COCO, "images": COCO["images"][1:]}),
        json.dumps({**COCO, "images": COCO["images"] * 2}),
        json.dumps({**COCO, "images": 3}),
        json.dumps({"images": [], "categories": []}),
        json.dumps({**COCO, "annotations": [{"image_id": 1}]}),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(DataError, match=r"objects\.json") as caught:
        read_objects(written(tmp_path, content), Path("p"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_objects(tmp_path / "gone.json", Path("p"))
