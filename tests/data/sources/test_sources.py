"""Every format gives the same samples; broken entries are named and the others go on."""

from __future__ import annotations

import io
import json
import os
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from seetell.core.errors import DataError, ImageError, SeetellError, UsageError
from seetell.data.photo_bytes import read_photo
from seetell.data.photo_refs import FileSlice, ParquetCell, ref_state
from seetell.data.sources.detect import FORMATS, Source, SourceOptions, detect_format, read_source
from seetell.data.sources.fields import Columns, split_in
from tests.data.photo_files import photo_bytes, put


def captions(source: Source) -> dict[str, tuple[str, ...]]:
    return {one.key: tuple(text for text, _ in one.captions) for one in source.samples}


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def make_tar(path: Path, members: dict[str, bytes], **more: Any) -> Path:
    with tarfile.open(path, "w", **more) as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


# --- a folder with texts beside the photos ---------------------------------------------------------------


def test_texts_beside_photos(tmp_path: Path) -> None:
    put(tmp_path, "train/a.jpg")
    put(tmp_path, "train/a.txt", "a dog\n\n a red dog \n")
    put(tmp_path, "val/b.png")
    put(tmp_path, "val/b.json", as_json({"caption": "猫", "language": "zh", "label": 3}))
    put(tmp_path, "val/c.jpg")
    source = read_source(tmp_path)
    assert source.format == "folder"
    first, second, third = source.samples
    assert (first.key, first.split) == ("train/a.jpg", "train")
    assert [text for text, _ in first.captions] == ["a dog", " a red dog "]
    assert (second.captions, second.label, second.split) == ((("猫", "zh"),), "3", "val")
    assert third.captions == ()


def test_an_empty_text_is_an_empty_caption(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    put(tmp_path, "a.txt", "\n")
    assert captions(read_source(tmp_path)) == {"a.jpg": ("",)}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"\xff\xfe\x00d", "not UTF-8"),
        ("a.json", b"{", "not JSON"),
        ("a.json", b"7", "expected an object, found int"),
        ("a.json", b'{"captions": [{"language": "en"}]}', "an entry holds no text"),
        ("a.json", b'{"caption": {"a": 1}}', "neither a text nor a list"),
        ("a.txt", b"x" * (1 << 21), "which is no caption"),
    ],
)
def test_a_broken_text_is_named_and_the_others_go_on(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    put(tmp_path, "a.jpg")
    put(tmp_path, name, content)
    put(tmp_path, "b.jpg")
    put(tmp_path, "b.txt", "a dog")
    source = read_source(tmp_path)
    assert captions(source) == {"b.jpg": ("a dog",)}
    [broken] = source.broken
    assert said in broken.message and str(tmp_path / "a.") in broken.message


# --- tables ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "filepath\ttitle\na.jpg\ta dog\nb.jpg\ttwo, cats\na.jpg\ta red dog\n"),
        ("t.csv", 'image,caption\na.jpg,a dog\nb.jpg,"two, cats"\na.jpg,a red dog\n'),
        ("t.tsv", "\ufefffile_name\tTEXT\na.jpg\ta dog\nb.jpg\ttwo, cats\na.jpg\ta red dog\n"),
        (
            "t.jsonl",
            '{"image": "a.jpg", "caption": ["a dog", "a red dog"]}\n\n'
            '{"image": "b.jpg", "caption": "two, cats"}',
        ),
        (
            "t.json",
            as_json(
                [
                    {"image": "a.jpg", "caption": ["a dog", "a red dog"], "image_id": "x"},
                    {"image": "b.jpg", "caption": [{"raw": "two, cats"}]},
                ]
            ),
        ),
    ],
)
def test_tables_of_every_kind(tmp_path: Path, name: str, content: str) -> None:
    source = read_source(put(tmp_path, name, content))
    assert source.format == "table"
    assert captions(source) == {"a.jpg": ("a dog", "a red dog"), "b.jpg": ("two, cats",)}
    assert [one.photo for one in source.samples] == [tmp_path / "a.jpg", tmp_path / "b.jpg"]


def test_blip_questions(tmp_path: Path) -> None:
    rows = [{"image": "a.jpg", "question": "what?", "answer": ["dog", "cat"], "question_id": 9}]
    [sample] = read_source(put(tmp_path, "vqa_train.json", as_json(rows))).samples
    [record] = sample.question_records()
    assert (record.question, record.answers, record.question_id) == ("what?", ("dog", "cat"), 9)
    assert (sample.split, sample.caption_record(), sample.label_record()) == ("train", None, None)


