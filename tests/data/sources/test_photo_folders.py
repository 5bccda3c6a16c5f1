"""The photos of a list are found where they are, and else it is said where they were looked for."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seetell.core.errors import DataError
from seetell.data.preparing.run import PrepareOptions, prepare
from seetell.data.sources.detect import Source, SourceOptions, read_source
from tests.data.photo_files import photo_bytes, put
from tests.data.sources.test_sources import as_json, captions

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"


def all_there(source: Source) -> bool:
    return all(isinstance(one.photo, Path) and one.photo.is_file() for one in source.samples)


@pytest.mark.parametrize(
    ("table", "name", "photo"),
    [
        ("t.csv", "a.jpg", "a.jpg"),
        ("t.csv", "a.jpg", "images/a.jpg"),
        ("t.csv", "images/a.jpg", "images/a.jpg"),
        ("t.csv", "images\\sub\\a.jpg", "images/sub/a.jpg"),
        ("t.csv", "a.jpg", "Flicker8k_Dataset/a.jpg"),
        ("lists/t.csv", "a.jpg", "images/a.jpg"),
        ("lists/t.csv", "images/a.jpg", "images/a.jpg"),
        ("lists/captions_val2014.csv", "a.jpg", "val2014/a.jpg"),
    ],
)
def test_the_folder_is_the_one_that_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, name: str, photo: str
) -> None:
    put(tmp_path, photo)
    put(tmp_path, "images/other.jpg")
    path = put(tmp_path, table, f"filepath,title\n{name},a dog\n")
    source = read_source(path)
    assert [one.captions for one in source.samples] == [(("a dog", ""),)]
    assert all_there(source) and source.notes == ()
    monkeypatch.chdir(path.parent)
    assert all_there(read_source(Path(path.name)))


@pytest.mark.parametrize("given", [".", "annotations/captions_train2017.json"])
def test_coco_as_it_is_unpacked(tmp_path: Path, given: str) -> None:
    """Photos in a folder with the split's name; the ids are texts in one list and numbers in the other."""
    for split in ("train2017", "val2017"):
        document = {
            "images": [{"id": "1", "file_name": "000000000001.jpg"}],
            "annotations": [{"image_id": 1, "caption": f"a dog of {split}"}],
        }
        put(tmp_path, f"annotations/captions_{split}.json", as_json(document))
        put(tmp_path, f"{split}/000000000001.jpg", photo_bytes(len(split)))
    source = read_source(tmp_path / given)
    found = {str(one.photo): one.captions[0][0] for one in source.samples}
    expected = {str(tmp_path / f"{s}/000000000001.jpg"): f"a dog of {s}" for s in ("train2017", "val2017")}
    assert found == (expected if given == "." else {k: v for k, v in expected.items() if "train" in k})
    assert source.broken == ()


@pytest.mark.parametrize("named", [True, False])
def test_vqa_as_it_is_unpacked(tmp_path: Path, named: bool) -> None:
    more = {"image": "COCO_val2014_000000000042.jpg"} if named else {}
    questions = [{"question_id": 1, "image_id": 42, "question": "what is it?", **more}]
    answers = [{"question_id": "1", "multiple_choice_answer": "dog"}]
    path = put(tmp_path, "v2_OpenEnded_mscoco_val2014_questions.json", as_json({"questions": questions}))
    put(tmp_path, "v2_mscoco_val2014_annotations.json", as_json({"annotations": answers}))
    put(tmp_path, "train2014/COCO_train2014_000000000041.jpg")
    photo = put(tmp_path, "val2014/COCO_val2014_000000000042.jpg")
    [sample] = read_source(path).samples
    assert (sample.photo, sample.questions[0].answers) == (photo, ("dog",))


def test_names_in_parquet_and_in_metadata(tmp_path: Path) -> None:
    (tmp_path / "pq").mkdir()
    pq.write_table(pa.table({"image": ["p\\x.jpg"], "caption": ["a dog"]}), tmp_path / "pq" / "a.parquet")
    put(tmp_path, "pq/images/p/x.jpg")
    put(tmp_path, "hf/metadata.csv", "file_name,text\na.jpg,a dog\n")
    put(tmp_path, "hf/images/a.jpg")
    for folder in ("pq", "hf"):
        source = read_source(tmp_path / folder)
        assert all_there(source) and len(source.samples) == 1


