"""A training run's folder to a bundle: what ``seetell convert RUN OUT`` does."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from seetell.bundle.manifest import Manifest, Source, TextSpec
from seetell.core.errors import ExportError
from seetell.core.files import folder_name
from seetell.media.preprocess import ImageSpec, ResizeRule
from seetell.modeling.checkpoints.own import Run, read_run
from seetell.modeling.export.adjustment import Adjustment
from seetell.modeling.export.weights import WeightsDtype
from seetell.modeling.export.write_bundle import BundleFacts, write_bundle
from seetell.modeling.models.config import UnifiedConfig

_LICENCE = "Not stated. The terms of the training data apply; find out before passing these weights on."
_PROMPTS = {"classify": {"en": ("a photo of a {}", "{}"), "zh": ("一张{}的照片", "{}")}}
# Which objectives train what; an output none of the run's objectives trains is left out.
_TRAINED_BY = {
    "image_embeds": {"contrastive"},
    "text_embeds": {"contrastive"},
    "text_encoder": {"contrastive"},
    "label_logits": {"labels"},
    "match_logits": {"matching"},
    "token_logits": {"masked_language"},
    "answer_logits": {"answer_list"},
    "fused_tokens": {"answer_text"},
    "fusion_encoder": {"matching", "masked_language", "answer_list", "answer_text"},
    "decoder_memory": {"captioning", "answer_text"},
    "text_decoder": {"captioning", "answer_text"},
}
# What an answer and its confidence come from.
ANSWERING = frozenset({"answer_list", "answer_text"})
# What is learned from a teacher's outputs trains what its own objective would.
_LIKE = {
    "distil_affinity": "contrastive",
    "distil_features": "contrastive",
    "distil_matching": "matching",
    "distil_captioning": "captioning",
    "distil_answers": "answer_list",
}


def export_run(
    run_folder: Path,
    out: Path,
    *,
    checkpoint: str = "latest",
    use_ema: bool = True,
    weights_dtype: WeightsDtype = "fp16",
    facts: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    adjust: Adjustment | None = None,
) -> Manifest:
    """Write the model of a training run as a bundle.

    What the run cannot know (name, licence, data terms, prompts, generation, ...: the fields of
    BundleFacts) comes from ``facts``, else from the recipe's ``bundle``, else from defaults.

    Args:
        checkpoint: ``latest``, ``best`` or a checkpoint's name.
        use_ema: averaged weights, where the run kept them.
        adjust: changes the model, in place, before it is written.

    Raises CheckpointError, ExportError and StorageError.
    """
    run = read_run(run_folder, checkpoint=checkpoint, use_ema=use_ema)
    objectives = objectives_of(run.recipe)
    if "labels" not in objectives:
        run = _without_labels(run)
    if adjust is not None:
        adjust(run.model)
    complete = described_facts(run, run_folder, facts)
    if adjust is not None:
        complete = adjust.described(complete)
    return write_bundle(
        lambda: copy.deepcopy(run.model).cpu().float(),
        run.tokenizer_json,
        out,
        complete,
        without=untrained(objectives),
        weights_dtype=weights_dtype,
        overwrite=overwrite,
    )


def _without_labels(run: Run) -> Run:
    """The run without its label head, which photos with labels alone make, and nothing has taught."""
    run.model.label_head = None
    run.model.config = run.model.config.model_copy(update={"num_labels": 0})
    return replace(run, labels=())


def described_facts(run: Run, run_folder: Path, facts: Mapping[str, Any] | None = None) -> BundleFacts:
    """What a bundle of the run says, ``facts`` before the recipe's before defaults. Raises ExportError."""
    defaults = _defaults(run, run_folder, objectives_of(run.recipe))
    return completed(defaults, run.recipe, run_folder, facts)


def completed(
    defaults: Mapping[str, Any],
    recipe: Mapping[str, Any],
    run_folder: Path,
    facts: Mapping[str, Any] | None = None,
) -> BundleFacts:
    """``defaults`` with what the recipe's ``bundle`` says in their place, and ``facts`` in the place of both.

    Raises ExportError naming the key that is wrong.
    """
    try:
        return BundleFacts.model_validate({**defaults, **(recipe.get("bundle") or {}), **(facts or {})})
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise ExportError(f"{run_folder}: bundle.{key}: {fault['msg']}") from error


def untrained(objectives: frozenset[str]) -> frozenset[str]:
    """The roles and outputs that none of these objectives trains, for ``without``."""
    return frozenset(name for name, by in _TRAINED_BY.items() if not by & objectives)


def objectives_of(recipe: Mapping[str, Any]) -> frozenset[str]:
    """By which objectives a run's model was taught, now and before: ``objectives`` and ``keeps``."""
    now = (str(one["name"]) for one in recipe.get("objectives") or [])
    return frozenset((*map(like, now), *map(str, recipe.get("keeps") or [])))


def like(objective: str) -> str:
    """The objective that trains the same part of a model; itself where it learns from no teacher."""
    return _LIKE.get(objective, objective)


def taught_before(manifest: Manifest) -> frozenset[str]:
    """The objectives whose work a bundle of ours holds."""
    outputs = {name for graph in manifest.graphs.values() for name in graph.outputs}
    text = manifest.text
    shown = {
        "contrastive": "text_embeds" in outputs,
        "matching": "match_logits" in outputs,
        "masked_language": "token_logits" in outputs,
        "answer_list": "answer_logits" in outputs,
        "labels": "label_logits" in outputs,
        "captioning": text is not None and bool(text.decoder_start_ids),
        "answer_text": text is not None and text.answer_start_id is not None,
    }
    return frozenset(name for name, there in shown.items() if there)


def _defaults(run: Run, run_folder: Path, objectives: frozenset[str]) -> dict[str, Any]:
    recipe = run.recipe
    normalised = {key: recipe[key] for key in ("mean", "std") if key in recipe}
    text = text_spec(run.tokenizer_json, run.model.config.text.context_length, objectives)
    languages = tuple(text.decoder_start_ids) or tuple(text.fill_start_ids) or ("en", "zh")
    return {
        "name": folder_name(run_folder),
        "licence": _LICENCE,
        "languages": languages,
        "image": own_image_spec(run.model.config, **normalised),
        "text": text,
        "prompts": _PROMPTS,
        "answers": run.answers,
        "labels": run.labels,
        "source": Source(recipe=f"{folder_name(run_folder)}, step {run.step}"),
    }


def own_image_spec(config: UnifiedConfig, **normalised: Any) -> ImageSpec:
    """How our model's photos are made, in training and after it. normalised: ``mean`` and ``std``.

    Training squashes the whole photo, bicubic, or keeps its shape; random views are relative to that.
    """
    height, width = config.image_size
    resize: ResizeRule = "longest_edge" if config.letterbox else "squash"
    return ImageSpec(height=height, width=width, resize=resize, **normalised)


def text_spec(tokenizer_json: bytes, context_length: int, objectives: frozenset[str]) -> TextSpec:
    """The TextSpec of our token layout, by the names of the special tokens in the tokenizer.

    Leads of what ``objectives`` did not train are left out. Raises ExportError when a token is missing.
    """
    document = json.loads(tokenizer_json)
    ids = {str(token["content"]): int(token["id"]) for token in document.get("added_tokens", [])}

    def token(name: str) -> int:
        if name not in ids:
            raise ExportError(f"tokenizer.json has no special token {name}; train it with seetell train")
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
