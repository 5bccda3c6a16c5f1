"""CSV and its kin: no row is lost to another's quote, and any separator is told."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.data.sources.detect import read_source
from tests.data.photo_files import put
from tests.data.sources.test_sources import captions


def test_an_unclosed_quote_costs_its_own_line(tmp_path: Path) -> None:
    lines = [f"{n}.jpg,{chr(34) if n % 5 == 0 else ''}a picture of thing {n}" for n in range(40)]
    source = read_source(put(tmp_path, "t.csv", "\n".join(["filepath,title", *lines])))
    assert captions(source) == {f"{n}.jpg": (f"a picture of thing {n}",) for n in range(40) if n % 5}
    assert [one.where for one in source.broken] == [
        f"{tmp_path}/t.csv: line {n + 2}" for n in range(0, 40, 5)
    ]
    assert "a quote is opened and not closed" in source.broken[0].message


@pytest.mark.parametrize("ending", ['a "bird"', 'a bird"', '"a bird"'])
def test_a_quote_further_on_does_not_close_it(tmp_path: Path, ending: str) -> None:
    """Whatever is in the lines that follow, they are rows of their own."""
    text = f'title,filepath\n"a dog,1.jpg\na cat,2.jpg\n{ending},3.jpg\na fish,4.jpg\n'
    source = read_source(put(tmp_path, "t.csv", text))
    assert list(captions(source)) == ["2.jpg", "3.jpg", "4.jpg"]
    assert [one.where.rpartition(" ")[2] for one in source.broken] == ["2"]


def test_in_a_tab_separated_file_it_is_a_character(tmp_path: Path) -> None:
    text = 'filepath\ttitle\n1.jpg\t"a dog\n2.jpg\ta "red" cat\n3.jpg\t"a bird"\n'
    source = read_source(put(tmp_path, "t.tsv", text))
    assert captions(source) == {"1.jpg": ('"a dog',), "2.jpg": ('a "red" cat',), "3.jpg": ("a bird",)}
    assert source.broken == ()


def test_a_text_of_several_lines_is_one(tmp_path: Path) -> None:
    text = 'filepath,title\r\n1.jpg,"a dog,\r\n\r\na ""red"" one"\r\n2.jpg,"a\ncat"\r\n3.jpg,"x'
    source = read_source(put(tmp_path, "t.csv", text))
    assert captions(source) == {"1.jpg": ('a dog,\r\n\r\na "red" one',), "2.jpg": ("a\ncat",)}
    assert [one.where.rpartition(" ")[2] for one in source.broken] == ["7"]


@given(
    texts=st.lists(st.text(st.sampled_from("ab \"',;|\t\n"), min_size=1), min_size=1, max_size=6),
    separator=st.sampled_from(",\t;|"),
)
def test_what_csv_writes_is_read_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], separator: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerows([("filepath", "title"), *((f"{n}.jpg", text) for n, text in enumerate(texts))])
    source = read_source(path)
    assert list(captions(source).values()) == [(text,) for text in texts]
    assert source.broken == ()


@pytest.mark.parametrize("separator", [",", ";", "|", "\t", "| "])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_any_separator(tmp_path: Path, separator: str, name: str) -> None:
    rows = [("image_name", "comment_number", "comment"), ("a.jpg", "0", "a dog"), ("b.jpg", "0", "two cats")]
    source = read_source(put(tmp_path, name, "\n".join(separator.join(row) for row in rows)))
    found = {key: tuple(text.strip() for text in texts) for key, texts in captions(source).items()}
    assert found == {"a.jpg": ("a dog",), "b.jpg": ("two cats",)}


def test_the_separator_is_what_makes_a_column_the_photos(tmp_path: Path) -> None:
    text = '"title, or caption, of it";"caption";"filepath"\nx;a dog, red, big;a.jpg\n'
    assert captions(read_source(put(tmp_path, "t.csv", text))) == {"a.jpg": ("a dog, red, big",)}


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('["a dog", "a \\u00e9 cat"]', ("a dog", "a é cat")),
        ("['a dog', \"a dog's tail\"]", ("a dog", "a dog's tail")),
        ("['a dog' 'a cat'\n 'a \\'red\\' bird']", ("a dog", "a cat", "a 'red' bird")),
        ('[{"raw": "a dog"}]', ("a dog",)),
        ("[a dog]", ("[a dog]",)),
        ("['a dog', 3]", ("['a dog', 3]",)),
        ("[1, 2]", ("[1, 2]",)),
    ],
)
def test_a_list_that_was_printed_into_a_cell(tmp_path: Path, cell: str, expected: tuple[str, ...]) -> None:
    path = tmp_path / "t.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("filename", "raw"), ("a.jpg", cell)])
    assert captions(read_source(path)) == {"a.jpg": expected}


def test_a_caption_in_each_of_several_columns(tmp_path: Path) -> None:
    text = "image,caption_0,caption_1,Caption 10\na.jpg,a dog,a red dog,one more\nb.jpg,a cat,,\n"
    found = captions(read_source(put(tmp_path, "t.csv", text)))
    assert found == {"a.jpg": ("a dog", "a red dog", "one more"), "b.jpg": ("a cat",)}


def test_splits_that_differ_in_case_are_one(tmp_path: Path) -> None:
    text = (
        "image,caption,split\na.jpg,a dog,Train\nb.jpg,a cat,train\nc.jpg,a bird,TEST\nd.jpg,a fish,testA\n"
    )
    source = read_source(put(tmp_path, "t.csv", text))
    assert [one.split for one in source.samples] == ["train", "train", "test", "testA"]
    for folder in ("Train/dog", "train/dog"):
        put(tmp_path / "labels", f"{folder}/a.jpg")
    labelled = read_source(tmp_path / "labels").samples
    assert [(one.key, one.split) for one in labelled] == [
        ("Train/dog/a.jpg", "train"),
        ("train/dog/a.jpg", "train"),
    ]


def test_a_second_label_is_told(tmp_path: Path) -> None:
    source = read_source(put(tmp_path, "t.csv", "image,label\na.jpg,dog\na.jpg,cat\na.jpg,dog\n"))
    assert [(one.key, one.label) for one in source.samples] == [("a.jpg", "dog")]
    [broken] = source.broken
    assert "line 3: 'a.jpg' has the label 'dog' already, and not 'cat'" in broken.message
