"""CHAIR: which words name an object, and the shares of those that are not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.core.errors import DataError, UsageError
from seetell.evaluation.bootstrap import Bootstrap
from seetell.evaluation.chair import (
    CaptionObjects,
    Vocabulary,
    caption_objects,
    read_synonyms,
    score_chair,
    true_objects,
)

FEW = Bootstrap(samples=3)
WORDS = Vocabulary(
    [
        ["person", "man", "baby", "child", "people", "passenger", "policeman", "human", "lady"],
        ["dog", "puppy"],
        ["elephant"],
        ["hot dog"],
        ["bus", "minibus"],
        ["train"],
        ["airplane", "jet"],
        ["tie", "bow", "bow tie"],
        ["toilet"],
        ["chair", "seat", "stool"],
        ["knife"],
        ["wine glass"],
        ["dining table", "table"],
        ["sheep", "lamb"],
        ["skis", "ski"],
        ["couch", "sofa"],
        ["potato"],
    ]
)


def objects(caption: str) -> list[str]:
    return [name for _, name in WORDS.mentions(caption)]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Two DOGS and a puppy.", ["dog", "dog"]),
        ("a hot dog", ["hot dog"]),
        ("hot dogs beside a dog", ["hot dog", "dog"]),
        ("it is hot, dog", ["dog"]),
        ("a baby elephant and an adult dog", ["elephant", "dog"]),
        ("a baby", ["person"]),
        ("a passenger train, a passenger jet", ["train", "airplane"]),
        ("passengers wait", ["person"]),
        ("a bow tie", ["tie"]),
        ("the toilet seat", ["toilet"]),
        ("the seat of a toilet", ["toilet"]),
        ("a seat", ["chair"]),
        ("wine glasses, knives and buses", ["wine glass", "knife", "bus"]),
        ("policemen, men, children, ladies and humans", ["person"] * 5),
        ("people", ["person"]),
        ("a flock of sheep and lambs", ["sheep", "sheep"]),
        ("skis and a ski", ["skis", "skis"]),
        ("dining tables", ["dining table"]),
        ("a dog's couches", ["dog", "couch"]),
        ("potatoes", ["potato"]),
        ("doggedly, a chairman in a trainer", []),
        ("at five o'bus, dog’s and bus's", ["dog", "bus"]),
        ("", []),
        ("?!", []),
    ],
)
def test_what_a_caption_names(caption: str, expected: list[str]) -> None:
    assert objects(caption) == expected


def test_what_is_there_and_what_is_not() -> None:
    true = true_objects(WORDS, ["dog"], ["a man with something", "someone"], "a.jpg")
    assert true == {"dog", "person"}
    found = caption_objects(WORDS, "a puppy, a child and a bus near another minibus", true)
    assert found.there == (("puppy", "dog"), ("child", "person"))
    assert found.hallucinated == (("bus", "bus"), ("minibus", "bus"))
    # An annotation may use any of the object's words.
    assert true_objects(WORDS, ["Minibus "], [], "a.jpg") == {"bus"}
    with pytest.raises(DataError, match=r"a\.jpg: the object 'kite' is not among the synonyms"):
        true_objects(WORDS, ["kite"], [], "a.jpg")


captions = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["dog", "bus", "man"]), max_size=4),
        st.sets(st.sampled_from(["dog", "bus", "person"])),
    ),
    min_size=1,
    max_size=10,
)


@given(captions)
def test_shares_are_those_of_counting(rows: list[tuple[list[str], set[str]]]) -> None:
    found = [caption_objects(WORDS, " and ".join(words), true) for words, true in rows]
    name = {"dog": "dog", "bus": "bus", "man": "person"}
    named = sum(len(words) for words, _ in rows)
    wrong = [sum(name[word] not in true for word in words) for words, true in rows]
    found_there = sum(len({name[word] for word in words} & true) for words, true in rows)
    there = sum(len(true) for _, true in rows)
    scores = {key: one.value for key, one in score_chair(found, FEW).items()}
    assert scores == pytest.approx(
        {
            "chair_i": 100 * sum(wrong) / named if named else 0,
            "chair_s": 100 * sum(one > 0 for one in wrong) / len(rows),
            "object_recall": 100 * found_there / there if there else 0,
        }
    )


def test_a_photo_that_failed_never_makes_the_figures_better() -> None:
    good = CaptionObjects((("dog", "dog"),), (), 1)
    whole, holes = score_chair([good, good]), score_chair([good, None])
    assert (whole["chair_i"].value, whole["chair_s"].value, whole["object_recall"].value) == (0, 0, 100)
    assert (holes["chair_i"].value, holes["chair_s"].value, holes["object_recall"].value) == (50, 50, 50)
    with pytest.raises(UsageError):
        score_chair([])


@pytest.mark.parametrize("content", [b"", b" \n , ,\n", b"\xff"])
def test_a_file_without_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "synonyms.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"synonyms\.txt"):
        read_synonyms(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_synonyms(tmp_path / "gone.txt")


def test_a_file_of_words(tmp_path: Path) -> None:
    path = tmp_path / "synonyms.txt"
    path.write_text("motorcycle, scooter,  motor bike, motorbike \n\ncow, ox\n")
    found = read_synonyms(path)
    assert found.mentions("motor bikes, scooters and oxen") == [
        ("motor bike", "motorcycle"),
        ("scooter", "motorcycle"),
        ("ox", "cow"),
    ]


def test_nothing_to_look_for() -> None:
    with pytest.raises(UsageError):
        Vocabulary([])
    with pytest.raises(UsageError):
        Vocabulary([["", " "]])


_DATA = os.environ.get("SEETELL_TEST_DATA")


@pytest.mark.skipif(not _DATA, reason="SEETELL_TEST_DATA does not point to the data folder")
def test_the_published_list() -> None:
    path = Path(str(_DATA)) / "metrics" / "chair_synonyms.txt"
    words = read_synonyms(path)
    names = [line.split(",")[0].strip() for line in path.read_text().splitlines()]
    assert len(names) == 80
    for name in names:
        # Each of COCO's objects is found by its name, alone and in the plural.
        assert [one for _, one in words.mentions(f"there is a {name}.")] == [words.object_named(name)], name
    assert [one for _, one in words.mentions("two cell phones, scissors and 3 tennis rackets")] == [
        "cell phone",
        "scissors",
        "tennis racket",
    ]
