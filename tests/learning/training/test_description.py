"""What a run says of its model when it starts, by what it is taught."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from seetell.core.errors import RecipeError
from seetell.learning.tokenizer_training import built_in_text_spec, train_tokenizer
from seetell.learning.training.corpus import Corpus
from seetell.learning.training.description import describe, own_start, taught_before, text_spec
from seetell.learning.training.objective_spec import (
    DISTILLING,
    ObjectiveName,
    like,
    teachers_of,
    trained_outputs,
)
from seetell.learning.training.recipe import Recipe, model_config
from seetell.modeling.models.unified import UnifiedModel

ALL: tuple[ObjectiveName, ...] = (
    "contrastive",
    "matching",
    "masked_language",
    "captioning",
    "answer_list",
    "answer_text",
    "labels",
)
TOKENIZER = train_tokenizer(["a dog"] * 4, 300).encode("utf-8")
# They teach the image encoder alone, whose tokens are in every bundle.
_NOTHING_SHIPPED = {"answer_tags", "caption_words", "distil_hidden"}
_MODEL = {
    "image": {"kind": "resnet", "depths": [1], "channels": [8], "stem_channels": 8},
    "text": {"embed_dim": 8, "depth": 1, "num_heads": 2, "context_length": 16},
    "fusion": {"depth": 1, "num_heads": 2},
    "image_size": [32, 32],
    "shared_dim": 8,
}


def _recipe(*objectives: str, **changes: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "model": _MODEL,
            "tokenizer": {"context_length": 16},
            "data": [
                {"format": "coco_captions", "path": "photos"},
                {"format": "vqa", "path": "asked"},
                {"format": "imagefolder", "path": "labelled"},
            ],
            "batch_size": 8,
            "steps": 1,
            "objectives": [{"name": name} for name in objectives],
            "checkpoint": {"dir": "runs/mine"},
            **changes,
        }
    )


def _model() -> UnifiedModel:
    return UnifiedModel(model_config(_MODEL, vocab_size=300, num_answers=2, num_labels=2))


@pytest.mark.parametrize("name", get_args(ObjectiveName))
def test_every_objective_says_what_it_trains(name: ObjectiveName) -> None:
    assert bool(trained_outputs([name])) == (name not in _NOTHING_SHIPPED)
    assert teachers_of(trained_outputs([name])) >= {like(name)} - _NOTHING_SHIPPED


def test_what_is_learned_from_a_teacher_trains_what_its_own_objective_does() -> None:
    assert {name: like(name) for name in DISTILLING if like(name) != name} == {
        "distil_affinity": "contrastive",
        "distil_features": "contrastive",
        "distil_matching": "matching",
        "distil_captioning": "captioning",
        "distil_answers": "answer_list",
    }


def test_text_spec_is_that_of_training() -> None:
    assert text_spec(TOKENIZER, 16, ALL) == built_in_text_spec(16)
    bare = text_spec(TOKENIZER, 16, ["contrastive"])
    assert (bare.mask_id, bare.answer_start_id, bare.decoder_start_ids, bare.fill_start_ids) == (
        None,
        None,
        {},
        {},
    )
    with pytest.raises(RecipeError, match=r"\[CLS\]"):
        text_spec(b'{"added_tokens": []}', 16, ALL)


@pytest.mark.parametrize(
    ("objectives", "taught"),
    [
        (ALL, set(ALL)),
        (("captioning",), {"captioning"}),
        (("answer_text",), {"answer_text"}),
        # The same outputs as of captions; the lead tells them apart.
        (("self_critical",), {"captioning"}),
        (("label_names", "answer_tags"), {"contrastive"}),
    ],
)
def test_what_was_taught_can_be_told_from_what_is_said(
    objectives: tuple[ObjectiveName, ...], taught: set[str]
) -> None:
    corpus = Corpus((), ("yes", "no"), ("cat", "dog"))
    templates = {"templates": {"en": ["a {}"]}}
    labelled = {"format": "imagefolder", "path": "labelled", **templates}
    data = [{"format": "coco_captions", "path": "photos"}, {"format": "vqa", "path": "asked"}, labelled]
    start = own_start(_recipe(*objectives, data=data), _model(), corpus, TOKENIZER)
    assert taught_before(start) == taught
    assert (start.facts.answers, start.facts.labels) == (("yes", "no"), ("cat", "dog"))


def test_a_bundle_says_what_the_recipe_says_before_what_the_run_knows() -> None:
    recipe = _recipe("captioning", bundle={"name": "ours", "licence": "mine", "generation": {"beams": 3}})
    start = own_start(recipe, _model(), Corpus((), (), ()), TOKENIZER)
    told = describe(recipe, start)
    assert (told.facts.name, told.bundle["name"], told.bundle["licence"]) == ("mine", "ours", "mine")
    assert told.bundle["generation"]["beams"] == 3 and told.facts.generation.beams != 3
    assert (told.family, told.init, told.checkpoint) == ("unified", None, "latest")
    assert told.trained == ("logits",)
    # One that is to stop when it no longer improves has something better than what came last.
    patient = _recipe(
        "captioning",
        validate={"every": 1, "stop_on": "photos.en.captions.cider", "patience": 2},
    )
    assert describe(patient, start).checkpoint == "best"