def test_named_columns_and_images_folder(tmp_path: Path) -> None:
    table = put(tmp_path / "lists", "t.csv", "id,pic,alt\n1,a.jpg,a dog\n")
    (tmp_path / "photos").mkdir()
    options = SourceOptions(images=tmp_path / "photos", columns=Columns("pic", "alt"))
    [sample] = read_source(table, options).samples
    assert (sample.photo, sample.captions[0][0]) == (tmp_path / "photos" / "a.jpg", "a dog")
    # An absolute name inside the folder is fine.
    table.write_text(f"filepath,title\n{tmp_path}/photos/a.jpg,a dog\n")
    assert read_source(table, SourceOptions(images=tmp_path / "photos")).samples[0].key == "a.jpg"


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    table = put(tmp_path, "t.csv", "pic,alt\na.jpg,a dog\n")
    with pytest.raises(UsageError, match="has no column 'photo'; it has: 'pic', 'alt'"):
        read_source(table, SourceOptions(columns=Columns(photo="photo")))
    with pytest.raises(DataError, match="--photo-column"):
        read_source(table)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("../../etc/passwd,x", "leaves the image folder"),
        ("/etc/passwd,x", "lies outside"),
        ("https://example.org/a.jpg,x", "download the photos first"),
        (",x", "names no photo"),
        ("a.jpg,x,y", "more fields than the first line names"),
    ],
)
def test_a_broken_row_is_named_by_its_line(tmp_path: Path, row: str, said: str) -> None:
    source = read_source(put(tmp_path, "t.csv", f"filepath,title\nb.jpg,a dog\n{row}\nc.jpg,cats\n"))
    assert list(captions(source)) == ["b.jpg", "c.jpg"]
    assert said in source.broken[0].message and "line 3" in source.broken[0].message


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "empty"),
        ("t.csv", b"filepath,title\na.jpg,\xff\xfe\n", "not UTF-8"),
        ("t.jsonl", b"{\n[]\n", "nothing usable"),
        ("t.json", b'{"a": 1}', "neither COCO captions"),
        ("t.json", b"[" * 100_000, "not JSON"),
        ("t.tar.gz", b"x", "unpack it first"),
        ("t.docx", b"x", "no format that is read"),
        ("t.tar", b"x" * 2000, "not an uncompressed tar"),
        ("t.parquet", b"PAR1xxxxPAR1", "parquet"),
    ],
)
def test_a_file_that_is_none_of_them(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_source(path)
    assert said in str(caught.value) and name in str(caught.value)
    assert "\n" not in str(caught.value)


@given(data=st.binary(max_size=400), suffix=st.sampled_from([".csv", ".jsonl", ".json", ".tar", ".parquet"]))
def test_whatever_the_bytes_only_our_errors(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("bytes") / f"t{suffix}"
    path.write_bytes(data)
    with suppress(SeetellError):
        read_source(path)


# --- COCO and VQA ----------------------------------------------------------------------------------------


def test_coco_folder_with_splits(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        document = {
            "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": f"{split}.jpg"}],
            "annotations": [
                {"image_id": 1, "caption": "a dog", "language": "en"},
                {"image_id": 2, "caption": ""},
                {"image_id": 3, "caption": "nobody"},
                {"image_id": 1},
            ],
        }
        put(tmp_path, f"captions_{split}.json", as_json(document))
    put(tmp_path, "images/a.jpg")
    source = read_source(tmp_path)
    assert source.format == "coco"
    assert captions(source) == {
        "a.jpg": ("a dog",),
        "dev.jpg": ("",),
        "a.jpg#2": ("a dog",),
        "train.jpg": ("",),
    }
    assert [one.split for one in source.samples] == ["dev", "dev", "train", "train"]
    assert source.samples[0].photo == tmp_path / "images" / "a.jpg"
    assert ["no image has the id 3" in one.message for one in source.broken] == [True, False, True, False]


def test_vqa_is_one_sample_per_photo(tmp_path: Path) -> None:
    questions = [
        {"question_id": n, "image_id": 1, "image": "a.jpg", "question": f"what is {n}?"} for n in (1, 2)
    ]
    answers = [
        {"question_id": n, "image_id": 1, "answers": [{"answer": "dog"}], "multiple_choice_answer": "dog"}
        for n in (1, 2)
    ]
    put(tmp_path, "questions_train.json", as_json({"questions": questions}))
    put(tmp_path, "annotations_train.json", as_json({"annotations": answers}))
    put(tmp_path, "images/a.jpg")
    source = read_source(tmp_path)
    assert source.format == "vqa"
    [sample] = source.samples
    assert [(q.question, q.answers, q.majority) for q in sample.questions] == [
        ("what is 1?", ("dog",), "dog"),
        ("what is 2?", ("dog",), "dog"),
    ]


# --- Hugging Face ----------------------------------------------------------------------------------------


def test_label_folders_with_and_without_splits(tmp_path: Path) -> None:
    put(tmp_path, "plain/cat/a.jpg")
    put(tmp_path, "plain/dog/b.jpg")
    put(tmp_path, "split/train/cat/a.jpg")
    put(tmp_path, "split/test/cat/b.jpg")
    plain = read_source(tmp_path / "plain")
    assert plain.format == "imagefolder"
    assert [(one.key, one.label, one.split) for one in plain.samples] == [
        ("cat/a.jpg", "cat", None),
        ("dog/b.jpg", "dog", None),
    ]
    split = read_source(tmp_path / "split")
    assert {(one.key, one.split) for one in split.samples} == {
        ("train/cat/a.jpg", "train"),
        ("test/cat/b.jpg", "test"),
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.csv", "file_name,text\nsub/a.jpg,a dog\n"),
        ("metadata.jsonl", '{"file_name": "sub/a.jpg", "text": "a dog"}\n'),
    ],
)
def test_metadata_in_a_split(tmp_path: Path, name: str, content: str) -> None:
    put(tmp_path, f"train/{name}", content)
    put(tmp_path, "train/sub/a.jpg")
    source = read_source(tmp_path)
    assert source.format == "imagefolder"
    [sample] = source.samples
    assert (sample.key, sample.split) == ("train/sub/a.jpg", "train")
    assert sample.captions == (("a dog", ""),)


