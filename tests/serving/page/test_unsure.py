"""The page says where the model is unsure of a caption, and what it would have said."""

from __future__ import annotations

import pytest

from seetell.bundle.tokenizer import Tokenizer
from seetell.tasks.model import Model
from tests.runtime.toy import make_manifest
from tests.serving.conftest import SlowEngine, jpeg
from tests.serving.page.conftest import Open, playwright

expect = playwright.expect


@pytest.fixture
def model(engine: SlowEngine, tokenizer: Tokenizer) -> Model:
    fitted = {"bias": 4.0, "log_prob_weight": 2.0, "match_weight": 3.0, "unsure_below": 0.88}
    manifest = make_manifest(
        engine, score={"captions": {"en": fitted}}, prompts={"unsure": {"en": ("a room", "a dog outside")}}
    )
    return Model(manifest, tokenizer, engine, batch_size=8)


def test_an_unsure_caption_is_shown_as_one(visit: Open, model: Model) -> None:
    captions = {seed: model.caption(jpeg(seed)) for seed in range(8)}
    unsure = next(seed for seed, one in captions.items() if one.unsure)
    sure = next(seed for seed, one in captions.items() if not one.unsure)
    seen = visit()
    seen.drop(("unsure.png", jpeg(unsure)), ("certain.png", jpeg(sure)))
    expect(seen.photo("unsure.png")).to_contain_text(f"Not sure: {captions[unsure].text}")
    expect(seen.photo("unsure.png")).not_to_contain_text(str(captions[unsure].guess))
    expect(seen.photo("certain.png")).to_contain_text(captions[sure].text)
    expect(seen.photo("certain.png")).not_to_contain_text("Not sure")
    seen.photo("unsure.png").get_by_role("button").click()
    told = seen.page.locator("figcaption")
    expect(told).to_contain_text(f"Perhaps: {captions[unsure].guess}")
    confidence = captions[unsure].confidence
    assert confidence is not None
    expect(told).to_contain_text(f"{round(100 * confidence)}% confident")
