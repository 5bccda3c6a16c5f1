"""``seetell search`` and ``seetell demo`` with a made-up model that knows colours."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seetell.bundle.manifest import FitProbability
from seetell.cli import demo_scenes
from seetell.cli.search import from_here
from seetell.tasks.fitting import Fitting


def test_search_by_text(seetell: Any, fake: Any, photos: Path) -> None:
    result = seetell("search", "something green", "--in", photos, "-k", "2", "--json")
    assert result.status == 0
    assert [line["rank"] for line in result.lines] == [1, 2]
    assert result.lines[0].keys() == {"rank", "photo", "score", "gone", "probability"}
    assert result.lines[0]["probability"] is None
    assert result.lines[0]["photo"] == str(photos / "green.png")


def test_search_by_photo(seetell: Any, fake: Any, photos: Path) -> None:
    result = seetell("search", "--image", photos / "blue.png", "--in", photos)
    assert result.out.splitlines()[0].startswith(f"1\t{photos / 'blue.png'}\t")
    assert len(result.out.splitlines()) == 3


def test_search_goes_on_past_broken_photos(seetell: Any, fake: Any, photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"")
    result = seetell("search", "red", "--in", photos, "--json")
    assert result.status == 1
    assert [line.get("photo") for line in result.lines if "error" in line] == [str(photos / "broken.jpg")]
    assert sum("rank" in line for line in result.lines) == 3
    assert "3 done, 1 failed" in result.err


def test_search_writes_a_sheet(seetell: Any, fake: Any, photos: Path, tmp_path: Path) -> None:
    page = tmp_path / "found.html"
    result = seetell("search", "red", "--in", photos, "--sheet", page, "-k", "2")
    assert result.status == 0
    assert page.read_text().count("<figure>") == 2
    assert str(page) in result.err


def test_search_like_a_photo_that_is_broken(seetell: Any, fake: Any, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"")
    result = seetell("search", "--image", tmp_path / "broken.jpg", "--in", photos)
    assert (result.status, result.out) == (1, "")


def test_demo_over_samples(seetell: Any, fake: Any) -> None:
    result = seetell("demo")
    assert result.status == 0, result.err
    for name in ("astronaut.jpg", "camera.jpg", "chelsea.jpg", "coffee.jpg", "rocket.jpg"):
        assert name in result.out
    for scene in demo_scenes.SCENES:
        assert scene.name in result.out
    assert "fake, fp32 on cpu" in result.out
    assert "a photo of 256 by 256" in result.out
    assert "一张256乘256的照片" in result.out
    assert "ms per caption" in result.out


def test_demo_for_programs(seetell: Any, fake: Any) -> None:
    result = seetell("demo", "--json")
    assert result.status == 0
    assert {line.get("language") for line in result.lines} >= {"en", "zh"}
    assert any("question" in line for line in result.lines)
    assert any("query" in line for line in result.lines)


def test_the_demo_finds_what_a_search_would_find(seetell: Any) -> None:
    """Here of the built-in model: the astronaut, and that nothing is a blue circle where it finds none."""
    lines = [line for line in seetell("demo", "--json", "--precision", "fp32").lines if "query" in line]
    found = {line["query"]: line["found"] for line in lines}
    cat = found["a close-up of a cat"]
    assert cat[0]["photo"] == "chelsea.jpg"
    chances = [one["probability"] for one in cat]
    assert chances == sorted(chances, reverse=True)
    assert found["a person in an orange suit"][0]["photo"] == "astronaut.jpg"
    assert found["a blue circle"] == []
    result = seetell("demo", "--precision", "fp32")
    assert "none fits (at best" in result.out


def test_demo_over_photos_given(seetell: Any, fake: Any, photos: Path) -> None:
    (photos / "broken.png").write_bytes(b"")
    result = seetell("demo", photos)
    assert result.status == 1
    assert "red.png" in result.out
    assert "drawn:" not in result.out
    assert "broken.png" in result.err


def test_demo_of_a_model_that_does_less(seetell: Any, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "tasks", frozenset({"embed"}))
    result = seetell("demo")
    assert result.status == 0
    assert "Search over" in result.out
    assert "Captions" not in result.out


@pytest.mark.parametrize("text", ["-green", "-kids", "-people", "–green", '-"green things"'])
def test_a_text_may_begin_with_a_minus(seetell: Any, fake: Any, photos: Path, text: str) -> None:
    alone = seetell("search", text, "--in", photos)
    assert (alone.status, alone.out) == (2, "")
    assert "says only what is not wanted" in alone.err
    for arguments in ((text, "--image", photos / "green.png"), ("--image", photos / "green.png", "--", text)):
        result = seetell("search", "--json", "--in", photos, "-k2", *arguments)
        assert result.status == 0, result.err
        assert len(result.lines) == 2
        assert result.lines[0]["photo"] == str(photos / "green.png")


def test_options_stay_options(seetell: Any, fake: Any, photos: Path) -> None:
    assert len(seetell("search", "red", "-k", "2", "--in", photos).out.splitlines()) == 2
    assert len(seetell("search", "red", "-k1", "--in", photos).out.splitlines()) == 1
    assert "--all-copies" in seetell("search", "-h").out
    for wrong in (("-k", "0"), ("--nonsense",), ("-k",), ("more", "than one")):
        assert seetell("search", "red", "--in", photos, *wrong).status == 2


def test_what_is_doubtful_about_a_text_is_said(
    seetell: Any, fake: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = seetell("search", "собака", "--in", photos, "--json")
    assert (result.status, len(result.lines)) == (0, 3)
    assert result.err == "fake was taught en, zh and no Cyrillic letters: what it says may be chance\n"
    assert seetell("search", "a dog", "--in", photos).err == ""
    monkeypatch.setattr(fake, "context_length", 8)
    monkeypatch.setattr(fake, "text_marks", 2)
    monkeypatch.setattr(fake, "count_tokens", lambda texts: [min(8, 2 + len(text.split())) for text in texts])
    assert seetell("search", "a b c d e f", "--in", photos).err == ""
    cut = seetell("search", "a b c d e f g", "--in", photos)
    assert (cut.status, "longer than the 8 tokens that fake reads" in cut.err) == (0, True)


class Keyboard(io.StringIO):
    """Somebody at a terminal who types these lines, and Ctrl-D after the last."""

    def isatty(self) -> bool:
        return True


def test_without_a_text_it_keeps_asking(
    seetell: Any, fake: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for typed in ("red\n-blue\n green \n\nnever\n", "red\n-blue\ngreen\n"):
        monkeypatch.setattr("sys.stdin", Keyboard(typed))
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        monkeypatch.setattr("seetell.cli.output.Output.heading", lambda out, text: None)
        result = seetell("search", "--in", photos, "-k", "1", "--json")
        assert result.status == 0
        found = re.findall(r'"photo": "([^"]*)"', result.out)
        assert found == [str(photos / "red.png"), str(photos / "green.png")]
        said = result.err.splitlines()
        assert said[0] == "Say what to look for; an empty line or Ctrl-D ends."
        assert "says only what is not wanted" in said[1]


def test_asking_is_for_terminals_and_a_sheet_is_of_one_search(
    seetell: Any, fake: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Keyboard("red\n"))
    for more in ((), ("--sheet", photos / "page.html")):
        result = seetell("search", "--in", photos, *more)
        assert (result.status, result.out) == (2, "")
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/home/me/Photos/a.jpg", "Photos/a.jpg"),
        ("/home/you/a.jpg", "../you/a.jpg"),
        ("/mnt/a.jpg", "/mnt/a.jpg"),
        ("Photos/a.jpg", "Photos/a.jpg"),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="paths of POSIX")
def test_paths_from_here(monkeypatch: pytest.MonkeyPatch, path: str, shown: str) -> None:
    monkeypatch.setattr("os.getcwd", lambda: "/home/me")
    assert from_here(path) == shown


@pytest.fixture
def judging(fake: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The made-up model with a bundle that says how probable a hit is: of the colour asked for 98%."""
    fitted = FitProbability(
        bias=-16, cosine=20, contrast=0, mean=0, spread=0, skewness=0, nothing_below=0.9, hit_below=0.1
    )

    def fitting(text: str, vector: Any) -> Fitting:
        others = np.eye(3, dtype=np.float32)
        return Fitting(fitted, vector, np.repeat(others, 3, axis=0), others)

    monkeypatch.setattr(fake, "fitting", fitting)
    return fake


