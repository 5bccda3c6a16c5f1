"""The sections of a recipe, each a frozen schema that refuses unknown keys."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from seetell.bundle.manifest import AnswerCalibration, DataTerms, GenerationDefaults
from seetell.core.errors import UsageError
from seetell.core.strict import Strict
from seetell.data.holdout import Holdout
from seetell.learning.augmentation import Augmentation
from seetell.learning.training.objective_spec import ObjectiveName

# What a step calls its losses: "loss", and each objective's by the objective's name.
LOSSES = frozenset({"loss", *get_args(ObjectiveName)})

_Unit = Annotated[float, Field(ge=0, le=1)]
_Share = Annotated[float, Field(gt=0, le=1)]


class Section(Strict):
    """A part of a recipe. It has one spelling per key, and no key it does not read."""

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        # Python, and pydantic with it, takes true for 1: "lr: yes" would train at a rate of 1.
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("is not a yes-or-no setting")
        return value


class AugmentSettings(Section):
    """How far views stray from the photo; the fields of learning/augmentation.py's Augmentation. ``none``
    alone leaves it as it is."""

    scale: tuple[_Share, _Share] = (0.5, 1.0)
    aspect: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.8, 1.25)
    flip: bool = True
    brightness: _Unit = 0.2
    contrast: _Unit = 0.2
    saturation: _Unit = 0.2
    erase: _Unit = 0.0
    stretch: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (1.0, 1.0)
    views: int = Field(default=0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _none_at_all(cls, value: Any) -> Any:
        if value != "none":
            return value
        still = dict.fromkeys(("brightness", "contrast", "saturation", "erase"), 0.0)
        return {**still, "scale": (1.0, 1.0), "aspect": (1.0, 1.0), "flip": False}

    @property
    def changes_nothing(self) -> bool:
        """Whether every view is the whole photo as it is."""
        return self.model_copy(update={"views": 0}) == AugmentSettings.model_validate("none")

    @model_validator(mode="after")
    def _ordered(self) -> AugmentSettings:
        for name, (low, high) in (
            ("scale", self.scale),
            ("aspect", self.aspect),
            ("stretch", self.stretch),
        ):
            if low > high:
                raise ValueError(f"{name} is [smallest, largest]")
        return self

    def rule(self) -> Augmentation:
        """The same as plain numbers."""
        return Augmentation(**self.model_dump())


class HoldoutSettings(Section):
    """Photos never learned from: ``photo_id % modulo == remainder``, or the last fraction by number."""

    modulo: int | None = None
    remainder: int | None = None
    last_fraction: float | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> HoldoutSettings:
        try:
            self.rule()
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self

    def rule(self) -> Holdout:
        """The same for data/holdout.py."""
        return Holdout(self.modulo, self.remainder, self.last_fraction)


# Shards of a thousand samples, as prepared unless told otherwise: enough to mix, and few files at a time.
_SHUFFLED = 16

Task = Literal["caption", "ask", "classify"]
DataFormat = Literal["coco_captions", "vqa", "imagefolder", "webdataset", "table", "folder", "parquet"]
# What a format may hold; those that are not here, everything.
_EVERYTHING: tuple[Task, ...] = ("caption", "ask", "classify")
_TASKS: dict[str, tuple[Task, ...]] = {
    "coco_captions": ("caption",),
    "vqa": ("ask",),
    "imagefolder": ("classify", "caption"),
}


class DataSettings(Section):
    """One source of photos.

    format: ``coco_captions`` (a file, or a folder with ``captions_{split}.json``), ``vqa`` (a folder with
        ``questions_{split}.json`` and ``annotations_{split}.json``), ``imagefolder``, ``webdataset`` (a
        folder that ``seetell prepare`` has written, or tars), and ``table``, ``folder`` and ``parquet`` as
        ``seetell prepare`` reads them.
    images: the folder of photos, relative to ``path``'s folder; looked for where it is left out.
    task: what the source teaches; ``classify`` for an imagefolder unless it says ``caption``, which
        captions photos by ``templates`` and leaves the labels out of the classification head. A source of
        several things teaches all that its samples hold unless one task is named.
    templates: for labelled photos, language -> texts with "{}" where the label goes: captions where the task
        of an ``imagefolder`` is ``caption``, else what the objective ``label_names`` tells labels apart by.
    label_names: language -> label -> its name, where the label itself is not it.
    rare_answers: how much more often questions with rare answers are drawn: 0 evenly, 1 in inverse
        proportion to how common the answer is.
    shuffle_shards: for ``webdataset``, how many shards are mixed at a time.
    length_pool: so many steps share their photos out by the length of their texts; 1 leaves them as drawn.
    batch_size: photos per step; or else ``weight``, its share of the recipe's ``batch_size``.
    """

    format: DataFormat
    path: str
    split: str = "train"
    images: str | None = None
    task: Task | None = None
    batch_size: int | None = Field(default=None, gt=0)
    weight: float = Field(default=1.0, gt=0)
    augment: AugmentSettings = AugmentSettings()
    languages: tuple[str, ...] = ("en", "zh")
    captions_per_photo: int = Field(default=1, gt=0)
    questions_per_photo: int = Field(default=4, gt=0)
    rare_answers: _Unit = 0.0
    shuffle_shards: int = Field(default=_SHUFFLED, gt=0)
    length_pool: int = Field(default=1, gt=0)
    templates: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    label_names: dict[str, dict[str, str]] = Field(default_factory=dict)
    holdout: HoldoutSettings | None = None
    # The first photos only, for quick tries and for validation on a part.
    limit: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _task_fits(self) -> DataSettings:
        able = _TASKS.get(self.format, _EVERYTHING)
        if self.task is not None and self.task not in able:
            raise ValueError(f"a source in the format {self.format} cannot teach {self.task!r}")
        if self.holdout is not None and self.format not in ("vqa", "imagefolder"):
            raise ValueError("holdout belongs to the formats vqa and imagefolder")
        if self.rare_answers and (self.format == "webdataset" or "ask" not in able):
            raise ValueError("rare_answers belongs to formats with questions, and not to webdataset")
        if self.shuffle_shards != _SHUFFLED and self.format != "webdataset":
            raise ValueError("shuffle_shards belongs to the format webdataset")
        if (self.templates or self.label_names) and "classify" not in able:
            raise ValueError("templates and label_names belong to formats with labels")
        unused = self.label_names.keys() - self.templates.keys()
        if unused:
            raise ValueError(f"label_names has {sorted(unused)[0]!r}, a language without templates")
        if self.task == "caption" and self.format == "imagefolder" and not self.templates:
            raise ValueError("an imagefolder that teaches captions needs templates")
        if any("{}" not in text for texts in self.templates.values() for text in texts):
            raise ValueError("each template needs {} where the label goes")
        return self

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks it teaches, named or implied by the format."""
        if self.task is not None:
            return (self.task,)
        return _TASKS[self.format][:1] if self.format in _TASKS else _EVERYTHING


