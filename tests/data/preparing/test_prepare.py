"""The whole way, on small heaps: what is kept, what is left out, and that nothing is lost on the way."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from seetell.core.errors import DataError, ImageError, SeetellError, StorageError, UsageError
from seetell.core.results import Failure
from seetell.data.cleaning.limits import Limits
from seetell.data.preparing import measuring, parallel, writing
from seetell.data.preparing.run import PrepareOptions, prepare
from seetell.data.preparing.scoring import Captioner, Scorer
from seetell.data.shards import Position, open_shards
from seetell.data.sources.detect import SourceOptions, read_source
from tests.data.photo_files import put
from tests.data.preparing.heap import (
    chunk_that_dies,
    dies_at_three,
    double,
    fails_at_three,
    heap,
    jpeg,
    plain,
    tree,
)
from tests.data.sources.test_sources import huggingface_parquet, make_tar

OPTIONS = PrepareOptions(workers=1, shard_samples=10)
ENGLISH = replace(OPTIONS, limits=Limits(languages=("en",)))


def dropped(out: Path) -> dict[tuple[str, str], str]:
    rows = pq.read_table(out / "dropped.parquet").to_pylist()
    return {(row["key"], row["text"] or ""): row["reason"] for row in rows}


def test_everything_wrong_is_named(tmp_path: Path) -> None:
    table = heap(tmp_path / "heap")
    before = {path: path.read_bytes() for path in (tmp_path / "heap").iterdir()}
    out = tmp_path / "out"
    summary = prepare(table, out, ENGLISH)
    assert summary["photos"] == {"read": 51, "kept": 41}
    assert summary["dropped_photos"] == {
        "unreadable": 2,
        "tiny": 1,
        "extreme_aspect": 1,
        "blank": 1,
        "exact_duplicate": 1,
        "near_duplicate": 1,
        "across_splits": 1,
        "no_text": 2,
    }
    found = dropped(out)
    assert found[("same.jpg", "")] == "exact_duplicate"
    # The larger of two that look alike stays.
    assert found[("0001.jpg", "")] == "near_duplicate"
    assert found[("leaked.jpg", "")] == "across_splits"
    assert found[("untold.jpg", "")] == "no_text"
    assert found[("untold.jpg", "IMG_0001.JPG")] == "file_name"
    assert found[("german.jpg", "ein Hund rennt am Strand entlang")] == "wrong_language"
    assert found[("good.jpg", "click here to enlarge")] == "boilerplate"
    assert found[("good.jpg", "A good photo of something!")] == "same_text"
    assert [reason for (key, _), reason in found.items() if "line" in key] == ["broken_entry"]
    train = {sample.key: sample for sample, _ in open_shards(out, "train").read()}
    assert train["0000.jpg"].captions == (
        ("a picture of thing 0", "en"),
        ("another view of thing 0", "en"),
        ("the very same photo", "en"),
    )
    assert train["good.jpg"].captions == (("a good photo of something", "en"),)
    assert train["0000.jpg"].photo == jpeg(0)
    assert {path: path.read_bytes() for path in (tmp_path / "heap").iterdir()} == before, "only read"


def test_the_report_is_whole_and_quotes_what_it_shows(tmp_path: Path) -> None:
    table = heap(tmp_path / "heap")
    with open(table, "a", encoding="utf-8") as file:
        file.write('good.jpg,"<script>alert(1)</script> click here",train\n')
    prepare(table, tmp_path / "out", ENGLISH)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for word in ("unreadable", "tiny", "blank", "exact_duplicate", "across_splits", "wrong_language"):
        assert f'id="{word}"' in page
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/jpeg;base64,") > 15
    assert "--min-edge 32" in page and "<svg" in page


def test_a_reason_that_all_photos_go_for_is_100_per_cent(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(3)]
    put(tmp_path, "photos.csv", "\n".join(["image,caption", *(f"{name},a red dog" for name in names)]))
    for name in names:
        put(tmp_path, name, b"no photo")
    with pytest.raises(DataError, match=r"nothing is left of it: unreadable 3; as in "):
        prepare(tmp_path / "photos.csv", tmp_path / "out", ENGLISH)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<td>100%</td>" in page and "e+0" not in page


def test_two_runs_and_any_number_of_workers_give_the_same_bytes(tmp_path: Path) -> None:
    table = plain(tmp_path / "heap", 300)
    prepare(table, tmp_path / "one", replace(OPTIONS, shard_samples=50))
    prepare(table, tmp_path / "two", PrepareOptions(workers=2, shard_samples=50))
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_the_webdataset_library_reads_our_shards(tmp_path: Path) -> None:
    prepare(plain(tmp_path / "heap"), tmp_path / "out", OPTIONS)
    shards = sorted(map(str, (tmp_path / "out").glob("train-*.tar")))
    read = list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).decode("rgb8"))
    assert len(read) == 32
    assert read[0]["jpg"].shape == (60, 80, 3)
    assert read[0]["txt"] == "a picture of thing 0"
    assert read[0]["json"]["captions"][1]["text"] == "another view of thing 0"
    assert [int(one["__key__"]) for one in read] == list(range(32))


def test_a_prepared_folder_is_a_source_again(tmp_path: Path) -> None:
    prepare(plain(tmp_path / "heap"), tmp_path / "out", OPTIONS)
    summary = prepare(tmp_path / "out", tmp_path / "again", OPTIONS)
    assert summary["source_format"] == "webdataset"
    assert summary["photos"] == {"read": 40, "kept": 40}
    first = sorted(s.captions for s, _ in open_shards(tmp_path / "out", "val").read())
    assert sorted(s.captions for s, _ in open_shards(tmp_path / "again", "val").read()) == first


# --- shards ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare(plain(folder / "heap"), folder / "out", OPTIONS)
    return folder / "out"


@given(data=st.data())
def test_reading_goes_on_from_any_position(prepared: Path, data: st.DataObject) -> None:
    shards = open_shards(prepared, "train")
    order = data.draw(st.permutations(range(len(shards.paths))))
    whole = list(shards.read(order=order))
    assert len(whole) == len(shards) == 32
    cut = data.draw(st.integers(0, len(whole)))
    position = Position() if cut == 0 else whole[cut - 1][1]
    rest = [sample.key for sample, _ in shards.read(position, order)]
    assert rest == [sample.key for sample, _ in whole[cut:]]
    if cut == 0:
        assert len(set(rest)) == 32


def test_records_out_of_shards(tmp_path: Path) -> None:
    folder = tmp_path / "vqa"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.jpg").write_bytes(jpeg(n))
    rows = [
        {"image": f"{n}.jpg", "question": f"what is {n}?", "answer": [str(n), "x"], "question_id": 10 + n}
        for n in (0, 1, 2, 0)
    ]
    (folder / "q.json").write_text(json.dumps(rows))
    prepare(folder / "q.json", tmp_path / "out", OPTIONS)
    shards = open_shards(tmp_path / "out")
    [(first, _), *_] = shards.read()
    assert [r.question_id for r in first.question_records()] == [10, 10]
    record = first.question_records()[0]
    assert (record.photo, record.answers, record.majority) == (jpeg(0), ("0", "x"), None)
    assert first.caption_record() is None and first.label_record() is None
    [(ref, _), *_] = shards.read_refs()
    assert ref.photo.path == shards.paths[0] and shards.size_bytes > 0


def test_shards_keep_of_what_kind_a_question_is_and_what_it_is_about(tmp_path: Path) -> None:
    (tmp_path / "vqa" / "images").mkdir(parents=True)
    (tmp_path / "vqa" / "images" / "a.jpg").write_bytes(jpeg(0))
    questions = [
        {"question_id": number, "image_id": 1, "image": "a.jpg", "question": text}
        for number, text in enumerate(("is there a dog?", "what is it?"))
    ]
    annotations = [
        {
            "question_id": 0,
            "image_id": 1,
            "multiple_choice_answer": "yes",
            "question_type": "presence",
            "word": "dog",
        },
        {"question_id": 1, "image_id": 1, "multiple_choice_answer": "a dog"},
    ]
    (tmp_path / "vqa" / "questions.json").write_text(json.dumps({"questions": questions}), encoding="utf-8")
    (tmp_path / "vqa" / "annotations.json").write_text(
        json.dumps({"annotations": annotations}), encoding="utf-8"
    )
    prepare(tmp_path / "vqa", tmp_path / "out", OPTIONS)
    (sample,) = [sample for sample, _ in open_shards(tmp_path / "out", "train").read()]
    assert [(one.question, one.kind, one.word) for one in sample.questions] == [
        ("is there a dog?", "presence", "dog"),
        ("what is it?", None, None),
    ]


def test_labels_and_parquet_and_tars_go_through(tmp_path: Path) -> None:
    for n in range(4):
        path = tmp_path / "labels" / ("cat" if n % 2 else "dog") / f"{n}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(n))
    prepare(tmp_path / "labels", tmp_path / "a", OPTIONS)
    labels = [sample.label_record() for sample, _ in open_shards(tmp_path / "a").read()]
    assert [one.label for one in labels if one] == ["cat", "cat", "dog", "dog"]
    huggingface_parquet(tmp_path / "pq" / "train-0.parquet", 5)
    assert prepare(tmp_path / "pq", tmp_path / "b", OPTIONS)["photos"] == {"read": 5, "kept": 5}
    make_tar(tmp_path / "x.tar", {"0.jpg": jpeg(0), "1.jpg": jpeg(1), "1.txt": b"a thing", "2.jpg": jpeg(2)})
    summary = prepare(tmp_path / "x.tar", tmp_path / "c", OPTIONS)
    assert summary["dropped_photos"] == {"no_text": 2}
    silent = replace(OPTIONS, limits=Limits(keep_silent=True))
    assert prepare(tmp_path / "x.tar", tmp_path / "d", silent)["photos"]["kept"] == 3


@pytest.mark.parametrize("harm", ["gone", "cut", "rubbish", "fewer"])
def test_damaged_shards_are_named(prepared: Path, tmp_path: Path, harm: str) -> None:
    out = tmp_path / "out"
    shutil.copytree(prepared, out)
    shard = out / "train-000001.tar"
    if harm == "gone":
        shard.unlink()
    elif harm == "cut":
        shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2 + 100])
    elif harm == "rubbish":
        shard.write_bytes(b"rubbish" * 1000)
    else:
        make_tar(shard, {})
    with pytest.raises(SeetellError, match=r"train-000001\.tar"):
        list(open_shards(out, "train").read())


def test_folders_and_positions_that_are_none(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no prepared data"):
        open_shards(tmp_path)
    with pytest.raises(UsageError, match="It has: train, val"):
        open_shards(prepared)
    shards = open_shards(prepared, "val")
    for position, order in [
        (Position(9, 0), None),
        (Position(0, 99), None),
        (Position(0, -1), None),
        (None, [0, 0]),
        (None, []),
    ]:
        with pytest.raises(UsageError):
            list(shards.read(position, order))
    damaged = tmp_path / "damaged"
    shutil.copytree(prepared, damaged)
    (damaged / "prepared.json").write_text('{"format": "seetell-prepared", "version": 1, "splits": [1]}')
    with pytest.raises(DataError, match="damaged"):
        open_shards(damaged)


# --- stopped, and going on -------------------------------------------------------------------------------


class Interrupted(Exception):
    """Stands for anything that ends a run."""


@pytest.mark.parametrize("after", [0, 1, 2])
def test_stopped_at_any_step_it_goes_on_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    table = plain(tmp_path / "heap", 300)
    prepare(table, tmp_path / "whole", OPTIONS)
    looked = []

    def counted(chunk: measuring.Chunk) -> list[measuring.Looked]:
        if len(looked) == after:
            raise Interrupted
        looked.append(chunk)
        return measure_chunk(chunk)

    measure_chunk = measuring.measure_chunk
    monkeypatch.setattr(measuring, "measure_chunk", counted)
    with suppress(Interrupted):
        prepare(table, tmp_path / "out", OPTIONS)
    monkeypatch.undo()
    written = []

    def some_written(plan: writing.Plan) -> None:
        if len(written) == 3 * after:
            raise Interrupted
        written.append(plan)
        write_shard(plan)

    write_shard = writing.write_shard
    monkeypatch.setattr(writing, "write_shard", some_written)
    with suppress(Interrupted):
        prepare(table, tmp_path / "out", OPTIONS)
    monkeypatch.undo()
    with pytest.raises(DataError, match="no prepared data"):
        open_shards(tmp_path / "out", "train")
    prepare(table, tmp_path / "out", OPTIONS)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def forbid_measuring(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From here on, the keys of the samples that are looked at."""
    seen: list[str] = []
    real = measuring.measure_chunk

    def counted(chunk: measuring.Chunk) -> list[measuring.Looked]:
        seen.extend(sample.key for sample in chunk[0])
        return real(chunk)

    monkeypatch.setattr(measuring, "measure_chunk", counted)
    return seen