def test_hits_say_how_probably_they_fit(seetell: Any, judging: Any, photos: Path) -> None:
    result = seetell("search", "something red", "--in", photos)
    assert result.out.splitlines() == [f"1\t{photos / 'red.png'}\t1.000\t98%"]
    (line,) = seetell("search", "something red", "--in", photos, "--json").lines
    assert line["probability"] == pytest.approx(0.982, abs=1e-3)
    every = seetell("search", "something red", "--in", photos, "--min-probability", "0", "--json").lines
    assert len(every) == 3
    assert all(one["probability"] < 0.01 for one in every[1:])
    assert seetell("search", "red", "--in", photos, "--min-probability", "1.5").status == 2


def test_it_says_that_nothing_fits(seetell: Any, judging: Any, photos: Path) -> None:
    for output in ((), ("--json",)):
        result = seetell("search", "a rocket", "--in", photos, *output)
        assert (result.status, result.out) == (0, "")
        (said,) = [line for line in result.err.splitlines() if "fits" in line]
        assert said == (
            "nothing in the 3 photos fits 'a rocket' (the nearest: 1%); "
            "--min-probability 0 shows the nearest all the same"
        )
    assert len(seetell("search", "a rocket", "--in", photos, "--min-probability", "0", "--json").lines) == 3


def test_asked_again_and_again_it_says_that_nothing_fits(
    seetell: Any, judging: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Keyboard("a rocket\nred\n"))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("seetell.cli.output.Output.heading", lambda out, text: None)
    result = seetell("search", "--in", photos, "--json")
    assert "nothing in the 3 photos fits 'a rocket'" in result.err
    assert re.findall(r'"photo": "([^"]*)"', result.out) == [str(photos / "red.png")]


def test_a_model_without_probabilities_cannot_leave_out(seetell: Any, fake: Any, photos: Path) -> None:
    result = seetell("search", "red", "--in", photos, "--min-probability", "0.5")
    assert result.status == 2
    assert "fake has no probabilities" in result.err
    assert len(seetell("search", "red", "--in", photos, "--min-probability", "0", "--json").lines) == 3
