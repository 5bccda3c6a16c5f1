"""A training recipe: YAML checked against a schema, with dotted overrides.

Paths in a recipe are relative to ``data_root``, which is itself relative to the recipe's folder, so that
a recipe names no machine's folders. ``SEETELL_DATA`` in the environment takes the place of ``data_root``,
and an override ``data_root=...`` takes the place of both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from seetell.core.errors import RecipeError
from seetell.learning.training.cautious import cautious
from seetell.learning.training.objective_spec import DISTILLING, ObjectiveName, ObjectiveSpec
from seetell.learning.training.overrides import apply_overrides
from seetell.learning.training.sections import (
    BundleSettings,
    CheckpointSettings,
    DataSettings,
    EmaSettings,
    GuardSettings,
    LoadingSettings,
    OptimizerSettings,
    ResolutionStage,
    ScheduleSettings,
    Section,
    Task,
    TeacherSettings,
    TokenizerSettings,
    TuneSettings,
    ValidationSettings,
)
from seetell.learning.training.trackers import TrackerName
from seetell.modeling.models.config import UnifiedConfig

DATA_ROOT_VARIABLE = "SEETELL_DATA"

# What an objective learns from; one that is not here learns from any photo.
_NEEDED_TASK: dict[ObjectiveName, Task] = {
    "contrastive": "caption",
    "matching": "caption",
    "masked_language": "caption",
    "captioning": "caption",
    "self_critical": "caption",
    "answer_list": "ask",
    "answer_text": "ask",
    "answer_tags": "ask",
    "labels": "classify",
    "label_names": "classify",
    "caption_words": "caption",
    "distil_affinity": "caption",
    "distil_features": "caption",
    "distil_matching": "caption",
    "distil_captioning": "caption",
    "distil_answers": "ask",
}


class Recipe(Section):
    """One training run.

    model: sizes of our model; without it and without ``init`` they are its defaults.
    init_image: a folder with the public checkpoint of an image classifier, of whose layers those of
        ``model.image`` are made; what ``init`` names comes after it.
    init_words: a safetensors file whose ``words``, float[V, D], say what each of the tokenizer's V tokens
        means: the bag of ``model.text`` begins with their first ``bag_dim`` numbers. Tokens whose numbers are
        all 0 begin as they would without it.
    init_layers: where ``model`` has fewer blocks than what ``init`` names, whether each stack takes its
        ``first`` ones, or ones at ``even`` distances with the first and the last among them.
    init: the weights to start from. Without ``model``, the model itself: ours or of a public family.
    data_root: where relative paths of data start; absolute once :func:`read_recipe` has read it.
    mean, std: of the picture's values in 0..1; they go into the bundle with the model.
    answers: how many of the commonest answers the answer list holds; a model that has a list keeps it where
        the recipe says nothing.
    teacher: the model that objectives named ``distil_...`` learn from.
    objectives: what to teach; a model of a public family has its own where they are left out.
    keeps: the objectives whose abilities a model of ours that is taught further had before, and keeps in its
        bundle although nothing here teaches them again; filled in where the recipe says nothing.
    precision: what products are computed in; ``auto`` is what trains faster here.
    bundle: what a bundle made of the run says about itself.
    """

    model: dict[str, Any] | None = None
    init: str | None = None
    init_image: str | None = None
    init_words: str | None = None
    init_layers: Literal["first", "even"] = "first"
    tokenizer: TokenizerSettings = TokenizerSettings()
    data_root: str = "."
    data: tuple[DataSettings, ...] = Field(min_length=1)
    unreadable_photos: Literal["stop", "skip"] = "stop"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    answers: int = Field(default=400, ge=0)
    teacher: TeacherSettings | None = None
    objectives: tuple[ObjectiveSpec, ...] = ()
    keeps: tuple[ObjectiveName, ...] = ()
    loss_weights: Literal["fixed", "learned"] = "fixed"
    tune: TuneSettings = TuneSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    batch_size: int | None = Field(default=None, gt=0)
    accumulate: int = Field(default=1, gt=0)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    epochs: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, gt=0)
    resolution: tuple[ResolutionStage, ...] = (ResolutionStage(until=1.0, size=128),)
    ema: EmaSettings | None = EmaSettings()
    validation: ValidationSettings | None = Field(default=None, alias="validate")
    guard: GuardSettings | None = None
    trackers: tuple[TrackerName, ...] = ("tensorboard",)
    checkpoint: CheckpointSettings
    bundle: BundleSettings | None = None
    loading: LoadingSettings = LoadingSettings()
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _fine_tuning_is_cautious(cls, value: Any) -> Any:
        told = isinstance(value, Mapping) and value.get("init") is not None and value.get("model") is None
        return cautious(value) if told else value

    @field_validator("model")
    @classmethod
    def _model_is_known(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            model_config(value or {}, vocab_size=1)
        except ValidationError as error:
            # Raised as it is, pydantic would paste the whole report, of several lines, into the message.
            raise ValueError("; ".join(_fault(item) for item in error.errors()[:3])) from error
        return value

    @field_validator("objectives")
    @classmethod
    def _objectives_once(cls, value: tuple[ObjectiveSpec, ...]) -> tuple[ObjectiveSpec, ...]:
        names = [spec.name for spec in value]
        if len(set(names)) < len(names):
            raise ValueError("an objective is listed twice")
        return value

    @field_validator("resolution")
    @classmethod
    def _stages_in_order(cls, value: tuple[ResolutionStage, ...]) -> tuple[ResolutionStage, ...]:
        ends = [stage.until for stage in value]
        if not ends or ends != sorted(set(ends)) or ends[-1] != 1.0:
            raise ValueError("stages end in increasing order, the last at 1.0")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Recipe:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either epochs or steps")
        if self.batch_size is None and any(source.batch_size is None for source in self.data):
            raise ValueError("give batch_size, or a batch_size on every source in data")
        if min(self.std) <= 0:
            raise ValueError("std must be positive")
        if not self.objectives and not self.fine_tunes:
            raise ValueError("objectives: name at least one")
        distilling = [spec.name for spec in self.objectives if spec.name in DISTILLING]
        if distilling and self.teacher is None:
            raise ValueError(
                f"the objective {distilling[0]} learns from a teacher; name one (teacher: MODEL)"
            )
        if self.teacher is not None and not distilling:
            raise ValueError(
                f"teacher: nothing learns from it; objectives may be {', '.join(sorted(DISTILLING))}"
            )
        if self.teacher is not None and self.teacher.outputs is not None:
            for place, source in enumerate(self.data):
                if not source.augment.changes_nothing:
                    raise ValueError(
                        f"teacher.outputs: are of whole photos, and data.{place}.augment changes what the"
                        " student sees of them; set it to none, or let the teacher run beside (teacher.model)"
                    )
        if self.guard is not None and self.guard.every is None and self.validation is None:
            raise ValueError("guard: say every how many steps it measures (every)")
        if self.tune.reset and self.init is None:
            raise ValueError("tune.reset: without init everything begins anew; leave it out")
        missing = [spec.name for spec in self.objectives if not self.serves(spec.name)]
        if missing:
            raise ValueError(f"no source in data serves the objective {missing[0]}")
        named = any("classify" in source.tasks and source.templates for source in self.data)
        if not named and any(spec.name == "label_names" for spec in self.objectives):
            raise ValueError("the objective label_names needs templates on a source of labelled photos")
        positions = model_config(self.model or {}, vocab_size=1).text.context_length
        if not self.fine_tunes and positions < self.tokenizer.context_length:
            raise ValueError(
                f"tokenizer.context_length {self.tokenizer.context_length} is more than"
                f" model.text.context_length, {positions}"
            )
        return self

    def serves(self, objective: ObjectiveName) -> bool:
        """Whether a source teaches what an objective learns from."""
        needed = _NEEDED_TASK.get(objective)
        return needed is None or any(needed in source.tasks for source in self.data)

    @property
    def taught(self) -> frozenset[Task]:
        """The tasks that the objectives teach."""
        return frozenset(_NEEDED_TASK[spec.name] for spec in self.objectives if spec.name in _NEEDED_TASK)

    @property
    def fine_tunes(self) -> bool:
        """Whether it teaches a model that is there already: ``init`` without a ``model`` of its own."""
        return self.init is not None and self.model is None

    def batch_sizes(self) -> tuple[int, ...]:
        """Photos per step of each source: its own number, or its share by weight of what is left."""
        own = sum(source.batch_size or 0 for source in self.data)
        sharing = sum(source.weight for source in self.data if source.batch_size is None)
        left = max(0, (self.batch_size or 0) - own)
        return tuple(
            source.batch_size or max(1, round(left * source.weight / sharing)) for source in self.data
        )

    def size_at(self, progress: float) -> int:
        """Picture size in pixels at ``progress`` in 0..1 of the run."""
        sizes = (stage.size for stage in self.resolution if progress < stage.until)
        return next(sizes, self.resolution[-1].size)

    @property
    def largest_size(self) -> int:
        """The largest picture size in pixels the run uses."""
        return max(stage.size for stage in self.resolution)


def model_config(
    settings: Mapping[str, Any], *, vocab_size: int, num_answers: int = 0, num_labels: int = 0
) -> UnifiedConfig:
    """The recipe's ``model`` with what only the data knows filled in; what it sets itself stays.

    Raises pydantic's ValidationError, which :func:`parse_recipe` turns into RecipeError.
    """
    filled = {"num_answers": num_answers, "num_labels": num_labels, **settings}
    text = filled.get("text", {})
    if isinstance(text, Mapping):
        filled["text"] = {"vocab_size": vocab_size, **text}
    return UnifiedConfig.model_validate(filled)


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a YAML recipe, apply ``key.sub=value`` overrides, and check it.

    The returned recipe's ``data_root`` is absolute. Raises RecipeError naming file and key.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: the recipe cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(document, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys, not {type(document).__name__}")
    overridden = apply_overrides(document, overrides)
    base = path.resolve().parent
    given = os.environ.get(DATA_ROOT_VARIABLE)
    if "data_root" in overridden:
        base = Path.cwd()
    elif given:
        document["data_root"] = str(Path(given).resolve())
    document["data_root"] = str((base / str(document.get("data_root", "."))).resolve())
    return parse_recipe(document, str(path))


def parse_recipe(document: Mapping[str, Any], where: str) -> Recipe:
    """Check a recipe already read. Raises RecipeError on one line, naming ``where`` and the keys."""
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        faults = "; ".join(_fault(item) for item in error.errors()[:3])
        raise RecipeError(f"{where}: {faults}") from error


def _fault(item: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "no such key"
    return f"{key}: {message}" if key else message
