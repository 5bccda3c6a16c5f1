"""A model of texts alone is served for what it can do."""

from __future__ import annotations

from seetell.bundle.tokenizer import Tokenizer
from seetell.serving.model_pool import Source
from seetell.tasks.model import Model
from tests.runtime.toy import make_manifest
from tests.serving.conftest import Serve, SlowEngine


def test_it_starts_and_embeds(serve: Serve, engine: SlowEngine, tokenizer: Tokenizer) -> None:
    whole = make_manifest(engine)
    graphs = {"text_encoder": whole.graphs["text_encoder"]}
    manifest = whole.model_copy(
        update={"graphs": graphs, "image": None, "tasks": ("embed_texts",), "answers": (), "labels": ()}
    )
    engine.graphs = graphs
    texts = Model(manifest, tokenizer, engine, batch_size=8)
    client = serve(sources=[Source("texts", 1, lambda: texts)])
    found = client.post("/v1/embeddings", json={"input": ["a dog", "a cat"]})
    assert found.status_code == 200, found.text
    assert [one["index"] for one in found.json()["data"]] == [0, 1]
