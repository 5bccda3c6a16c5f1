"""The training step a recipe asks for, and what each kind of model can be taught."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from seetell.bundle.manifest import TextSpec
from seetell.core.errors import RecipeError
from seetell.learning.objectives.self_critical import CaptionReward
from seetell.learning.tokenizer_training import SPECIAL_TOKENS, built_in_text_spec
from seetell.learning.training.dual_encoder_step import DualEncoderStep
from seetell.learning.training.grounded_step import GroundedStep
from seetell.learning.training.objective_spec import ObjectiveName
from seetell.learning.training.recipe import Recipe, model_config
from seetell.learning.training.single_stream_step import SingleStreamStep
from seetell.learning.training.step import JointStep, LeadIds, TrainingStep
from seetell.learning.training.teacher import Teacher
from seetell.modeling.models.assembled import AssembledModel
from seetell.modeling.models.dual_encoder import DualEncoder
from seetell.modeling.models.grounded import GroundedModel
from seetell.modeling.models.single_stream import SingleStreamModel
from seetell.modeling.models.unified import UnifiedModel

# objective -> what it classifies over, which must not be empty
_NEEDS = {
    "answer_list": "answers",
    "answer_tags": "answers",
    "distil_answers": "answers",
    "labels": "labels",
}

# The objectives that write words, each after a lead that says in which language.
_WRITING: frozenset[ObjectiveName] = frozenset(
    {"captioning", "self_critical", "masked_language", "distil_captioning"}
)


def lead_ids(context_length: int) -> LeadIds:
    """The special tokens the objectives need, from the built-in token layout."""
    spec = built_in_text_spec(context_length)
    assert spec.fusion_bos_id is not None and spec.mask_id is not None
    return LeadIds(
        fuse=spec.fusion_bos_id,
        mask=spec.mask_id,
        first_word=len(SPECIAL_TOKENS),
        decoder_start=dict(spec.decoder_start_ids),
        fill_start=dict(spec.fill_start_ids),
        end=spec.eos_id,
    )


def teachable(model: AssembledModel) -> tuple[ObjectiveName, ...]:
    """The objectives that a model of a public family can be taught by; none for what cannot be taught."""
    if isinstance(model, DualEncoder):
        return ("contrastive",)
    if isinstance(model, SingleStreamModel):
        return ("answer_list",) if model.config.num_answers else ()
    if isinstance(model, GroundedModel):
        config = model.config
        found: list[ObjectiveName] = ["contrastive", "matching"] if config.shared_dim else []
        if config.decoder:
            found.append("answer_text" if config.encoder else "captioning")
        return tuple(found)
    return ()


def _check_languages(recipe: Recipe, known: Collection[str]) -> None:
    """Raises RecipeError for captions in a language that the model has no lead to write in."""
    writing = [one.name for one in recipe.objectives if one.name in _WRITING]
    if not writing:
        return
    for source in recipe.data:
        if "caption" not in source.tasks:
            continue
        # Languages that the recipe does not name are those there may be, not those there are.
        named = source.languages if "languages" in source.model_fields_set else ()
        for code in source.templates or named:
            if code not in known:
                raise RecipeError(
                    f"data: {source.path}: {writing[0]} can be taught in {', '.join(sorted(known))}, not in "
                    f"{code}; leave it out of the source's languages"
                )


def distillable(model: AssembledModel) -> tuple[ObjectiveName, ...]:
    """The objectives by which a model of a public family can learn from a teacher."""
    return ("distil_affinity", "distil_features") if isinstance(model, DualEncoder) else ()


def build_public_step(
    model: AssembledModel, recipe: Recipe, text: TextSpec, teacher: Teacher | None = None
) -> TrainingStep:
    """The step of a public model. Raises RecipeError for an objective that does not teach it."""
    able = (*teachable(model), *distillable(model))
    for objective in recipe.objectives:
        if objective.name not in able:
            known = ", ".join(able) or "nothing"
            raise RecipeError(f"objectives: {objective.name} does not teach this model; what does: {known}")
    if isinstance(model, GroundedModel):
        _check_languages(recipe, text.decoder_start_ids)
        learned = recipe.loss_weights == "learned"
        return GroundedStep(model, recipe.objectives, text, learned_weights=learned)
    if isinstance(model, DualEncoder):
        specs = {spec.name: spec for spec in recipe.objectives}
        return DualEncoderStep(
            model,
            specs.pop("contrastive", None),
            distilling=tuple(specs.values()),
            teacher=teacher,
            learned_weights=recipe.loss_weights == "learned",
        )
    assert isinstance(model, SingleStreamModel)
    return SingleStreamStep(model, recipe.objectives[0])


def build_step(
    recipe: Recipe,
    vocab_size: int,
    answers: Sequence[str],
    labels: Sequence[str],
    teacher: Teacher | None = None,
    reward: CaptionReward | None = None,
) -> JointStep:
    """A freshly initialised step; seed torch before. answers, labels: the closed lists. reward: what
    ``self_critical`` judges captions by.

    Raises RecipeError for an objective no data source serves.
    """
    if any(objective.chunk is not None for objective in recipe.objectives):
        raise RecipeError(
            "objectives: chunk serves dual encoders, and this model has more than one objective"
        )
    sizes = {"answers": len(answers), "labels": len(labels)}
    for objective in recipe.objectives:
        needed = _NEEDS.get(objective.name)
        if needed and not sizes[needed]:
            raise RecipeError(f"objectives: {objective.name} needs {needed}, and no data source has any")
    leads = lead_ids(recipe.tokenizer.context_length)
    _check_languages(recipe, leads.decoder_start)
    config = model_config(
        recipe.model or {}, vocab_size=vocab_size, num_answers=len(answers), num_labels=len(labels)
    )
    return JointStep(
        UnifiedModel(config),
        recipe.objectives,
        leads,
        learned_weights=recipe.loss_weights == "learned",
        teacher=teacher,
        answers=answers,
        reward=reward,
    )
