"""The manifest ``bundle.json``: what a bundle holds and how to use it, as a pydantic schema.

A bundle is a flat folder and data only: nothing in it is executed or unpickled. Two things are kept
apart on purpose: ``family`` and ``config`` serve the making half (rebuilding the torch model) and are
never looked at when running; every choice at run time follows from ``graphs``, ``image``, ``text``
and ``score``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from seetell.core.errors import BundleInvalid
from seetell.core.strict import Strict
from seetell.media.preprocess import ImageSpec

FORMAT = 2
MANIFEST_NAME = "bundle.json"

# embed_texts: of a model that embeds texts and no photos.
Task = Literal["embed", "embed_texts", "match", "classify", "caption", "ask", "features", "fill", "chat"]
Role = Literal[
    "image_encoder",
    "text_encoder",
    "fusion_encoder",
    "decoder_memory",
    "text_decoder",
    "embed_tokens",
]
GraphPrecision = Literal["fp32", "int8"]

# A file name inside the flat folder: no separators, no leading dot, so it cannot point elsewhere.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$")]


class TensorSpec(Strict):
    """One input or output of a graph. ``axes`` names dynamic axes and gives fixed ones as numbers."""

    dtype: Literal["float32", "int64", "bool", "int32"]
    axes: tuple[str | int, ...]


class GraphSpec(Strict):
    """One role: its file per precision, and the inputs and outputs present."""

    files: dict[GraphPrecision, FileName]
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


class TextSpec(Strict):
    """How text becomes token ids.

    A text for ``text_encoder`` is ``[bos] tokens [eos]`` (either may be absent); for ``fusion_encoder``
    the same with ``fusion_bos_id`` in place of ``bos_id`` where given. A decoder starts from
    ``decoder_start_ids[language]`` for captions and ``answer_start_id`` for answers; masked language
    modelling leads with ``fill_start_ids[language]`` where given.
    """

    context_length: int = Field(gt=0)
    padding: Literal["longest", "fixed"] = "longest"
    side: Literal["right", "left"] = "right"
    lower_case: bool = False
    bos_id: int | None = None
    fusion_bos_id: int | None = None
    eos_id: int
    pad_id: int
    mask_id: int | None = None
    decoder_start_ids: dict[str, int] = Field(default_factory=dict)
    answer_start_id: int | None = None
    # Lead token per language in masked language modelling (mask-predict, fill), in place of
    # ``fusion_bos_id``.
    fill_start_ids: dict[str, int] = Field(default_factory=dict)


class AnswerKind(Strict):
    """What was fitted on held-out questions of one kind (seetell's ``question_kinds``). The temperature
    divides answer logits before the softmax (Guo et al. 2017); an answer less probable is abstained from."""

    temperature: float = Field(default=1.0, gt=0)
    abstain_below: float = Field(default=0.0, ge=0, le=1)


class AskedThing(Strict):
    """A question whether a thing is there, to be answered with yes or no. A caption names the thing with any
    of ``words``: whole words in English, parts of the text in Chinese. ``unless``: words that are no mention
    of it ("hot dog")."""

    question: str = Field(min_length=1)
    words: tuple[str, ...] = Field(min_length=1)
    unless: tuple[str, ...] = ()


class CaptionConfidence(Strict):
    """The probability that all objects a caption names are in its photo, by logistic regression fitted on
    held-out photos: sigmoid(bias + log_prob_weight * mean log-probability per token + match_weight * cosine
    of photo and caption + presence_weight * presence - contrast_weight * contrast). Presence: the least
    log-odds with which the model itself answers that what the caption names is there, of ``things``; 0 where
    it names none of them. Contrast: the cosine of the photo and the last of the prompts ``unsure``, which
    says nothing of what is seen. Below ``unsure_below`` one of these is said instead."""

    bias: float
    log_prob_weight: float
    match_weight: float
    presence_weight: float = 0.0
    contrast_weight: float = 0.0
    things: tuple[AskedThing, ...] = ()
    unsure_below: float = Field(default=0.0, ge=0, le=1)


class FitProbability(Strict):
    """The probability that a text fits a photo, by logistic regression fitted on captioned photos:
    sigmoid(bias + the sum of the weights times what they weigh).

    ``cosine``: of text and photo. ``contrast``: by how much the contrast texts that fit the photo best exceed
    that. ``mean``, ``spread`` (standard deviation), ``skewness``, ``best``: of the text's cosines with the
    photos searched and the background. A search in which no hit reaches ``nothing_below`` finds nothing, and
    of labels none fits where the best does not; in other searches hits below ``hit_below`` are left out.
    """

    bias: float
    cosine: float
    contrast: float
    mean: float
    spread: float
    skewness: float
    best: float = 0.0
    nothing_below: float = Field(default=0.0, ge=0, le=1)
    hit_below: float = Field(default=0.0, ge=0, le=1)


class ScoreSpec(Strict):
    """How similarities and probabilities are made.

    ``softmax``: similarity is cosine; classification is softmax(scale * cosine).
    ``sigmoid`` (SigLIP): match probability is sigmoid(scale * cosine + bias).
    ``logit_scale`` is stored as a log: scale = exp(logit_scale).
    ``heads``: probabilities over the model's own labels and answers are shares of one (softmax), or each is
    true or not by itself (sigmoid).
    """

    kind: Literal["softmax", "sigmoid"] = "softmax"
    logit_scale: float = 0.0
    logit_bias: float = 0.0
    # Since format 2.
    heads: Literal["softmax", "sigmoid"] = "softmax"
    # Divides answer logits before the softmax; fitted on held-out data (Guo et al. 2017).
    answer_temperature: float = Field(default=1.0, gt=0)
    abstain_below: float = Field(default=0.0, ge=0, le=1)
    # Kind of question -> what holds for it in place of the two above; since format 2, like ``captions``.
    answer_kinds: dict[str, AnswerKind] = Field(default_factory=dict)
    # Language -> how sure a caption in it is.
    captions: dict[str, CaptionConfidence] = Field(default_factory=dict)
    # Language of a text -> how probable it is that it fits a photo: of those an index finds for it, and of a
    # label that is the best of those given.
    search: dict[str, FitProbability] = Field(default_factory=dict)
    labels: dict[str, FitProbability] = Field(default_factory=dict)
    # Vectors of photos of all kinds, beside which few photos are judged: base64 of int8[N, S], of any length.
    background: str = ""


class AnswerCalibration(Strict):
    """The part of a ScoreSpec that is fitted on held-out questions, not learned with the model."""

    answer_temperature: float = Field(default=1.0, gt=0)
    abstain_below: float = Field(default=0.0, ge=0, le=1)


class GenerationDefaults(Strict):
    """Defaults for captions; the names of seetell's GenerationOptions."""

    method: Literal["autoregressive", "mask_predict"] = "autoregressive"
    beams: int = Field(default=1, gt=0)
    max_tokens: int = Field(default=30, gt=0)
    min_tokens: int = Field(default=0, ge=0)
    length_penalty: float = 1.0
    repetition_penalty: float = Field(default=1.0, gt=0)
    # No run of so many words (Chinese: characters) twice in a text; 0 for no such rule. Since format 2.
    no_repeat: int = Field(default=0, ge=0)
    fit_weight: float = Field(default=0.0, ge=0)


class ChatSpec(Strict):
    """How a conversation becomes one text, for a model that was taught some. Since format 2.

    template: of Jinja, as the checkpoint came with it; it is data, and rendered where it can do nothing.
    tokens: what it may write by name, such as ``bos_token``. stop_ids: each of these ends an answer.
    """

    template: str
    tokens: dict[str, str] = Field(default_factory=dict)
    stop_ids: tuple[int, ...] = Field(min_length=1)


class DataTerms(Strict):
    name: str
    terms: str


class Source(Strict):
    """Where the weights come from: a hub id and revision, or a recipe and the commit it ran at."""

    hub_id: str | None = None
    revision: str | None = None
    recipe: str | None = None
    commit: str | None = None


class Measurement(Strict):
    """One measured figure. Written by commands, never typed by hand."""

    precision: Literal["fp32", "bf16", "int8"]
    task: str
    dataset: str
    split: str
    metric: str
    value: float
    interval: tuple[float, float] | None = None
    machine: str


class GateRecord(Strict):
    """What the compression gate found."""

    passed: bool
    tolerance: float
    metric: str
    drop: float
    worst_layer: str | None = None


class FileRecord(Strict):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size_bytes: int = Field(ge=0)


class Manifest(Strict):
    """``bundle.json``. Field by field as the bundle contract lists them."""

    format: int = FORMAT
    name: str
    family: str
    version: str
    config: dict[str, Any]
    tasks: tuple[Task, ...]
    languages: tuple[str, ...] = ()
    graphs: dict[Role, GraphSpec]
    image: ImageSpec | None = None
    text: TextSpec | None = None
    chat: ChatSpec | None = None
    # prompts[task][language] is a template; "{}" marks where the label goes. Under "unsure" stand captions
    # that say little, of which the fitting one is given where the model is unsure of its own; the last one
    # holds of any photo, and is given where none of them stands out. Under "contrast" stand texts for things
    # of all kinds, beside which it is judged whether a text fits.
    prompts: dict[str, dict[str, tuple[str, ...]]] = Field(default_factory=dict)
    generation: GenerationDefaults = GenerationDefaults()
    score: ScoreSpec = ScoreSpec()
    answers: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    licence: str
    data: tuple[DataTerms, ...] = ()
    source: Source = Source()
    measurements: tuple[Measurement, ...] = ()
    gate: GateRecord | None = None
    files: dict[FileName, FileRecord] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known_format(self) -> Manifest:
        if self.format > FORMAT:
            raise ValueError(
                f"format {self.format} is newer than this seetell reads ({FORMAT}); upgrade seetell"
            )
        return self


def parse_manifest(raw: bytes | str, where: str) -> Manifest:
    """Read a manifest from JSON text. ``where`` names its source in the error.

    Raises BundleInvalid with the first fields that break the contract, on one line.
    """
    try:
        document = json.loads(raw)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BundleInvalid(f"{where}: not JSON ({error})") from error
    if not isinstance(document, dict):
        raise BundleInvalid(f"{where}: a manifest is a JSON object, not {type(document).__name__}")
    # Looked at before the schema: a newer format may hold fields this version does not know, and
    # "upgrade" is the useful thing to say then, not "unknown field".
    declared = document.get("format")
    if isinstance(declared, int) and declared > FORMAT:
        raise BundleInvalid(
            f"{where}: bundle format {declared} is newer than this seetell reads ({FORMAT}); upgrade seetell"
        )
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        first = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'manifest'}: {item['msg']}"
            for item in error.errors()[:3]
        )
        raise BundleInvalid(f"{where}: {first}") from error


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the bundle in ``folder``. Raises BundleInvalid."""
    path = folder / MANIFEST_NAME
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BundleInvalid(f"{path}: cannot be read ({error.strerror})") from error
    return parse_manifest(raw, str(path))


def manifest_json(manifest: Manifest) -> str:
    """The manifest as the JSON text that is written to ``bundle.json``."""
    return manifest.model_dump_json(indent=1, exclude_defaults=False) + "\n"
