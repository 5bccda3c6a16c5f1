"""``seetell index``, and ``seetell search`` in what it made, with a made-up model that knows colours."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seetell.cli.output import Output
from seetell.search.photo_index import PhotoIndex

lancedb = pytest.importorskip("lancedb", reason="the extra `search` is not installed")


def test_index_and_search(seetell: Any, fake: Any, photos: Path) -> None:
    result = seetell("index", photos, "--json")
    assert result.status == 0, result.err
    (line,) = result.lines
    place = photos.with_name("photos.index")
    assert line.pop("photos_per_s") > 0
    assert line == {
        "index": str(place),
        "added": 3,
        "updated": 0,
        "moved": 0,
        "removed": 0,
        "unchanged": 0,
        "failed": 0,
        "failed_before": 0,
        "skipped": 0,
        "photos": 3,
    }
    (photos / "green.png").rename(photos / "grass.png")
    (photos / "red.png").unlink()
    Image.new("RGB", (9, 9), "yellow").save(photos / "new.png")
    (photos / "broken.jpg").write_bytes(b"")
    result = seetell("index", photos)
    assert result.status == 1
    assert result.out.split("\t")[0] == str(place)
    assert "1 added, 1 moved, 1 removed" in result.out
    assert "broken.jpg: the file is empty" in result.err
    result = seetell("search", "something green", "--in", place, "--json", "-k", "2")
    assert [line["photo"] for line in result.lines] == [str(photos / "grass.png"), str(photos / "new.png")]
    result = seetell("search", "--image", photos / "blue.png", "--in", place, "--where", "path like '%new%'")
    assert result.out.split("\t")[1] == str(photos / "new.png")


def test_what_is_not_wanted(seetell: Any, fake: Any, photos: Path) -> None:
    Image.new("RGB", (9, 9), "yellow").save(photos / "yellow.png")
    seetell("index", photos, "--index", photos.with_name("i"))
    wanted = seetell("search", "red", "--in", photos.with_name("i"), "--json").lines
    less = seetell("search", "red -green", "--in", photos.with_name("i"), "--json").lines
    yellow = str(photos / "yellow.png")
    assert [line["photo"] for line in wanted].index(yellow) == 1
    score = {line["photo"]: line["score"] for line in less}
    assert score[yellow] < wanted[1]["score"]
    assert seetell("search", '-"green things"', "--in", photos).status == 2


def test_forgetting(seetell: Any, fake: Any, photos: Path) -> None:
    seetell("index", photos)
    (line,) = seetell("index", photos, "--remove", "--json").lines
    assert line == {"index": str(photos.with_name("photos.index")), "removed": 3}
    assert seetell("search", "red", "--in", photos.with_name("photos.index"), "--json").lines == []


def test_commands_that_cannot_be_meant(seetell: Any, fake: Any, photos: Path) -> None:
    for arguments, words in (
        ((photos, photos), "--index DIR"),
        (("/",), "--index DIR"),
        ((photos / "none",), "no such folder"),
        ((photos / "red.png",), "no such folder"),
    ):
        result = seetell("index", *arguments)
        assert result.status == 2, arguments
        assert words in result.err
        assert result.err.count("\n") == 1
    result = seetell("search", "red", "--in", photos, "--where", "width > 3")
    assert (result.status, "needs an index" in result.err) == (2, True)
    seetell("index", photos)
    result = seetell("search", "red", "--in", photos.with_name("photos.index"), "--where", "with > 3")
    assert (result.status, "the columns are" in result.err) == (2, True)
    assert result.err.count("\n") == 1


def test_without_lancedb(seetell: Any, fake: Any, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    result = seetell("index", photos)
    assert result.status == 2
    assert "[search]'" in result.err
    assert seetell("search", "green", "--in", photos, "-k", "1").out.startswith(
        "1\t" + str(photos / "green.png")
    )


def test_captions_duplicates_and_a_check(seetell: Any, fake: Any, photos: Path) -> None:
    (photos / "again.png").write_bytes((photos / "red.png").read_bytes())
    result = seetell("index", photos, "--caption", "--duplicates", "--check", "--json")
    assert result.status == 0, result.err
    update, group, check = result.lines
    assert update["added"] == 4
    assert "4 photos captioned" in result.err
    assert {Path(path).name for path in group["photos"]} == {"again.png", "red.png"}
    assert check["check"]["recall_by_photo"] == check["check"]["recall_by_text"] == 1.0
    place = photos.with_name("photos.index")
    # The made-up captions say how large a photo is.
    (best, *_) = seetell("search", "30", "--hybrid", "--in", place, "--json").lines
    assert best["photo"] == str(photos / "blue.png")
    again = seetell("search", "red", "--rerank", "--in", place, "--json", "-k", "1").lines
    assert [line["score"] for line in again] == [0.5]
    assert seetell("search", "30", "--hybrid", "--in", photos, "--json").lines[0]["photo"] == best["photo"]
    place.rename(place.with_name("elsewhere"))
    assert seetell("search", "red", "--hybrid", "--in", photos).status == 2


def test_an_empty_path_is_refused_before_anything_is_done(
    seetell: Any, fake: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unset variable of the shell is not the current folder."""
    place = tmp_path / "i"
    seetell("index", photos, "--index", place)
    monkeypatch.chdir(photos)
    for arguments in (
        ("index", "", "--index", place, "--remove"),
        ("index", photos, "", "--index", place),
        ("index", ""),
        ("index", photos, "--index", ""),
        ("search", "red", "--in", ""),
    ):
        result = seetell(*arguments)
        assert (result.status, result.out) == (2, ""), arguments
        assert "an empty path is given" in result.err
    assert len(seetell("search", "red", "--in", place, "--json").lines) == 3
    assert not (tmp_path / "photos.index").exists()