def test_done_is_done_and_another_threshold_decodes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, out = plain(tmp_path / "heap"), tmp_path / "out"
    prepare(table, out, OPTIONS)
    before = tree(out)
    seen = forbid_measuring(monkeypatch)
    assert prepare(table, out, OPTIONS)["unchanged"]
    stricter = replace(OPTIONS, limits=Limits(min_words=6))
    with pytest.raises(StorageError, match="--overwrite replaces it"):
        prepare(table, out, stricter)
    assert tree(out) == before
    with pytest.raises(DataError, match="nothing is left"):
        prepare(table, out, replace(stricter, overwrite=True))
    assert not list(out.glob("*.tar")) and (out / "report.html").is_file()
    assert prepare(table, out, OPTIONS)["photos"]["kept"] == 40
    assert seen == [] and tree(out) == before


def test_a_shard_that_is_lost_is_written_again(tmp_path: Path) -> None:
    table, out = plain(tmp_path / "heap"), tmp_path / "out"
    prepare(table, out, OPTIONS)
    before = tree(out)
    (out / "train-000001.tar").unlink()
    prepare(table, out, replace(OPTIONS, overwrite=True))
    assert tree(out) == before


def test_a_split_that_changes_is_prepared_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, out = plain(tmp_path / "heap"), tmp_path / "out"
    prepare(table, out, OPTIONS)
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace("thing 0,train", "thing 0,val"), encoding="utf-8")
    with pytest.raises(StorageError, match="changed since"):
        prepare(table, out, OPTIONS)
    seen = forbid_measuring(monkeypatch)
    assert not prepare(table, out, replace(OPTIONS, overwrite=True))["unchanged"]
    keys = {split: {sample.key for sample, _ in open_shards(out, split).read()} for split in ("train", "val")}
    assert "0000.jpg" in keys["val"] and "0000.jpg" not in keys["train"]
    assert seen == [], "no photo is decoded for it"
    prepare(table, tmp_path / "fresh", OPTIONS)
    assert tree(out) == tree(tmp_path / "fresh")


