"""Ten thousand requests made from the OpenAPI document, most of them bad: no 5xx, and the next one served."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from seetell.search.photo_index import PhotoIndex
from seetell.serving.photo_index_api import ServedIndex
from seetell.tasks.model import Model
from tests.serving.conftest import Serve, data_url, jpeg

pytestmark = pytest.mark.slow

REQUESTS = 10_000


def answers(client: httpx2.Client) -> dict[str, float]:
    """How many, by status."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if sample.name == "seetell_answers_total":
                status = sample.labels["status"]
                found[status] = found.get(status, 0) + sample.value
    return found


def test_ten_thousand_bad_requests(serve: Serve, model: Model, tmp_path: Path) -> None:
    pytest.importorskip("lancedb")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(jpeg())
    PhotoIndex(tmp_path / "an.index", model).add(tmp_path / "photos")
    client = serve(index=ServedIndex(tmp_path / "an.index", [tmp_path / "photos"]))
    # Until it was ready, it was asked whether it is, and said no.
    before = answers(client)
    url = str(client.base_url).rstrip("/")
    for seed in range(20):
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
            *("--checks", "not_a_server_error,response_schema_conformance", "--mode", "all"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "300"),
            *("--seed", str(seed), "--generation-database", "none", "--continue-on-failure"),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=1800
        )
        report = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
        assert done.returncode == 0, report[-6000:]
        counts = answers(client)
        if sum(counts.values()) >= REQUESTS:
            break
    assert sum(counts.values()) >= REQUESTS
    assert {
        status for status in counts if status.startswith("5") and counts[status] > before.get(status, 0)
    } == set()
    assert counts["422"] > REQUESTS / 4
    assert client.post("/v1/caption", json={"photo": data_url(jpeg(1))}).status_code == 200