class TokenizerSettings(Section):
    """A tokenizer to use (``path``), or how many tokens to train one with, from the recipe's texts."""

    vocab_size: int = Field(default=6000, gt=0)
    path: str | None = None
    context_length: int = Field(default=64, gt=3)


class OptimizerSettings(Section):
    """AdamW (Loshchilov and Hutter 2019)."""

    lr: float = Field(default=6e-4, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    betas: tuple[_Unit, _Unit] = (0.9, 0.98)
    eps: float = Field(default=1e-8, gt=0)
    grad_clip: float = Field(default=1.0, gt=0)


class ScheduleSettings(Section):
    """Linear warm-up over ``warmup_steps``, or a fraction of all steps (3% where neither is given), then a
    cosine down to ``min_lr_ratio`` times the learning rate."""

    warmup_steps: int | None = Field(default=None, ge=0)
    warmup_fraction: _Unit | None = None
    min_lr_ratio: _Unit = 0.02

    @model_validator(mode="after")
    def _one_warmup(self) -> ScheduleSettings:
        if self.warmup_steps is not None and self.warmup_fraction is not None:
            raise ValueError("give warmup_steps or warmup_fraction, not both")
        return self


class LoraSettings(Section):
    """Low-rank adapters (Hu et al. 2021); everything but them, and ``also``, is frozen.

    on: which linear layers get one: ``attention`` (queries, keys, values and outputs), ``mlp``, or patterns
        of layers' names, in which ``*`` stands for anything.
    rank, alpha: the adapters' width, and their scale times ``rank``.
    also: patterns of what learns in full beside them, such as a new head.
    """

    rank: int = Field(default=8, gt=0)
    alpha: float = Field(default=16.0, gt=0)
    on: tuple[str, ...] = Field(default=("attention", "mlp"), min_length=1)
    also: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _on_is_a_word(cls, value: Any) -> Any:
        # YAML 1.1 reads a bare "on" as yes.
        if isinstance(value, dict) and True in value:
            return {("on" if key is True else key): entry for key, entry in value.items()}
        return value


class TuneSettings(Section):
    """What of the model learns, and how fast.

    lora: adapters instead of the weights themselves.
    freeze: patterns of the names of parameters, or of modules with all they hold, that learn nothing.
    reset: such patterns of what begins anew, and not with the weights of the recipe's ``init``.
    layer_decay: each block learns at this times the rate of the block above it, and what lies below the
        blocks slowest (Clark et al. 2020, appendix A; Bao et al. 2022, "BEiT").
    rates: patterns as of ``freeze``, and what the learning rate of what they fit is multiplied by; of several
        that fit, the last counts.
    """

    lora: LoraSettings | None = None
    freeze: tuple[str, ...] = ()
    reset: tuple[str, ...] = ()
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    rates: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)


