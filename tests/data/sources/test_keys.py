"""Photos and texts under one key: told apart, or named as broken; never lost or mixed up."""

from __future__ import annotations

import tarfile
from pathlib import Path

from seetell.data.photo_bytes import read_photo
from seetell.data.sources.detect import read_source
from tests.data.photo_files import photo_bytes, put
from tests.data.sources.test_sources import as_json, captions, make_tar


def test_members_with_dots_in_their_names(tmp_path: Path) -> None:
    members = {}
    for n in range(10):
        members[f"a/IMG.2024.{n}.jpg"] = photo_bytes(n)
        members[f"a/IMG.2024.{n}.txt"] = f"photo {n}".encode()
    source = read_source(make_tar(tmp_path / "t.tar", members))
    assert captions(source) == {f"t/a/IMG.2024.{n}": (f"photo {n}",) for n in range(10)}
    assert [read_photo(one.photo) for one in source.samples] == [photo_bytes(n) for n in range(10)]
    assert source.broken == ()


def test_members_with_dots_in_a_tar_that_is_cut_off(tmp_path: Path) -> None:
    members = {}
    for n in range(3):
        members |= {f"IMG.{n}.jpg": photo_bytes(n), f"IMG.{n}.txt": b"photo"}
    path = make_tar(tmp_path / "t.tar", members)
    with tarfile.open(path) as archive:
        within_the_last_photo = archive.getmembers()[4].offset_data + 20
    path.write_bytes(path.read_bytes()[:within_the_last_photo])
    source = read_source(tmp_path)
    assert captions(source) == {"t/IMG.0": ("photo",), "t/IMG.1": ("photo",)}
    assert len(source.broken) == 1


def test_photo_0_does_not_get_the_text_of_photo_9(tmp_path: Path) -> None:
    source = read_source(make_tar(tmp_path / "t.tar", {"p.0.jpg": photo_bytes(0), "p.9.txt": b"photo 9"}))
    assert captions(source) == {"t/p": ()}
    assert [one.where for one in source.broken] == [f"{tmp_path}/t.tar:p.9"]


def test_texts_in_two_languages_beside_one_photo(tmp_path: Path) -> None:
    texts = {"im.en.txt": "a dog", "im.zh.txt": "一只狗", "im.txt": "a red dog"}
    put(tmp_path / "folder", "im.jpg")
    for name, text in texts.items():
        put(tmp_path / "folder", name, text)
    members = {name: text.encode() for name, text in texts.items()}
    make_tar(tmp_path / "t.tar", {"im.jpg": photo_bytes(0), **members})
    for source in (read_source(tmp_path / "folder"), read_source(tmp_path / "t.tar")):
        [sample] = source.samples
        assert sorted(sample.captions) == [("a dog", "en"), ("a red dog", ""), ("一只狗", "zh")]
        assert source.broken == ()


def test_a_text_with_dots_belongs_to_the_photo_of_its_name(tmp_path: Path) -> None:
    for name in ("im", "im.en", "v1.0", "v1.1"):
        put(tmp_path, f"{name}.jpg")
        put(tmp_path, f"{name}.txt", f"of {name}")
    found = captions(read_source(tmp_path))
    assert found == {f"{name}.jpg": (f"of {name}",) for name in ("im", "im.en", "v1.0", "v1.1")}


def test_a_second_photo_or_text_under_one_key_is_named(tmp_path: Path) -> None:
    members = {
        "0.jpg": photo_bytes(0),
        "0.seg.png": photo_bytes(1, "PNG"),
        "0.txt": b"photo 0",
        "1.jpg": photo_bytes(2),
        "1.png": photo_bytes(3, "PNG"),
        "1.json": as_json({"caption": "photo 1"}).encode(),
        "2.left.jpg": photo_bytes(4),
        "2.right.jpg": photo_bytes(5),
        "2.txt": b"both",
    }
    source = read_source(make_tar(tmp_path / "t.tar", members))
    assert captions(source) == {"t/0": ("photo 0",), "t/1": ("photo 1",), "t/2.left": (), "t/2.right": ()}
    assert [one.message.partition("t.tar:")[2] for one in source.broken] == [
        "0.seg.png: a second photo under the key '0'; give it a name of its own",
        "1.png: a second photo under the key '1'; give it a name of its own",
        "2: no photo among its members",
    ]


def test_a_tar_that_was_added_to(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "t.tar", {"0.jpg": photo_bytes(0), "0.txt": b"photo 0"})
    make_tar(tmp_path / "more.tar", {"0.jpg": photo_bytes(9), "0.txt": b"photo 9"})
    # A tar ends in empty blocks; without them another follows.
    whole = path.read_bytes().rstrip(b"\0")
    path.write_bytes(whole + b"\0" * (-len(whole) % 512) + (tmp_path / "more.tar").read_bytes())
    source = read_source(path)
    assert captions(source) == {"t/0": ("photo 0",)}
    assert ["second photo" in one.message for one in source.broken] == [True, False]
    assert "second text" in source.broken[1].message


def test_a_text_too_large_is_no_empty_caption(tmp_path: Path) -> None:
    members = {"0.jpg": photo_bytes(0), "0.txt": b"x" * (1 << 21), "1.jpg": photo_bytes(1), "1.txt": b"a dog"}
    source = read_source(make_tar(tmp_path / "t.tar", members))
    assert captions(source) == {"t/1": ("a dog",)} and "0.txt: over" in source.broken[0].message


def test_caption_files(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    put(tmp_path, "a.caption", "a dog")
    put(tmp_path, "b.png")
    put(tmp_path, "b.text", "a cat")
    source = read_source(tmp_path)
    assert (source.format, captions(source)) == ("folder", {"a.jpg": ("a dog",), "b.png": ("a cat",)})
