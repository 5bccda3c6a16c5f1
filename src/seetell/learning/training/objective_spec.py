"""What a recipe says of one objective."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

ObjectiveName = Literal[
    "contrastive",
    "matching",
    "masked_language",
    "captioning",
    "self_critical",
    "answer_list",
    "answer_text",
    "answer_tags",
    "labels",
    "label_names",
    "caption_words",
    "distil_affinity",
    "distil_features",
    "distil_matching",
    "distil_captioning",
    "distil_answers",
    "distil_hidden",
]

# The objectives that learn from the recipe's teacher.
DISTILLING: frozenset[ObjectiveName] = frozenset(
    name for name in get_args(ObjectiveName) if name.startswith("distil_")
)
# Those of them that compare outputs which are a distribution, and so may be softened.
_SOFTENED = frozenset({"distil_matching", "distil_captioning", "distil_answers"})

# Those that learn from some of a step's texts only, and those whose labels can be smoothed.
_SHARED: frozenset[ObjectiveName] = frozenset(
    {
        "captioning",
        "distil_captioning",
        "self_critical",
        "matching",
        "distil_matching",
        "masked_language",
    }
)
_SMOOTHED: frozenset[ObjectiveName] = frozenset(
    {"contrastive", "masked_language", "captioning", "answer_list", "answer_text", "labels", "label_names"}
)

# What each teaches a model to give, by the names that ``modeling.outputs`` has; heads that serve the training
# alone are no outputs.
_TRAINS: dict[ObjectiveName, frozenset[str]] = {
    "contrastive": frozenset({"image_embeds", "text_embeds"}),
    "matching": frozenset({"match_logits"}),
    "masked_language": frozenset({"token_logits"}),
    "captioning": frozenset({"logits"}),
    "answer_list": frozenset({"answer_logits"}),
    "answer_text": frozenset({"fused_tokens", "logits"}),
    "labels": frozenset({"label_logits"}),
}
# What is learned from a teacher, a reward or names trains what another objective does.
_LIKE: dict[ObjectiveName, ObjectiveName] = {
    "label_names": "contrastive",
    "self_critical": "captioning",
    "distil_affinity": "contrastive",
    "distil_features": "contrastive",
    "distil_matching": "matching",
    "distil_captioning": "captioning",
    "distil_answers": "answer_list",
}
# What an answer and its confidence come from.
ANSWERING: frozenset[ObjectiveName] = frozenset({"answer_list", "answer_text"})


def like(objective: ObjectiveName) -> ObjectiveName:
    """The objective that trains the same part of a model; itself where there is none besides."""
    return _LIKE.get(objective, objective)


def trained_outputs(objectives: Iterable[ObjectiveName]) -> frozenset[str]:
    """What a model gives that these have taught."""
    none: frozenset[str] = frozenset()
    return none.union(*(_TRAINS.get(like(name), none) for name in objectives))


def teachers_of(outputs: Collection[str]) -> frozenset[ObjectiveName]:
    """The objectives that have taught a model which gives ``outputs``, as far as those tell."""
    return frozenset(name for name, taught in _TRAINS.items() if taught <= set(outputs))


_SAMPLES = 5


class ObjectiveSpec(BaseModel):
    """One entry of a recipe's ``objectives``.

    name: ``answer_tags`` predicts, from the photo alone, every answer given about it. It teaches the image
        encoder what questions will ask about, before the fusion can pass that on; its head is left behind at
        export. ``caption_words`` does the same with the words of the captions. ``label_names`` tells a
        labelled photo's label from the others of its source by the text encoder's embeddings of their names,
        as zero-shot classification will (Radford et al. 2021, section 3.1). Names that begin with ``distil_``
        learn from the recipe's ``teacher`` what objectives/distilling.py says. ``self_critical`` draws
        captions and rewards them by CIDEr-D (Rennie et al. 2017); for a model that captions already.

    weight: factor on the loss.
    share: for the objectives that read texts beside photos word by word, and for matching, the part of the
        batch's texts it uses, drawn at random each step; less is faster.
    label_smoothing: as in Szegedy et al. 2016, section 7, for objectives that choose one of many; the sigmoid
        loss of SigLIP has none.
    language_weights: for ``contrastive``, language code -> weight in the mean over languages, 1 where it is
        not named; more for a language whose texts say less of a photo.
    cross_lingual: for ``contrastive``, the weight of a further loss between languages: each text beside the
        mean of its photo's texts in the batch's first language by code, as beside its photo. What texts of
        one language say of a photo teaches those of the others (after Carlsson et al. 2022, who align text
        with text to teach a dual encoder another language).
    drop_words: for ``contrastive``, the share of a text's words that are left out each time it is read, so
        that no photo is known by one of them (Iyyer et al. 2015, "word dropout"); of a model with a sentence
        encoder, which reads whole texts, out of its bag.
    drop_features: for ``contrastive`` of a model whose photos have pooled features, the share of these left
        out each time a photo is seen (Srivastava et al. 2014): there are thousands of each photo; and of what
        a sentence encoder says of a text.
    random_negatives: for ``matching``, the part of the texts whose negatives are drawn evenly from the batch
        instead of by similarity. Negatives a young dual encoder finds hard teach nothing yet.

    chunk: for ``contrastive`` of a dual encoder (CLIP, SigLIP and their like), how many photos and texts are
        encoded at once. The loss and its gradient are those of the whole batch, its memory is a chunk's, and
        each is encoded twice (GradCache, Gao et al. 2021).
    samples: for ``self_critical``, how many captions it draws of each photo in each language, at least 2.
    temperature: for ``distil_matching``, ``distil_captioning`` and ``distil_answers``, what student's and
        teacher's logits are divided by; above 1 shows more of what the teacher finds less likely.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ObjectiveName
    weight: float = Field(default=1.0, gt=0)
    share: float = Field(default=1.0, gt=0, le=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    language_weights: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    cross_lingual: float = Field(default=0.0, ge=0)
    drop_words: float = Field(default=0.0, ge=0, lt=1)
    drop_features: float = Field(default=0.0, ge=0, lt=1)
    random_negatives: float = Field(default=0.0, ge=0, le=1)
    chunk: int | None = Field(default=None, gt=0)
    samples: int = Field(default=_SAMPLES, ge=2)
    temperature: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _each_knob_has_its_objective(self) -> Self:
        if (self.language_weights or self.cross_lingual) and self.name != "contrastive":
            raise ValueError(f"language_weights and cross_lingual serve contrastive alone, not {self.name}")
        if (self.drop_words or self.drop_features) and self.name != "contrastive":
            raise ValueError(f"drop_words and drop_features serve contrastive alone, not {self.name}")
        if self.chunk is not None and self.name != "contrastive":
            raise ValueError(f"chunk serves contrastive alone, not {self.name}")
        if self.random_negatives and self.name != "matching":
            raise ValueError(f"random_negatives serves matching alone, not {self.name}")
        if self.temperature != 1.0 and self.name not in _SOFTENED:
            raise ValueError(f"temperature serves {', '.join(sorted(_SOFTENED))} alone, not {self.name}")
        if self.samples != _SAMPLES and self.name != "self_critical":
            raise ValueError(f"samples serves self_critical alone, not {self.name}")
        if self.share != 1.0 and self.name not in _SHARED:
            raise ValueError(f"share serves {', '.join(sorted(_SHARED))} alone, not {self.name}")
        if self.label_smoothing and self.name == "self_critical":
            raise ValueError("label_smoothing serves labels; self_critical has a reward instead")
        if self.label_smoothing and self.name in DISTILLING:
            raise ValueError(f"label_smoothing serves labels; {self.name} has a teacher's instead")
        if self.label_smoothing and self.name not in _SMOOTHED:
            raise ValueError(f"label_smoothing serves {', '.join(sorted(_SMOOTHED))} alone, not {self.name}")
        return self