def huggingface_parquet(path: Path, count: int = 5) -> Path:
    features = {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}, "image": {"_type": "Image"}}
    table = pa.table(
        {
            "image": [{"bytes": photo_bytes(n), "path": f"{n}.jpg"} for n in range(count)],
            "text": [f"photo {n}" for n in range(count)],
            "label": [n % 2 for n in range(count)],
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=2)
    return path


def test_parquet_with_photos(tmp_path: Path) -> None:
    huggingface_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    source = read_source(tmp_path)
    assert source.format == "parquet"
    assert [one.label for one in source.samples] == ["cat", "dog", "cat", "dog", "cat"]
    assert {one.split for one in source.samples} == {"train"}
    assert source.samples[4].key == "train-00000-of-00001/000004-4.jpg"
    assert [read_photo(one.photo) for one in source.samples] == [photo_bytes(n) for n in range(5)]


def test_parquet_with_plain_bytes_and_with_names(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    pq.write_table(
        pa.table({"jpg": [photo_bytes(1)], "caption": ["a dog"]}), tmp_path / "plain" / "a.parquet"
    )
    [sample] = read_source(tmp_path / "plain").samples
    assert read_photo(sample.photo) == photo_bytes(1)
    photo = put(tmp_path, "named/x.jpg")
    pq.write_table(pa.table({"image": ["x.jpg"], "caption": ["a dog"]}), tmp_path / "named" / "a.parquet")
    [sample] = read_source(tmp_path / "named").samples
    assert (sample.photo, sample.captions) == (photo, (("a dog", ""),))


def test_a_parquet_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    path = huggingface_parquet(tmp_path / "a.parquet", 1)
    [sample] = read_source(path).samples
    assert read_photo(sample.photo) == photo_bytes(0)
    pq.write_table(pa.table({"image": [{"bytes": photo_bytes(9), "path": "x"}]}), path)
    os.utime(path, ns=(1, 1))
    assert read_photo(sample.photo) == photo_bytes(9)


# --- WebDataset ------------------------------------------------------------------------------------------


def test_what_the_webdataset_library_writes(tmp_path: Path) -> None:
    path = tmp_path / "train-000.tar"
    with webdataset.TarWriter(str(path)) as writer:
        for n in range(3):
            writer.write({"__key__": f"{n:03}", "jpg": photo_bytes(n), "txt": f"photo {n}", "cls": n})
    source = read_source(tmp_path)
    assert source.format == "webdataset"
    assert captions(source) == {f"train-000/{n:03}": (f"photo {n}",) for n in range(3)}
    assert [one.label for one in source.samples] == ["0", "1", "2"]
    assert [read_photo(one.photo) for one in source.samples] == [photo_bytes(n) for n in range(3)]


def test_the_questions_of_our_own_shards_are_read_again(tmp_path: Path) -> None:
    asked = [
        {"question": f"what is {n}?", "answers": ["a", "b"], "question_id": n, "majority": "b"}
        for n in (5, 6)
    ]
    document = {"captions": [], "questions": asked, "label": None}
    path = make_tar(tmp_path / "t.tar", {"0.jpg": photo_bytes(0), "0.json": as_json(document).encode()})
    [sample] = read_source(path).samples
    assert [(q.question, q.answers, q.question_id, q.majority) for q in sample.questions] == [
        ("what is 5?", ("a", "b"), 5, "b"),
        ("what is 6?", ("a", "b"), 6, "b"),
    ]


def test_tar_members_that_are_no_samples(tmp_path: Path) -> None:
    path = make_tar(
        tmp_path / "a.tar",
        {
            "README": b"x",
            "a/1.txt": b"alone",
            "a/2.seg.png": photo_bytes(2, "PNG"),
            "a/2.json": as_json({"caption": "two", "captions": ["no"]}).encode(),
            "a/2.txt": b"two",
            "a/3.jpg": photo_bytes(3),
            "a/3.json": b"{",
            "long" * 60 + ".jpg": photo_bytes(4),
        },
        format=tarfile.GNU_FORMAT,
    )
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("a/5.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    source = read_source(path)
    assert captions(source) == {"a/a/2": ("two",), "a/" + "long" * 60: ()}
    assert sorted(one.where.rpartition(":")[2] for one in source.broken) == ["a/1", "a/3"]


def test_a_tar_that_is_cut_off_gives_what_is_whole(tmp_path: Path) -> None:
    members = {f"{n}.jpg": photo_bytes(n) for n in range(4)}
    whole = make_tar(tmp_path / "b.tar", members)
    with tarfile.open(whole) as archive:
        within_the_third = archive.getmembers()[2].offset_data + 20
    (tmp_path / "a.tar").write_bytes(whole.read_bytes()[:within_the_third])
    (tmp_path / "c.tar").write_bytes(b"rubbish" * 200)
    source = read_source(tmp_path)
    good = 0
    for sample in source.samples:
        with suppress(ImageError):
            read_photo(sample.photo)
            good += 1
    assert good == 4 + 2
    assert any("c.tar" in one.message for one in source.broken)


# --- references ------------------------------------------------------------------------------------------


def test_references_that_lead_nowhere(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    short = put(tmp_path, "short", b"abc")
    for ref, kind in [
        (tmp_path / "none.jpg", "missing"),
        (tmp_path, "directory"),
        (fifo, "unsupported"),
        (Path("a\x00b"), "missing"),
        (FileSlice(short, 1, 9, "x"), "truncated"),
        (FileSlice(short, 0, 1 << 40, "x"), "too_large"),
        (ParquetCell(tmp_path / "none.parquet", 0, 0, "image", True), "missing"),
        (ParquetCell(short, 0, 0, "image", True), "unreadable"),
    ]:
        with pytest.raises(ImageError) as caught:
            read_photo(ref)
        assert caught.value.kind == kind
        ref_state(ref)


def test_names_of_splits() -> None:
    assert split_in("captions_train2017.json") == "train"
    assert split_in("validation-00000-of-00001.parquet") == "validation"
    assert split_in("v2_OpenEnded_mscoco_val2014_questions.json") == "val"
    assert split_in("training_of_dogs.csv") == "training"
    assert split_in("testing.csv") is None


def test_formats_can_be_forced(tmp_path: Path) -> None:
    put(tmp_path, "cat/a.jpg")
    assert detect_format(tmp_path) == "imagefolder"
    assert read_source(tmp_path, SourceOptions(format="folder")).samples[0].label is None
    assert set(FORMATS) == {"folder", "table", "coco", "vqa", "webdataset", "imagefolder", "parquet"}
    with pytest.raises(DataError, match="is a folder, and this is a file"):
        read_source(put(tmp_path, "x.csv", "a\n"), SourceOptions(format="folder"))
    with pytest.raises(DataError, match="no such file"):
        read_source(tmp_path / "none")