@pytest.mark.parametrize("harm", ["gone", "cut", "rubbish", "another's"])
def test_a_sidecar_that_is_lost_or_damaged_is_written_again(tmp_path: Path, harm: str) -> None:
    table, out = plain(tmp_path / "heap"), tmp_path / "out"
    prepare(table, out, OPTIONS)
    before = tree(out)
    sidecar = out / "train-000000.parquet"
    if harm == "gone":
        sidecar.unlink()
    elif harm == "cut":
        sidecar.write_bytes(sidecar.read_bytes()[:-20])
    elif harm == "rubbish":
        # The footer alone is whole.
        data = sidecar.read_bytes()
        sidecar.write_bytes(b"\xff" * 2000 + data[2000:])
    else:
        shutil.copyfile(out / "train-000001.parquet", sidecar)
    with pytest.raises(StorageError, match="--overwrite replaces it"):
        prepare(table, out, OPTIONS)
    prepare(table, out, replace(OPTIONS, overwrite=True))
    assert tree(out) == before
    assert prepare(table, out, OPTIONS)["unchanged"]


def one_shard_with(out: Path, words: str) -> None:
    """Prepare four photos with words of the same length: a shard of the same size to the byte."""
    table = plain(out.parent / words, 4)
    text = table.read_text(encoding="utf-8").replace("a picture of", words)
    table.write_text(text, encoding="utf-8")
    prepare(table, out, replace(OPTIONS, overwrite=True))


