"""Search and the index over HTTP, and what Prometheus reads."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from seetell.core.errors import StorageError, UsageError
from seetell.search import stored_rows
from seetell.search.photo_index import PhotoIndex
from seetell.serving.app import App
from seetell.serving.model_pool import Source
from seetell.serving.photo_index_api import ServedIndex
from seetell.serving.server import serve as run_server
from seetell.tasks.model import Model
from tests.runtime.toy import CONTEXT, make_tokenizer
from tests.search.test_chances import model_of
from tests.serving.conftest import Serve, data_url, jpeg


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six photos, two of them in a folder below."""
    place = tmp_path / "photos"
    (place / "more").mkdir(parents=True)
    for number in range(6):
        (place / ("more" if number > 3 else "") / f"{number}.png").write_bytes(jpeg(number))
    return place


def until_indexed(client: httpx2.Client) -> dict[str, Any]:
    for _ in range(600):
        state: dict[str, Any] = client.get("/v1/index").json()
        if not state["running"]:
            return state
        time.sleep(0.05)
    raise AssertionError(state)


def test_index_and_search(serve: Serve, model: Model, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "photos.index"
    client = serve(index=ServedIndex(place, [folder]))
    assert client.get("/v1/index").json() == {"photos": 0, "running": False, "counts": {}, "error": None}
    begun = client.post("/v1/index", json={"folders": ["more"]})
    assert begun.status_code == 202
    assert until_indexed(client)["counts"] == {"added": 2}
    assert client.post("/v1/index", json={}).status_code == 202
    state = until_indexed(client)
    assert (state["photos"], state["counts"]) == (6, {"added": 4, "unchanged": 2})

    own = PhotoIndex(place, model)
    for given, want in (
        ({"text": "a dog", "k": 3}, own.search("a dog", k=3)),
        ({"text": "a dog -bus"}, own.search("a dog -bus")),
        ({"photo": data_url(jpeg(2)), "k": 2}, own.search(image=jpeg(2), k=2)),
        ({"text": "a dog", "photo": data_url(jpeg(2))}, own.search("a dog", image=jpeg(2))),
        ({"text": "a dog", "where": "size_bytes > 1", "rerank": True}, own.search("a dog", rerank=True)),
    ):
        hits = client.post("/v1/search", json=given).json()["hits"]
        assert [(one["rank"], one["photo"]) for one in hits] == [(one.rank, one.photo) for one in want]
        assert [one["score"] for one in hits] == pytest.approx([one.score for one in want], abs=1e-5)
    assert client.post("/v1/search", json={"photo": data_url(jpeg(2))}).json()["hits"][0]["photo"] == str(
        folder / "2.png"
    )


def test_what_fits_too_improbably_is_left_out(serve: Serve, folder: Path, tmp_path: Path) -> None:
    judging = model_of(hit_below=0.3)
    place = tmp_path / "photos.index"
    own = PhotoIndex(place, judging)
    own.add(folder)
    every = own.search("a dog", k=6, min_probability=0)
    least = sorted(hit.probability or 0 for hit in every)[3]
    client = serve(index=ServedIndex(place), sources=[Source("toy", 1, lambda: judging)])
    for given in ({}, {"min_probability": 0}, {"min_probability": least}):
        hits = client.post("/v1/search", json={"text": "a dog", "k": 6, **given}).json()["hits"]
        want = own.search("a dog", k=6, **given)
        assert [one["photo"] for one in hits] == [one.photo for one in want]
        assert [one["probability"] for one in hits] == pytest.approx([one.probability for one in want])
    assert 0 < len(hits) < 6


@pytest.mark.parametrize(
    ("given", "status", "param"),
    [
        ({}, 422, "text"),
        ({"text": "x", "k": 0}, 422, "k"),
        ({"text": "x", "k": 10**9}, 422, "k"),
        ({"text": "x", "min_probability": 1.5}, 422, "min_probability"),
        # The toy says nothing of probabilities.
        ({"text": "x", "min_probability": 0.5}, 400, None),
        ({"text": "-people"}, 400, None),
        ({"text": "x", "where": "1; drop table photos"}, 400, None),
        ({"text": "x", "model": "other"}, 400, "model"),
        ({"photo": "/etc/passwd"}, 400, "photo"),
    ],
)
def test_searches_that_are_none(
    serve: Serve, model: Model, folder: Path, tmp_path: Path, given: Any, status: int, param: str | None
) -> None:
    PhotoIndex(tmp_path / "an.index", model).add(folder)
    client = serve(index=ServedIndex(tmp_path / "an.index"))
    answer = client.post("/v1/search", json=given)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text


def test_only_folders_below_those_named_are_indexed(serve: Serve, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (folder / "way-out").symlink_to(tmp_path / "secret")
    client = serve(index=ServedIndex(tmp_path / "an.index", [folder]))
    (folder / "round").symlink_to(folder / "round")
    outside = ("/etc", "..", "../secret", "more/../../secret", str(tmp_path), "way-out")
    for name in (*outside, "nothing", "a\0b", "x" * 300, "y/" * 1900, "round", "0.png"):
        answer = client.post("/v1/index", json={"folders": [name]})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "folders"), name
    assert client.get("/v1/index").json()["photos"] == 0


def test_a_server_without_an_index_or_folders(
    client: httpx2.Client, serve: Serve, model: Model, folder: Path, tmp_path: Path
) -> None:
    assert client.post("/v1/search", json={"text": "x"}).json()["error"]["type"] == "no_index"
    assert client.get("/v1/index").status_code == 404
    PhotoIndex(tmp_path / "an.index", model).add(folder)
    other = serve(index=ServedIndex(tmp_path / "an.index"))
    assert other.post("/v1/index", json={}).status_code == 400


def test_what_is_doubtful_about_a_text_is_said(
    serve: Serve, model: Model, folder: Path, tmp_path: Path
) -> None:
    PhotoIndex(tmp_path / "an.index", model).add(folder)
    client = serve(index=ServedIndex(tmp_path / "an.index"))
    for given, remarks in (
        ({"text": "a dog"}, []),
        ({"photo": data_url(jpeg(1))}, []),
        ({"text": "собака"}, ["toy was taught en, zh and no Cyrillic letters: what it says may be chance"]),
        (
            {"text": "q" * CONTEXT, "photo": data_url(jpeg(1))},
            [
                f"the text is longer than the {CONTEXT} tokens that toy reads: its end counts for nothing",
            ],
        ),
    ):
        answer = client.post("/v1/search", json=given).json()
        assert (len(answer["hits"]), answer["remarks"]) == (6, remarks)


def test_an_index_that_is_not_there_is_not_served(model: Model, folder: Path, tmp_path: Path) -> None:
    sources = [Source("toy", 1, lambda: model)]
    (tmp_path / "empty.index").mkdir()
    for name in ("mistyped.index", "empty.index"):
        with pytest.raises(
            UsageError, match=rf"{name}: no index is there; make one with seetell index FOLDER"
        ):
            App(sources, index=ServedIndex(tmp_path / name))
        App(sources, index=ServedIndex(tmp_path / name, [folder]))
    assert not (tmp_path / "mistyped.index").exists()
    with pytest.raises(StorageError, match="no index and holds other files"):
        App(sources, index=ServedIndex(folder))


@pytest.mark.parametrize("may_be_brought_up_to_date", [False, True])
@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("other", "1", "was made by other, not toy; search with that --model"),
        ("toy", "0", "was made by an earlier state of toy; seetell index embeds its photos anew"),
    ],
)
def test_an_index_of_another_model_ends_the_server(
    model: Model,
    folder: Path,
    tmp_path: Path,
    name: str,
    version: str,
    message: str,
    may_be_brought_up_to_date: bool,
) -> None:
    manifest = model.manifest.model_copy(update={"name": name, "version": version})
    PhotoIndex(tmp_path / "an.index", Model(manifest, make_tokenizer(), model.engine)).add(folder)
    index = ServedIndex(tmp_path / "an.index", [folder] if may_be_brought_up_to_date else [])
    app = App([Source("toy", 1, lambda: model)], index=index)
    with pytest.raises(UsageError, match=message):
        run_server(app, host="127.0.0.1", port=0, started=lambda _: None)
    assert not app.serving.ready