def test_files_that_cannot_be_read_are_told_of_once(seetell: Any, fake: Any, photos: Path) -> None:
    for name in ("letter.jpg", "phone.heic"):
        (photos / name).write_bytes(b"\x00\x00\x00\x18ftypheic" if name == "phone.heic" else b"Dear reader,")
        os.utime(photos / name, (1_600_000_000, 1_600_000_000))
    first = seetell("index", photos)
    assert (first.status, first.err.count("error: ")) == (1, 2)
    second = seetell("index", photos)
    assert (second.status, second.out) == (0, f"{photos}.index\t3 photos\t3 unchanged\n")
    assert second.err == "2 files could not be read before and did not change since; --retry tries again\n"
    (line,) = seetell("index", photos, "--json").lines
    assert (line["failed"], line["failed_before"], line["unchanged"]) == (0, 2, 3)
    again = seetell("index", photos, "--retry")
    assert (again.status, again.err.count("error: ")) == (1, 2)


def test_what_is_skipped_is_said(seetell: Any, fake: Any, photos: Path) -> None:
    (photos / ".trashed-1712-red.png").write_bytes((photos / "red.png").read_bytes())
    (photos / "@eaDir").mkdir()
    (photos / "raw.nef").write_bytes(b"x")
    said = (
        "skipped 1 hidden photo and 1 hidden or system folder; what is named outright is taken\n"
        "skipped 1 file of kinds that are not read (.nef); export them as JPEG\n"
    )
    result = seetell("index", photos, "--json")
    assert (result.status, result.lines[0]["added"], result.lines[0]["skipped"], result.err) == (
        0,
        3,
        3,
        said,
    )
    assert seetell("caption", photos).err == said
    photos.with_name("photos.index").rename(photos.with_name("elsewhere"))
    assert seetell("search", "red", "--in", photos).err == said
    assert seetell("caption", photos / ".trashed-1712-red.png").status == 0
    only = seetell("caption", photos / "@eaDir")
    assert (only.status, "no photos in this folder" in only.err) == (2, True)


def test_a_disk_that_is_not_mounted(seetell: Any, fake: Any, photos: Path) -> None:
    (photos / "disk").mkdir()
    (photos / "red.png").rename(photos / "disk" / "red.png")
    seetell("index", photos)
    (photos / "disk" / "red.png").rename(photos.with_name("red.png"))
    result = seetell("index", photos)
    assert (result.status, result.out) == (1, f"{photos}.index\t3 photos\t2 unchanged\n")
    assert result.err == (
        f"error: {photos / 'disk'}: 1 indexed photo not there now, kept in the index: mount the disk, or "
        "take them out with --remove\n2 done, 1 failed\n"
    )


def test_a_folder_that_is_not_there_costs_the_others_nothing(
    seetell: Any, fake: Any, photos: Path, tmp_path: Path
) -> None:
    disk, place = tmp_path / "disk", tmp_path / "i"
    disk.mkdir()
    Image.new("RGB", (9, 9), "yellow").save(disk / "yellow.png")
    seetell("index", photos, disk, "--index", place)
    disk.rename(tmp_path / "away")
    (photos / "red.png").unlink()
    result = seetell("index", photos, disk, "--index", place)
    assert (result.status, result.out) == (1, f"{place}\t3 photos\t1 removed, 2 unchanged\n")
    assert result.err == f"error: {disk}: no such folder\n2 done, 1 failed\n"


