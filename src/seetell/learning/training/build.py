"""The training step a recipe asks for."""

from __future__ import annotations

from seetell.core.errors import RecipeError
from seetell.learning.tokenizer_training import SPECIAL_TOKENS, built_in_text_spec
from seetell.learning.training.recipe import Recipe, model_config
from seetell.learning.training.step import JointStep, LeadIds
from seetell.modeling.models.unified import UnifiedModel

# objective -> what it classifies over, which must not be empty
_NEEDS = {"answer_list": "answers", "answer_tags": "answers", "labels": "labels"}


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
    )


def build_step(recipe: Recipe, vocab_size: int, num_answers: int, num_labels: int) -> JointStep:
    """A freshly initialised step; seed torch before.

    Raises RecipeError for an objective no data source serves.
    """
    sizes = {"answers": num_answers, "labels": num_labels}
    for objective in recipe.objectives:
        needed = _NEEDS.get(objective.name)
        if needed and not sizes[needed]:
            raise RecipeError(f"objectives: {objective.name} needs {needed}, and no data source has any")
    config = model_config(recipe.model, vocab_size=vocab_size, num_answers=num_answers, num_labels=num_labels)
    return JointStep(
        UnifiedModel(config),
        recipe.objectives,
        lead_ids(recipe.tokenizer.context_length),
        learned_weights=recipe.loss_weights == "learned",
    )