def test_a_folder_of_small_copies_is_not_chosen(tmp_path: Path) -> None:
    for n in range(4):
        put(tmp_path, f"thumbs/{n}.jpg")
        if n:
            put(tmp_path, f"images/{n}.jpg")
    table = put(tmp_path, "t.csv", "filepath,title\n" + "".join(f"{n}.jpg,a dog\n" for n in range(4)))
    assert {one.photo.parent for one in read_source(table).samples if isinstance(one.photo, Path)} == {
        tmp_path / "images"
    }


def test_where_they_were_looked_for_is_said(tmp_path: Path) -> None:
    put(tmp_path, "images/other.jpg")
    table = put(tmp_path, "t.csv", "filepath,title\nnone.jpg,a dog\n")
    [note] = read_source(table).notes
    assert f"'{tmp_path}/images/none.jpg', '{tmp_path}/none.jpg'; name their folder with --images" in note
    [note] = read_source(table, SourceOptions(images=tmp_path / "images")).notes
    assert f"tried '{tmp_path}/images/none.jpg';" in note
    absolute = put(tmp_path, "absolute.csv", "filepath,title\n/other/a.jpg,a dog\nb.jpg,a cat\n")
    [other] = read_source(absolute).notes
    assert f"tried '{tmp_path}/images/b.jpg'" in other
    with pytest.raises(DataError) as caught:
        prepare(table, tmp_path / "out", PrepareOptions(workers=1))
    message = str(caught.value)
    assert (
        "nothing is left of it: unreadable 1; as in 'missing: " in message and note.split(";")[1] in message
    )
    assert "\n" not in message


def test_a_list_opens_no_photo_beside_its_data_set(tmp_path: Path) -> None:
    put(tmp_path, "private/a.jpg")
    for name in ("a.jpg", "private/a.jpg", "..\\private\\a.jpg", "C:\\private\\a.jpg"):
        table = put(tmp_path, "mine/t.csv", f"filepath,title\n{name},a dog\nb.jpg,a cat\n")
        assert not any(Path(str(one.photo)).is_file() for one in read_source(table).samples)


def test_what_img2dataset_writes(tmp_path: Path) -> None:
    for n in range(3):
        put(tmp_path, f"00000/{n:09}.jpg")
        put(tmp_path, f"00000/{n:09}.txt", f"photo {n}")
        facts = {"caption": f"photo {n}", "url": "https://example.org/a", "key": f"{n:09}", "exif": "{}"}
        put(tmp_path, f"00000/{n:09}.json", as_json(facts))
    pq.write_table(pa.table({"url": ["x"], "caption": ["photo 0"]}), tmp_path / "00000.parquet")
    put(tmp_path, "00000_stats.json", "{}")
    source = read_source(tmp_path)
    assert source.format == "folder"
    assert captions(source) == {f"00000/{n:09}.jpg": (f"photo {n}",) for n in range(3)}


def test_git_lfs_pointers_are_told(tmp_path: Path) -> None:
    table = put(tmp_path, "t.csv", "filepath,title\na.jpg,a small dog\n")
    put(tmp_path, "a.jpg", POINTER)
    with pytest.raises(DataError, match=r"unreadable 1; as in .*a Git LFS pointer .*run git lfs pull"):
        prepare(table, tmp_path / "out", PrepareOptions(workers=1))
    for name in ("b.csv", "b.json", "b.jsonl", "captions.json", "b.parquet", "b.tar", "captions.txt"):
        with pytest.raises(DataError, match=f"{name}: a Git LFS pointer"):
            read_source(put(tmp_path, name, POINTER))
    heap = tmp_path / "heap"
    put(heap, "a.jpg")
    put(heap, "a.txt", POINTER)
    put(heap, "b.jpg")
    put(heap, "b.txt", "a dog")
    source = read_source(heap)
    assert list(captions(source)) == ["b.jpg"] and "a.txt: a Git LFS pointer" in source.broken[0].message