def test_hits_that_are_gone_are_marked_and_said_once(
    seetell: Any, fake: Any, photos: Path, tmp_path: Path
) -> None:
    place = photos.with_name("photos.index")
    seetell("index", photos)
    (photos / "red.png").unlink()
    (photos / "blue.png").unlink()
    page = tmp_path / "found.html"
    result = seetell("search", "red", "--in", place, "--sheet", page)
    assert result.status == 0
    marks = {line.split("\t")[1]: line.split("\t")[3] for line in result.out.splitlines()}
    assert marks == {
        str(photos / "red.png"): "gone",
        str(photos / "green.png"): "",
        str(photos / "blue.png"): "gone",
    }
    note = "2 of these 3 photos are not there any more; `seetell index FOLDER` brings the index up to date"
    assert result.err.splitlines() == [note, f"contact sheet written to {page}"]
    assert page.read_text(encoding="utf-8").count("<img") == 1
    lines = seetell("search", "red", "--in", place, "--json").lines
    assert [line["gone"] for line in lines] == [True, False, True]
    # Those that the matching head cannot look at come last, without a probability.
    lines = seetell("search", "red", "--in", place, "--rerank", "--json").lines
    assert [(line["score"], line["gone"]) for line in lines] == [(0.5, False), (None, True), (None, True)]
    assert "\t–\tgone" in seetell("search", "red", "--in", place, "--rerank").out


def test_copies_count_as_one(seetell: Any, fake: Any, photos: Path) -> None:
    for number in range(5):
        (photos / f"copy-{number}.png").write_bytes((photos / "red.png").read_bytes())
    seetell("index", photos)
    for place in (photos, photos.with_name("photos.index")):
        lines = seetell("search", "red", "--in", place, "-k", "3", "--json").lines
        assert len(lines) == 3 and len({round(line["score"], 3) for line in lines}) > 1
        lines = seetell("search", "red", "--in", place, "-k", "6", "--all-copies", "--json").lines
        assert [round(line["score"], 3) for line in lines] == [round(lines[0]["score"], 3)] * 6


@pytest.mark.skipif(os.name != "posix", reason="names of POSIX")
@pytest.mark.parametrize("name", ["line\nbreak", b"caf\xe9".decode("utf-8", "surrogateescape")])
def test_a_folder_of_any_name(seetell: Any, fake: Any, photos: Path, name: str) -> None:
    folder = photos.rename(photos.with_name(name))
    result = seetell("index", folder)
    assert (result.status, result.err) == (0, "")
    assert result.out.endswith("\t3 photos\t3 added\n")
    assert [line["added"] for line in seetell("index", folder, "--json").lines] == [0]
    for place in (folder, folder.with_name(f"{name}.index")):
        result = seetell("search", "red", "--in", place, "--sheet", folder / "found.html", "--json")
        assert result.status == 0
        assert result.lines[0]["photo"] == str(folder / "red.png")


# --- a search in a folder whose index lies beside it ------------------------------------------------------


