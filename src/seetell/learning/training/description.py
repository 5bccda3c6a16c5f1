"""What a run says of its model when it starts: what its folder's ``model.json`` holds, and so its bundle."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from seetell.bundle.manifest import AnswerCalibration, TextSpec
from seetell.core.errors import RecipeError
from seetell.core.files import folder_name
from seetell.learning.training.corpus import Corpus
from seetell.learning.training.objective_spec import (
    ANSWERING,
    ObjectiveName,
    like,
    teachers_of,
    trained_outputs,
)
from seetell.learning.training.recipe import Recipe
from seetell.media.preprocess import ImageSpec, ResizeRule
from seetell.modeling.checkpoints.run_folder import RunDescription
from seetell.modeling.facts import BundleFacts
from seetell.modeling.models.config import UnifiedConfig
from seetell.modeling.models.unified import UnifiedModel
from seetell.modeling.outputs import ALL_TAUGHT
from seetell.modeling.start import Start

_LICENCE = "Not stated. The terms of the training data apply; find out before passing these weights on."
_PROMPTS = {"classify": {"en": ("a photo of a {}", "{}"), "zh": ("一张{}的照片", "{}")}}


def taught_before(start: Start) -> frozenset[ObjectiveName]:
    """By which objectives a model of ours was taught what it can do."""
    text = start.facts.text
    unsaid = set()
    # One decoder writes both, each after a lead of its own.
    if text is None or not text.decoder_start_ids:
        unsaid.add("captioning")
    if text is None or text.answer_start_id is None:
        unsaid.add("answer_text")
    return teachers_of(start.trained) - unsaid


def own_start(recipe: Recipe, model: UnifiedModel, corpus: Corpus, tokenizer_json: bytes) -> Start:
    """What is known of our model as the run begins: of what it is taught, now and before."""
    taught = frozenset(like(name) for name in (*(spec.name for spec in recipe.objectives), *recipe.keeps))
    text = text_spec(tokenizer_json, model.config.text.context_length, taught)
    facts = BundleFacts(
        name=folder_name(Path(recipe.checkpoint.dir)),
        licence=_LICENCE,
        languages=tuple(text.decoder_start_ids) or tuple(text.fill_start_ids) or ("en", "zh"),
        image=own_image_spec(model.config, mean=recipe.mean, std=recipe.std),
        text=text,
        answers=corpus.answers,
        labels=corpus.labels,
    )
    return Start(model, facts, tokenizer_json, trained_outputs(taught))


def describe(recipe: Recipe, start: Start) -> RunDescription:
    """What the folder of a run says of its model, from its start on."""
    public = recipe.fine_tunes
    bundle: dict[str, Any] = {"name": folder_name(Path(recipe.checkpoint.dir))}
    if not public:
        bundle["prompts"] = _PROMPTS
    elif ANSWERING & {spec.name for spec in recipe.objectives}:
        # Fitted to answers that it no longer gives.
        bundle["calibration"] = AnswerCalibration()
    if recipe.bundle is not None:
        bundle.update(recipe.bundle.model_dump(mode="json"))
    # What comes last is not what is best where a model that was good before is taught further, or one to the
    # point where it no longer improves.
    patient = recipe.validation is not None and recipe.validation.patience is not None
    return RunDescription(
        family=start.model.family,
        config=start.model.config.model_dump(mode="json"),
        facts=start.facts,
        bundle=bundle,
        trained=tuple(sorted(ALL_TAUGHT if public else start.trained)),
        init=recipe.init,
        init_layers=recipe.init_layers,
        checkpoint="best" if public or patient else "latest",
    )


def own_image_spec(config: UnifiedConfig, **normalised: Any) -> ImageSpec:
    """How our model's photos are made, in training and after it. normalised: ``mean`` and ``std``.

    Training squashes the whole photo, bicubic, or keeps its shape; random views are relative to that.
    """
    height, width = config.image_size
    resize: ResizeRule = "longest_edge" if config.letterbox else "squash"
    return ImageSpec(height=height, width=width, resize=resize, **normalised)


def text_spec(tokenizer_json: bytes, context_length: int, objectives: Collection[str]) -> TextSpec:
    """The TextSpec of our token layout, by the names of the special tokens in the tokenizer.

    Leads of what ``objectives`` do not train are left out. Raises RecipeError when a token is missing.
    """
    document = json.loads(tokenizer_json)
    ids = {str(token["content"]): int(token["id"]) for token in document.get("added_tokens", [])}

    def token(name: str) -> int:
        if name not in ids:
            raise RecipeError(f"tokenizer.path: it has no special token {name}; leave it out to train one")
        return ids[name]

    fills = "masked_language" in objectives
    return TextSpec(
        context_length=context_length,
        bos_id=token("[CLS]"),
        fusion_bos_id=token("[FUSE]"),
        eos_id=token("[EOS]"),
        pad_id=token("[PAD]"),
        mask_id=token("[MASK]") if fills else None,
        decoder_start_ids=({"en": token("[EN]"), "zh": token("[ZH]")} if "captioning" in objectives else {}),
        answer_start_id=token("[ANSWER]") if "answer_text" in objectives else None,
        fill_start_ids={"en": token("[FILL_EN]"), "zh": token("[FILL_ZH]")} if fills else {},
    )