def test_the_index_is_searched_with_the_threads_of_the_server(
    serve: Serve, model: Model, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, scan = [], stored_rows.VectorScan

    def noted(shared_dim: int, threads: int | None) -> object:
        told.append(threads)
        return scan(shared_dim, threads)

    monkeypatch.setattr(stored_rows, "VectorScan", noted)
    PhotoIndex(tmp_path / "an.index", model).add(folder)
    client = serve(index=ServedIndex(tmp_path / "an.index"), threads=3)
    assert len(client.post("/v1/search", json={"text": "a dog"}).json()["hits"]) == 6
    assert told == [3]
    answer = client.post("/v1/search", json={"text": "a dog", "hybrid": True})
    assert (answer.status_code, "no captions in this index" in answer.text) == (400, True)


def test_metrics(client: httpx2.Client) -> None:
    for seed in range(3):
        client.post("/v1/caption", json={"photo": data_url(jpeg(seed))})
    client.post("/v1/caption", json={"photo": "x"})
    client.get("/nothing")
    page = client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    values = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
    }
    assert values["seetell_answers_total", (("status", "200"), ("task", "caption"))] == 3
    assert values["seetell_answers_total", (("status", "400"), ("task", "other"))] == 1
    assert values["seetell_answers_total", (("status", "404"), ("task", "other"))] == 1
    assert values["seetell_request_seconds_count", (("task", "caption"),)] == 3
    # One of the warm-up's, and three.
    assert values["seetell_batch_items_sum", (("task", "caption"),)] == 4
    assert values["seetell_queue_seconds_count", (("task", "caption"),)] == 4
    assert values["seetell_queue_items", ()] == 0
    assert values["seetell_models_loaded", ()] == 1
    assert values["process_resident_memory_bytes", ()] > 1e6


def test_metrics_need_a_key(serve: Serve) -> None:
    client = serve(keys=["one"])
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"authorization": "Bearer one"}).status_code == 200


def test_the_page_of_the_api_asks_nothing_of_others(client: httpx2.Client) -> None:
    page = client.get("/docs").text
    assert "/v1/caption" in page and "Describe a photo" in page and "min_confidence" in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