class TeacherSettings(Section):
    """The model that the objectives named ``distil_...`` learn from; it stays as it is. As text, ``model``.

    model: whatever ``init`` may name. outputs: in its place, a folder of what a teacher said of the photos
        and texts before, as learning/stored_outputs.py has it; relative to the working folder.
    """

    model: str | None = None
    outputs: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _a_text_is_the_model(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_both(self) -> TeacherSettings:
        if (self.model is None) == (self.outputs is None):
            raise ValueError("give either model or outputs")
        return self


class ResolutionStage(Section):
    """Picture size in pixels until this part of the run."""

    until: _Share
    size: int = Field(gt=0, multiple_of=8)


class EmaSettings(Section):
    """Exponential moving average of the model's weights."""

    decay: float = Field(default=0.9995, ge=0, lt=1)


class ValidationSettings(Section):
    """Measuring while training.

    every: steps between measurements. metrics: those worth logging, all of them when empty.
    stop_on: the metric that chooses the best checkpoint, and stops the run when it has not improved
    for ``patience`` measurements. goal: whether more or less of it is better. data: what to measure on.
    """

    every: int = Field(gt=0)
    metrics: tuple[str, ...] = ()
    stop_on: str | None = None
    goal: Literal["max", "min"] = "max"
    patience: int | None = Field(default=None, gt=0)
    data: tuple[DataSettings, ...] = ()

    @field_validator("stop_on")
    @classmethod
    def _a_loss_is_no_measure(cls, value: str | None) -> str | None:
        # A loss falls on while what the model is for gets worse, and depends on the batch.
        if value is not None and (value in LOSSES or value.rpartition(".")[2] == "loss"):
            raise ValueError(
                f"{value!r} is a loss, which says little of the task; name a metric of it, such as "
                "SOURCE.en.text_to_image.r5, SOURCE.en.captions.cider or SOURCE.vqa.exact_match"
            )
        return value

    @model_validator(mode="after")
    def _patience_has_a_metric(self) -> ValidationSettings:
        if self.patience is not None and self.stop_on is None:
            raise ValueError("patience needs stop_on, the metric to be patient about")
        return self


class GuardSettings(Section):
    """What the model knew before must not be lost: a metric measured before training and while it goes on.

    data: what to measure on: labelled photos (zero-shot classification, by the source's ``templates``) or
        captions (retrieval).
    metric: which; of labelled photos ``zero_shot.top_1`` by default, of captions ``text_to_image.r5``.
    floor: the run stops below it; or ``max_drop``, how far the metric may fall from where it began.
    every: steps between measurements; those of ``validate`` by default.
    """

    data: DataSettings
    metric: str | None = None
    floor: float | None = None
    max_drop: float | None = Field(default=None, ge=0)
    every: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_floor(self) -> GuardSettings:
        if (self.floor is None) == (self.max_drop is None):
            raise ValueError("give either floor or max_drop")
        if self.data.tasks == ("ask",):
            raise ValueError("data: labelled photos or captions are measured, not questions")
        return self


class CheckpointSettings(Section):
    """Where the run's folder is (relative to the working folder), how often a checkpoint is written, by steps
    or minutes or both, and how many are kept beside the best."""

    dir: str
    every: int | None = Field(default=None, gt=0)
    every_minutes: float | None = Field(default=10.0, gt=0)
    keep: int = Field(default=2, gt=0)


class LoadingSettings(Section):
    """How batches are prepared. None of it changes what is learned."""

    threads: int = Field(default=1, gt=0)
    ahead: int = Field(default=3, gt=0)
    photo_cache_mb: int = Field(default=1500, ge=0)


class BundleSettings(Section):
    """What ``seetell convert`` writes into the bundle's manifest besides what the run itself knows."""

    name: str
    version: str = "1"
    licence: str
    data: tuple[DataTerms, ...] = ()
    prompts: dict[str, dict[str, tuple[str, ...]]] = Field(default_factory=dict)
    generation: GenerationDefaults = GenerationDefaults()
    calibration: AnswerCalibration = AnswerCalibration()
    notes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
