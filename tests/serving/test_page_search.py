"""What the page asks of a search over its photos and those of the index."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from seetell.search.photo_index import PhotoIndex
from seetell.serving.photo_index_api import ServedIndex
from seetell.tasks.model import Model
from tests.serving.conftest import Serve, jpeg


def coded(vector: Any) -> str:
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()


@pytest.fixture
def own(model: Model) -> list[str]:
    return [coded(vector) for vector in model.embed_images([jpeg(seed) for seed in range(3)])]


def test_photos_of_both_in_one_list(serve: Serve, model: Model, own: list[str], tmp_path: Path) -> None:
    for seed in range(3, 7):
        (tmp_path / f"{seed}.png").write_bytes(jpeg(seed))
    place = tmp_path / "photos.index"
    PhotoIndex(place, model).add(tmp_path)
    (tmp_path / "5.png").unlink()
    client = serve(index=ServedIndex(place))
    scores = model.embed_images([jpeg(seed) for seed in range(7)]) @ model.embed_texts(["a dog"])[0]

    def seeds(hits: list[dict[str, Any]]) -> list[int]:
        return [one["own"] if one["own"] is not None else int(Path(one["photo"]).stem) for one in hits]

    got = client.post("/v1/page/search", json={"text": "a dog", "vectors": own}).json()
    assert seeds(got["hits"]) == np.argsort(-scores).tolist() and got["remarks"] == []
    assert [one["score"] for one in got["hits"]] == pytest.approx(sorted(scores, reverse=True), abs=1e-5)
    assert [seeds([one]) for one in got["hits"] if one["gone"]] == [[5]]
    assert {one["probability"] for one in got["hits"]} == {None}
    # So many of the index, and all of the page.
    few = client.post("/v1/page/search", json={"text": "a dog", "vectors": own, "k": 1}).json()["hits"]
    best = next(seed for seed in np.argsort(-scores).tolist() if seed >= 3)
    assert seeds(few) == [seed for seed in np.argsort(-scores).tolist() if seed < 3 or seed == best]
    # Those like a photo, without it.
    alike = client.post("/v1/page/search", json={"like": 1, "vectors": own}).json()["hits"]
    vectors = model.embed_images([jpeg(seed) for seed in range(7)])
    want = [seed for seed in np.argsort(-(vectors @ vectors[1])).tolist() if seed != 1]
    assert seeds(alike) == want
    doubtful = client.post("/v1/page/search", json={"text": "собака", "vectors": []}).json()
    assert "no Cyrillic letters" in doubtful["remarks"][0] and len(doubtful["hits"]) == 4


def test_without_an_index_those_of_the_page_are_searched(client: httpx2.Client, own: list[str]) -> None:
    got = client.post("/v1/page/search", json={"text": "a dog", "vectors": own}).json()
    assert sorted(one["own"] for one in got["hits"]) == [0, 1, 2]
    assert client.post("/v1/page/search", json={"text": "a dog", "vectors": []}).json()["hits"] == []


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({}, "text"),
        ({"text": "a dog", "like": 0}, "text"),
        ({"like": 3}, "like"),
        ({"like": -1}, "like"),
        ({"text": "a dog", "vectors": ["?"]}, "vectors"),
        ({"text": "a dog", "vectors": ["AAA="]}, "vectors"),
        ({"text": "a dog", "vectors": [coded([1.0, 2.0])]}, "vectors"),
        ({"text": "a dog", "vectors": [coded([1.0]), coded([1.0, 2.0])]}, "vectors"),
        ({"text": "a dog", "vectors": [coded([float("nan")] * 8)]}, "vectors"),
        ({"text": "a dog", "vectors": [""] * 1001}, "vectors"),
        ({"text": "a dog", "names": ["1.png"]}, "names"),
        ({"text": "a dog", "min_probability": 2}, "min_probability"),
    ],
)
def test_what_cannot_be_looked_for(
    client: httpx2.Client, own: list[str], asked: dict[str, Any], param: str
) -> None:
    got = client.post("/v1/page/search", json={"vectors": own} | asked)
    assert got.status_code == 422, got.text
    assert got.json()["error"]["param"] == param


def test_what_has_no_length_fits_nothing(client: httpx2.Client, model: Model) -> None:
    dim = model.embed_texts(["a dog"]).shape[1]
    got = client.post("/v1/page/search", json={"text": "a dog", "vectors": [coded([0.0] * dim)]})
    assert got.status_code == 200 and got.json()["hits"][0]["score"] == 0.0