def test_a_kill_between_a_shard_and_its_sidecar_leaves_no_false_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    one_shard_with(out, "a picture of")
    before = tree(out)

    def killed(path: Path, data: bytes) -> None:
        raise Interrupted

    monkeypatch.setattr(writing, "atomic_write_bytes", killed)
    with pytest.raises(Interrupted):
        one_shard_with(out, "b picture of")
    monkeypatch.undo()
    assert not (out / "train-000000.parquet").exists()
    one_shard_with(out, "a picture of")
    assert tree(out) == before


def test_a_false_pair_that_an_older_version_left_is_noticed(tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    one_shard_with(out, "a picture of")
    before = tree(out)
    one_shard_with(other, "b picture of")
    sizes = [(folder / "train-000000.tar").stat().st_size for folder in (out, other)]
    assert sizes[0] == sizes[1]
    shutil.copyfile(other / "train-000000.tar", out / "train-000000.tar")
    (out / "prepared.json").unlink()
    one_shard_with(out, "a picture of")
    assert tree(out) == before


def test_a_source_that_changes_is_looked_at_where_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, out = plain(tmp_path / "heap", 200), tmp_path / "out"
    prepare(table, out, OPTIONS)
    (tmp_path / "heap" / "0150.jpg").write_bytes(jpeg(999))
    seen = forbid_measuring(monkeypatch)
    with pytest.raises(StorageError, match="changed since"):
        prepare(table, out, OPTIONS)
    prepare(table, out, replace(OPTIONS, overwrite=True))
    assert "0150.jpg" in seen and "0000.jpg" not in seen
    prepare(table, tmp_path / "fresh", OPTIONS)
    assert tree(out) == tree(tmp_path / "fresh")


def test_kept_work_that_is_damaged_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, out = plain(tmp_path / "heap", 200), tmp_path / "out"
    prepare(table, out, OPTIONS)
    before = tree(out)
    piece = out / ".work" / "measured-000000.json"
    document = json.loads(piece.read_text())
    document["rows"][0] = ["jpg", 1]
    document["rows"][1] = 7
    piece.write_text(json.dumps(document))
    (out / "prepared.json").unlink()
    seen = forbid_measuring(monkeypatch)
    prepare(table, out, OPTIONS)
    assert len(seen) == 128 and tree(out) == before


def test_a_photo_that_changes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, out = plain(tmp_path / "heap"), tmp_path / "out"
    write_shard = writing.write_shard

    def changing(plan: writing.Plan) -> None:
        (tmp_path / "heap" / "0000.jpg").write_bytes(jpeg(77))
        write_shard(plan)

    monkeypatch.setattr(writing, "write_shard", changing)
    with pytest.raises(ImageError, match=r"0000\.jpg: changed while it was being prepared"):
        prepare(table, out, OPTIONS)
    monkeypatch.undo()
    prepare(table, out, OPTIONS)
    assert next(open_shards(out, "train").read())[0].photo == jpeg(77)


# --- where to write --------------------------------------------------------------------------------------


def test_places_that_are_not_ours(tmp_path: Path) -> None:
    table = plain(tmp_path / "heap", 3)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.doc").write_text("x")
    for source, out, said in [
        (tmp_path / "heap", tmp_path / "heap" / "out", "which is only read"),
        (tmp_path / "heap", tmp_path / "heap", "which is only read"),
        (table, tmp_path / "heap", "holds"),
        (table, tmp_path / "other", "other files"),
        (table, table.with_name("0000.jpg"), "is a file"),
    ]:
        with pytest.raises(StorageError, match=said):
            prepare(source, out, OPTIONS)
    assert (tmp_path / "other" / "thesis.doc").read_text() == "x"
    (tmp_path / "empty").mkdir()
    prepare(table, tmp_path / "empty", OPTIONS)


def test_names_no_encoding_holds(tmp_path: Path) -> None:
    folder = tmp_path / "heap"
    folder.mkdir()
    name = os.fsdecode(b"\xff photo.jpg")
    (folder / name).write_bytes(jpeg(1))
    (folder / os.fsdecode(b"\xff photo.txt")).write_text("a thing of one")
    (folder / "b.jpg").write_bytes(jpeg(1))
    summary = prepare(folder, tmp_path / "out", OPTIONS)
    assert summary["photos"] == {"read": 2, "kept": 1}
    [(sample, _)] = open_shards(tmp_path / "out").read()
    assert sample.key in (name, "b.jpg") and sample.captions[0][0] == "a thing of one"


# --- scores and CapFilt ----------------------------------------------------------------------------------


def scorer(score: Callable[[bytes, str], float], calls: list[int] | None = None) -> Scorer:
    def run(pairs: Iterable[tuple[bytes, Sequence[str]]]) -> Iterator[Sequence[float] | Failure]:
        for photo, texts in pairs:
            if calls is not None:
                calls.append(len(texts))
            yield [score(photo, text) for text in texts]

    return Scorer("fake", "fake:1", "similarity", run)


def number_of(text: str) -> float:
    return float(text.rpartition(" ")[2]) / 100


def test_scores_are_kept_and_a_threshold_can_follow(tmp_path: Path) -> None:
    table, out = plain(tmp_path / "heap"), tmp_path / "out"
    calls: list[int] = []
    by_number = scorer(lambda _, text: number_of(text), calls)
    summary = prepare(table, out, OPTIONS, scorer=by_number)
    assert summary["photos"]["kept"] == 40 and len(calls) == 40
    [row, *_] = pq.read_table(out / "train-000000.parquet").to_pylist()
    assert row["best_score"] == 0.0
    limits = Limits(min_score=0.2)
    summary = prepare(table, out, replace(OPTIONS, limits=limits, overwrite=True), scorer=by_number)
    assert summary["photos"]["kept"] == 20 and len(calls) == 40, "no photo is scored twice"
    assert summary["dropped_captions"] == {"low_score": 40}
    half = replace(OPTIONS, limits=Limits(keep_fraction=0.5), overwrite=True)
    summary = prepare(table, out, half, scorer=by_number)
    assert summary["captions"]["kept"] == 40 and summary["score_thresholds"] == {"en": 0.2}
    document = json.loads(_members(out / "train-000000.tar")["000000000.json"])
    assert document["captions"][0] == {
        "text": "a picture of thing 20",
        "language": "en",
        "origin": "given",
        "score": 0.2,
    }


def _members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def test_capfilt_pools_and_drops(tmp_path: Path) -> None:
    """The written caption of an odd photo is wrong, the given second caption of every photo is."""
    table = plain(tmp_path / "heap")
    written = {jpeg(n): f"a written view of thing {n}" for n in range(40)}

    def write(photos: Iterable[bytes]) -> Iterator[tuple[str, str] | Failure]:
        for photo in photos:
            text = written[photo]
            if text.endswith(" 7"):
                yield Failure("<bytes>", ImageError("unreadable", "x"))
            else:
                yield ("click here" if text.endswith(" 8") else text), "en"

    def fits(photo: bytes, text: str) -> float:
        if text.startswith("another"):
            return 0.1
        return 0.1 if text.startswith("a written") and int(text.rpartition(" ")[2]) % 2 else 0.9

    captioner = Captioner("fake", "fake:1", write)
    options = replace(OPTIONS, limits=Limits(min_score=0.5))
    summary = prepare(table, tmp_path / "out", options, scorer=scorer(fits), captioner=captioner)
    assert summary["generated"] == {"written": 39, "kept": 19}
    assert summary["captions"] == {"read": 80, "kept": 40}
    assert summary["dropped_captions"] == {"low_score": 40 + 19, "boilerplate": 1}
    for split in ("train", "val"):
        for sample, _ in open_shards(tmp_path / "out", split).read():
            texts = [text for text, _ in sample.captions]
            assert not any(text.startswith("another") for text in texts)
    assert "written by the model" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_written_caption_rescues_a_photo_without_one(tmp_path: Path) -> None:
    folder = tmp_path / "silent"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.jpg").write_bytes(jpeg(n))

    def write(photos: Iterable[bytes]) -> Iterator[tuple[str, str] | Failure]:
        return (("a thing on a table", "en") for _ in photos)

    options = replace(OPTIONS, limits=Limits(min_score=0.5))
    by_one = scorer(lambda photo, text: float(photo == jpeg(1)))
    out = tmp_path / "out"
    summary = prepare(folder, out, options, scorer=by_one, captioner=Captioner("fake", "1", write))
    assert summary["photos"] == {"read": 3, "kept": 1}
    [(sample, _)] = open_shards(out).read()
    assert (sample.key, sample.captions) == ("1.jpg", (("a thing on a table", "en"),))


def test_a_photo_the_model_cannot_look_at(tmp_path: Path) -> None:
    def run(pairs: Iterable[tuple[bytes, Sequence[str]]]) -> Iterator[Sequence[float] | Failure]:
        for photo, texts in pairs:
            bad = photo == jpeg(3)
            yield Failure("x", ImageError("unreadable", "x")) if bad else [1.0] * len(texts)

    summary = prepare(
        plain(tmp_path / "heap"), tmp_path / "out", OPTIONS, scorer=Scorer("f", "f", "similarity", run)
    )
    assert summary["dropped_captions"] == {"not_scored": 2}
    assert summary["dropped_photos"] == {"no_text": 1}


def test_options_that_contradict_one_another(tmp_path: Path) -> None:
    table = plain(tmp_path / "heap", 3)
    for limits, more in [
        (Limits(min_score=0.1), {}),
        (Limits(), {"captioner": Captioner("f", "f", lambda photos: iter(()))}),
    ]:
        with pytest.raises(UsageError):
            prepare(table, tmp_path / "out", replace(OPTIONS, limits=limits), **more)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        PrepareOptions(workers=0)
    assert not (tmp_path / "out").exists()


# --- processes -------------------------------------------------------------------------------------------


def test_tasks_in_processes() -> None:
    """An error keeps its kind on the way from one process to another."""
    assert sorted(parallel.in_parallel(double, list(range(20)), 2)) == [(n, 2 * n) for n in range(20)]
    with pytest.raises(ImageError, match="three") as caught:
        list(parallel.in_parallel(fails_at_three, list(range(6)), 2))
    assert caught.value.kind == "unreadable"


def test_a_process_that_dies_costs_one_task() -> None:
    found = dict(parallel.in_parallel(dies_at_three, list(range(8)), 2))
    assert isinstance(found.pop(3), parallel.WorkerDied)
    assert found == {n: n for n in range(8) if n != 3}


def test_a_photo_that_kills_its_decoder_is_the_only_one_lost(tmp_path: Path) -> None:
    source = read_source(plain(tmp_path / "heap", 6), SourceOptions())
    chunk = (source.samples, ())
    found = measuring._one_by_one(chunk, chunk_function=chunk_that_dies)
    assert [one.photo.fault is not None and one.photo.fault[0] == "crashed" for one in found] == [
        n == 3 for n in range(6)
    ]