def test_the_index_beside_a_folder_is_used_and_said(
    seetell: Any, fake: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seetell("index", photos)
    (photos / "blue.png").unlink()
    fake.calls.clear()
    monkeypatch.chdir(photos.parent)
    result = seetell("search", "red", "--in", "photos")
    assert (result.status, fake.calls) == (0, []), "no photo is read"
    assert result.out.splitlines()[0] == "1\tphotos/red.png\t1.000\t"
    assert result.err.splitlines()[0] == (
        "searching photos.index, 3 photos; `seetell index photos` brings it up to date"
    )
    monkeypatch.chdir(photos)
    inside = seetell("search", "red")
    assert inside.err.startswith("searching photos.index, 3 photos; `seetell index .` brings")
    assert inside.out.splitlines()[0].startswith("1\tred.png\t")
    assert "searching" not in seetell("search", "red", "--quiet").err
    assert seetell("search", "red", "--json").lines[0]["photo"] == str(photos / "red.png")


def test_an_index_that_does_not_fit_is_left_aside(
    seetell: Any, fake: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = photos.with_name("photos.index")
    seetell("index", photos)
    monkeypatch.setattr(type(fake), "name", "another")
    result = seetell("search", "green", "--in", photos)
    assert (result.status, len(result.out.splitlines())) == (0, 3)
    assert result.err.startswith(f"{photos} is read anew: {place} was made by fake, not another; search with")
    monkeypatch.undo()
    (place / "index.json").write_text("{")
    assert "is damaged" in seetell("search", "green", "--in", photos).err
    monkeypatch.setitem(sys.modules, "lancedb", None)
    assert "lancedb" in seetell("search", "green", "--in", photos).err


def test_many_photos_are_worth_an_index(seetell: Any, fake: Any, photos: Path) -> None:
    assert seetell("search", "red", "--in", photos).err == ""
    for number in range(50):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(photos / f"{number:02}.png")
    assert seetell("search", "red", "--in", photos).err == (
        f"53 photos were read; `seetell index {photos}` keeps them, and searches find it\n"
    )
    assert seetell("search", "red", "--in", photos, "--quiet").err == ""


def with_exif(path: Path, colour: str, camera: str, taken: str) -> None:
    exif = Image.Exif()
    exif[0x0110] = camera
    exif.get_ifd(0x8769)[0x9003] = taken
    Image.new("RGB", (8, 8), colour).save(path, exif=exif)


def test_dates_and_cameras(seetell: Any, fake: Any, tmp_path: Path) -> None:
    folder = tmp_path / "trip"
    folder.mkdir()
    with_exif(folder / "may.jpg", "red", "EOS R10", "2025:05:31 23:59:59")
    with_exif(folder / "june.jpg", "green", "Pixel 8", "2025:06:01 00:00:00")
    with_exif(folder / "july.jpg", "blue", "O'Hara_1%", "2025:07:01 00:00:00")
    Image.new("RGB", (8, 8)).save(folder / "undated.png")
    seetell("index", folder)

    def found(*conditions: str) -> set[str]:
        result = seetell("search", "red", "--in", folder, "--json", *conditions)
        assert result.status == 0, result.err
        return {Path(line["photo"]).stem for line in result.lines}

    assert found("--after", "2025-06") == {"june", "july"}
    assert found("--after", "2025-06", "--before", "2025-07") == {"june"}
    assert found("--before", "2025/06/01") == {"may"}
    assert found("--after", "2025-05-31 23:59:59", "--before", "2025-06-01T00:00:01") == {"may", "june"}
    assert found("--camera", "pixel") == {"june"}
    assert found("--camera", "o'hara_1%") == {"july"}
    assert found("--camera", "%") == {"july"}
    assert found("--camera", "8", "--where", "width = 8 or width = 9 -- any") == {"june"}
    assert found("--where", "taken is null") == {"undated"}
    for words, said in (
        (("--camera", "nikon"), "fits --camera; its cameras are: "),
        (("--after", "2026"), "no photo in the index fits --after\n"),
    ):
        nothing = seetell("search", "red", "--in", folder, *words)
        assert (nothing.status, nothing.out) == (0, "")
        assert said in nothing.err
    assert sorted(PhotoIndex(folder.with_name("trip.index"), fake).cameras()) == [
        "EOS R10",
        "O'Hara_1%",
        "Pixel 8",
    ]


def test_conditions_that_cannot_be_meant(seetell: Any, fake: Any, photos: Path) -> None:
    needs = seetell("search", "red", "--in", photos, "--after", "2025", "--camera", "Pixel")
    assert (needs.status, fake.calls) == (2, [])
    assert needs.err == (
        "error: --after and --camera need an index, which knows what photos say of themselves; "
        f"make one with seetell index {photos}\n"
    )
    seetell("index", photos)
    for words, said in (
        (("--after", "June"), "error: --after 'June' is no date; give one like 2025, 2025-06, 2025-06-01"),
        (("--before", "2025-02-30"), "error: --before '2025-02-30' is no day of the calendar"),
        (("--after", "2025-07", "--before", "2025-06"), "the earlier is for --after"),
        (("--camera", " "), "--camera is empty"),
        (("--where", "camera = Canon"), "a text stands in single quotes: 'Canon'"),
    ):
        result = seetell("search", "red", "--in", photos, *words)
        assert (result.status, result.out) == (2, "")
        assert said in result.err.splitlines()[-1]


def test_progress_has_a_count(seetell: Any, fake: Any, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (photos / "again.png").write_bytes((photos / "red.png").read_bytes())
    totals: dict[str, Any] = {}
    progress = Output.progress

    def watched(out: Output, items: Any, label: str, total: Any = None) -> Any:
        totals[label] = total() if callable(total) else total
        return progress(out, items, label, total)

    monkeypatch.setattr(Output, "progress", watched)
    monkeypatch.setattr(Output, "wants_total", True)
    assert seetell("index", photos, "--caption").status == 0
    assert totals == {"photos": 4, "captions": 3}, "copies are captioned once"
    seetell("index", photos, "--caption")
    assert totals == {"photos": 4, "captions": 0}
    questions = photos / "questions.jsonl"
    questions.write_text(
        '{"photo": "red.png", "question": "what?"}\n\n{"photo": "red.png", "question": "who?"}'
    )
    seetell("ask", "--questions", questions)
    assert totals["answers"] == 2
