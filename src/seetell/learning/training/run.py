"""A recipe carried out: tokenizer, sources, model, step and loop put together in the run's folder.

The folder holds ``recipe.yaml`` as run, ``model.json``, which says what is made of it, ``tokenizer.json``,
``metrics.jsonl`` with its curves in ``report.html``, ``checkpoints/step-N/``, and ``holdout/SOURCE/``: the
questions a source holds out, as files for ``seetell evaluate``. One command at a time works in it: that one
holds the file ``lock``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import yaml
from torch import nn

from seetell.bundle.tokenizer import Tokenizer
from seetell.core.errors import BundleDamaged, RecipeError, StorageError
from seetell.core.files import atomic_write_text, require_writable
from seetell.core.locking import locked
from seetell.learning.collate import Collator
from seetell.learning.frozen_maps import FrozenMaps, frozen_fingerprint
from seetell.learning.length_pool import LengthPool
from seetell.learning.objectives.self_critical import CaptionReward
from seetell.learning.photos import PhotoCache
from seetell.learning.sources import Source
from seetell.learning.tokenizer_training import built_in_text_spec, train_tokenizer, write_tokenizer
from seetell.learning.training import checkpoint as checkpoints
from seetell.learning.training.build import build_public_step, build_step
from seetell.learning.training.corpus import Corpus, build_sources, read_corpus, write_holdout
from seetell.learning.training.curves import write_curves
from seetell.learning.training.description import describe, own_start
from seetell.learning.training.devices import choose_device
from seetell.learning.training.fingerprint import check_same_run, fingerprint
from seetell.learning.training.guard import ForgettingGuard
from seetell.learning.training.loop import TrainingLoop, TrainingResult, Validate
from seetell.learning.training.precision import precision_of_run
from seetell.learning.training.processes import Processes
from seetell.learning.training.progress import Countdown
from seetell.learning.training.reading import source_name
from seetell.learning.training.recipe import Recipe
from seetell.learning.training.starting import (
    known_lists,
    load_image_weights,
    load_word_vectors,
    settle,
    with_kept_lists,
)
from seetell.learning.training.step import JointStep, TrainingStep
from seetell.learning.training.teacher import Teacher
from seetell.learning.training.teaching import check_outputs, check_teacher, read_teacher
from seetell.learning.training.tuning import apply_tuning, drawn_anew
from seetell.modeling.checkpoints.run_folder import write_description
from seetell.modeling.export.frozen_layers import map_of
from seetell.modeling.parts.efficientnet import frozen_stage
from seetell.modeling.parts.placed import PlacedEfficientNet
from seetell.modeling.start import Start, locate, with_answers

RECIPE_FILE = "recipe.yaml"
TOKENIZER_FILE = "tokenizer.json"
HOLDOUT = "holdout"
_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a run needs and that does not change while it runs.

    fingerprint: as the loop takes it. start: what is known of the model as the run begins. teacher: what the
    objectives named ``distil_...`` learn from.
    """

    recipe: Recipe
    folder: Path
    corpus: Corpus
    tokenizer: Tokenizer
    sources: tuple[Source, ...]
    step: TrainingStep
    total_steps: int
    fingerprint: str
    start: Start
    teacher: Teacher | None = None


BuildValidate = Callable[[Prepared], Validate]
BuildGuard = Callable[[Prepared], ForgettingGuard]


def run(
    recipe: Recipe, *, build_validate: BuildValidate | None = None, build_guard: BuildGuard | None = None
) -> TrainingResult:
    """Train by ``recipe``; a run that was stopped goes on from its latest checkpoint.

    ``build_validate`` makes the measuring function of the recipe's ``validate``, ``build_guard`` the guard of
    its ``guard``. Raises RecipeError, DataError, ImageError, NonFiniteLoss, CheckpointError, StorageError
    (where another process trains in the same folder, too), GateFailed.
    """
    processes = Processes(recipe.device)
    if not processes.is_first:
        return _run(recipe, processes, build_validate, build_guard)
    _check_writable(Path(recipe.checkpoint.dir))
    with _held(Path(recipe.checkpoint.dir)):
        return _run(recipe, processes, build_validate, build_guard)


def _check_writable(folder: Path) -> None:
    """Raises StorageError where the run's folder, or its checkpoints, cannot be written."""
    try:
        require_writable(folder / "checkpoints" / checkpoints.STATE_FILE)
    except StorageError as error:
        raise StorageError(f"checkpoint.dir: {folder}: {error}; name another folder") from error


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep a run's folder for this process until the block ends, or the process dies. Raises StorageError
    where another process has it: the two would write one another's checkpoints."""

    def busy(holder: str) -> str:
        return (
            f"{folder} is being trained in by another process (number {holder}); wait for it, or give "
            "checkpoint.dir another folder"
        )

    with locked(folder / _LOCK, busy):
        yield


def _run(
    recipe: Recipe,
    processes: Processes,
    build_validate: BuildValidate | None,
    build_guard: BuildGuard | None,
) -> TrainingResult:
    folder = Path(recipe.checkpoint.dir)
    wanted = recipe.precision
    precision = processes.on_first(lambda: precision_of_run(wanted, folder, processes.device))
    recipe = recipe.model_copy(update={"precision": precision})
    with processes.first_first():
        # What the first has written the others read.
        prepared = prepare(recipe) if processes.is_first else prepare(recipe, writes=False)
    recipe = prepared.recipe
    _check_divisible(prepared, processes.count)
    validate = None
    if recipe.validation is not None:
        # Training on without the measuring that was asked for would never stop early, and say nothing.
        if build_validate is None:
            raise RecipeError("validate: this run was given nothing to measure with; pass build_validate")
        validate = build_validate(prepared)
    guard = None
    if recipe.guard is not None:
        if build_guard is None:
            raise RecipeError("guard: this run was given nothing to measure with; pass build_guard")
        guard = build_guard(prepared)
    collator = build_collator(prepared, share=(processes.rank, processes.count))
    done = checkpoints.latest_step(prepared.folder / "checkpoints") * recipe.accumulate
    collator.look_ahead(
        range(done, prepared.total_steps * recipe.accumulate),
        Countdown("views seen by the frozen layers", shown=processes.is_first),
    )
    loop = TrainingLoop(
        recipe,
        prepared.step,
        prepared.step.model,
        collator.batch,
        total_steps=prepared.total_steps,
        folder=prepared.folder,
        fingerprint=prepared.fingerprint,
        validate=validate,
        guard=guard,
        skipped=lambda: collator.skipped,
        processes=processes,
    )
    try:
        return loop.run()
    finally:
        # Of a run that failed, too: its curves may say why.
        if processes.is_first:
            write_curves(prepared.folder)


def _check_pairs(recipe: Recipe, sources: Sequence[Source]) -> None:
    """What is learned by telling a photo from others needs another one in the step, and in the data."""
    compared = next((one.name for one in recipe.objectives if one.name in ("contrastive", "matching")), None)
    captioned = [
        source
        for source, settings in zip(sources, recipe.data, strict=True)
        if "caption" in settings.tasks or settings.templates
    ]
    if compared is None or not captioned:
        return
    if sum(source.batch_size for source in captioned) < 2:
        raise RecipeError(f"batch_size: {compared} compares the photos of a step; take 2 or more, better 64")
    if sum(source.num_photos for source in captioned) < 2:
        raise RecipeError(f"data: {compared} compares photos, and there is one; add more")


def _check_divisible(prepared: Prepared, processes: int) -> None:
    for source, settings in zip(prepared.sources, prepared.recipe.data, strict=True):
        if source.batch_size % processes:
            raise RecipeError(
                f"data: {settings.path} has {source.batch_size} photos a step, which {processes} processes "
                "cannot share evenly; take a multiple"
            )


def prepare(recipe: Recipe, *, writes: bool = True) -> Prepared:
    """Read the data, make or reuse the tokenizer, build the model, and write the run's small files, unless
    another process has just done so (``writes`` false).

    Nothing is written where the folder is of another run, which is CheckpointError.
    """
    folder = Path(recipe.checkpoint.dir)
    precision = precision_of_run(recipe.precision, folder, choose_device(recipe.device))
    recipe, start = settle(recipe.model_copy(update={"precision": precision}), folder)
    teacher = read_teacher(recipe)
    corpus = read_corpus(recipe)
    if teacher is not None:
        check_outputs(corpus, teacher)
    sources = build_sources(recipe, corpus)
    _check_pairs(recipe, sources)
    torch.manual_seed(recipe.seed)
    step: TrainingStep
    if start is None or not recipe.fine_tunes:
        corpus = with_kept_lists(corpus, recipe, folder)
        document, where = _tokenizer_document(recipe, folder, corpus, teacher, writes)
        tokenizer = Tokenizer(document, built_in_text_spec(recipe.tokenizer.context_length), where)
        step = own = _own_step(recipe, folder, corpus, document, tokenizer, teacher)
        start = own_start(recipe, own.model, corpus, document.encode("utf-8"))
    else:
        start, corpus = _matched_answers(recipe, start, corpus)
        assert start.facts.text is not None
        document = (start.tokenizer_json or b"").decode("utf-8")
        tokenizer = Tokenizer(document, start.facts.text)
        step = build_public_step(start.model, recipe, start.facts.text, teacher)
    apply_tuning(step.model, recipe.tune)
    found = fingerprint(recipe, corpus, step, document.encode("utf-8"), teacher)
    check_same_run(folder, recipe, found)
    prepared = Prepared(
        recipe=recipe,
        folder=folder,
        corpus=corpus,
        tokenizer=tokenizer,
        sources=sources,
        step=step,
        total_steps=total_steps(recipe, sources),
        fingerprint=found,
        start=start,
        teacher=teacher,
    )
    if writes:
        _write_small_files(prepared, document)
    return prepared


def _own_step(
    recipe: Recipe,
    folder: Path,
    corpus: Corpus,
    document: str,
    tokenizer: Tokenizer,
    teacher: Teacher | None,
) -> JointStep:
    """The step of our own model, with the weights of ``init``. document: the tokenizer's."""
    if teacher is not None:
        check_teacher(recipe, teacher, document, tokenizer, corpus.answers)
    reward = None
    if any(objective.name == "self_critical" for objective in recipe.objectives):
        reward = CaptionReward(corpus.captions_by_photo(), tokenizer.decode)
    step = build_step(recipe, tokenizer.vocab_size, corpus.answers, corpus.labels, teacher, reward)
    rows = step.model.config.text.vocab_size
    if rows < tokenizer.vocab_size:
        raise RecipeError(
            f"model.text.vocab_size: {rows} is too few for the tokenizer's {tokenizer.vocab_size}"
        )
    if recipe.init_image is not None and checkpoints.latest(folder / "checkpoints") is None:
        load_image_weights(step.model, Path(recipe.init_image))
    # A run that goes on has its weights in its checkpoint, wherever those it began with are by now.
    if recipe.init is not None and checkpoints.latest(folder / "checkpoints") is None:
        source = locate(recipe.init) or Path(recipe.init)
        anew = drawn_anew(step.model, recipe.tune.reset)
        known = known_lists(source)
        checkpoints.load_initial_weights(
            step.model,
            source,
            even=recipe.init_layers == "even",
            lists={
                head: (known[head], now)
                for head, now in (("answer_head", corpus.answers), ("label_head", corpus.labels))
                if head in known
            },
        )
        step.model.load_state_dict(anew, strict=False)
    if recipe.init_words is not None and checkpoints.latest(folder / "checkpoints") is None:
        load_word_vectors(step.model, Path(recipe.init_words))
    return step


def _matched_answers(recipe: Recipe, start: Start, corpus: Corpus) -> tuple[Start, Corpus]:
    """The answers a public model answers from: those it has, unless the recipe asks for new ones."""
    if "answers" in recipe.model_fields_set and start.model.limits.num_answers:
        if not corpus.answers:
            raise RecipeError("answers: no data source has any")
        if corpus.answers != start.facts.answers:
            start = with_answers(start, corpus.answers)
    return start, replace(corpus, answers=start.facts.answers)


def build_collator(prepared: Prepared, share: tuple[int, int] = (0, 1)) -> Collator:
    """The source of the run's batches, of a process's part of them: ``share`` as in Collator."""
    recipe = prepared.recipe
    micro_steps = prepared.total_steps * recipe.accumulate
    image = prepared.start.facts.image
    assert image is not None
    largest = max(image.min_source_size) if recipe.fine_tunes else recipe.largest_size
    # Processes would write one file at a time between them; each keeps its own share in memory.
    frozen = _frozen_maps(prepared, kept=share[1] == 1)
    teacher = prepared.teacher
    if teacher is not None:
        largest = max(largest, teacher.photo_size)
    return Collator(
        _pooled(prepared),
        prepared.tokenizer,
        PhotoCache(
            min_size=_decode_size(recipe, largest), budget_bytes=recipe.loading.photo_cache_mb * 1_000_000
        ),
        size_at=lambda step: recipe.size_at(step / micro_steps),
        mean=recipe.mean,
        std=recipe.std,
        answers={answer: place for place, answer in enumerate(prepared.corpus.answers)},
        # A photo of a size that the recipe chooses, step by step, is made by the collator's own rule.
        image=image if recipe.fine_tunes or image.resize == "longest_edge" else None,
        skip_unreadable=recipe.unreadable_photos == "skip",
        share=share,
        teacher=None if teacher is None else teacher.reader,
        frozen=frozen,
        seed=recipe.seed,
    )


def _frozen_maps(prepared: Prepared, *, kept: bool) -> FrozenMaps | None:
    """The maps of frozen layers, where the recipe gives photos a fixed number of views.

    Raises RecipeError where not all sources do, and where the layers below the maps learn.
    """
    recipe = prepared.recipe
    fixed = [source.augment.views > 0 for source in recipe.data]
    if not any(fixed):
        return None
    if not all(fixed):
        place = fixed.index(False)
        raise RecipeError(
            f"data.{place}.augment.views: the other sources have some, so this one needs some too"
        )
    encoder = prepared.step.model.image_encoder if isinstance(prepared.step, JointStep) else None
    if not isinstance(encoder, PlacedEfficientNet):
        raise RecipeError("augment.views: is for models whose image encoder is of the kind efficientnet")
    stage = frozen_stage(encoder.net)
    if stage is None:
        raise RecipeError(
            "augment.views: the layers below the maps learn, so their maps change; freeze them "
            "(tune.freeze: [image_encoder.net], or [image_encoder.net.stem, image_encoder.net.stages.0] "
            "and as many further stages as stay as they are)"
        )
    if prepared.teacher is not None:
        raise RecipeError("augment.views: a teacher sees photos, and where maps are kept there are none")
    image = prepared.start.facts.image
    assert image is not None
    # What trains is elsewhere and in another mode.
    net = copy.deepcopy(encoder.net).cpu().float().eval()
    net.stages = net.stages[: stage + 1]
    size = (image.height, image.width)

    def cells(stride: int) -> tuple[int, int]:
        return -(-image.height // stride), -(-image.width // stride)

    shape = (net.channels[stage], *cells(net.strides[stage]))
    name = frozen_fingerprint(nn.ModuleList([net.stem, net.stages]), image)
    return FrozenMaps(
        map_of(net, size, shape, stage),
        encoder.cells,
        image,
        shape,
        cells(net.stride),
        prepared.folder.parent / "maps" / name if kept else None,
        stage,
    )


def _pooled(prepared: Prepared) -> tuple[Source, ...]:
    """The sources, with texts of like length in one step where the recipe asks for that."""

    def lengths(texts: Sequence[str]) -> list[int]:
        found: list[int] = prepared.tokenizer.encode(texts, lead_id=None)[1].sum(axis=1).tolist()
        return found

    return tuple(
        source
        if part.settings.length_pool == 1
        else LengthPool(source, part.settings.length_pool, (prepared.recipe.seed, part.place), lengths)
        for source, part in zip(prepared.sources, prepared.corpus.parts, strict=True)
    )


def total_steps(recipe: Recipe, sources: tuple[Source, ...]) -> int:
    """Optimiser steps of the whole run. An epoch is one pass over the first source."""
    if recipe.steps is not None:
        return recipe.steps
    per_step = sources[0].batch_size * recipe.accumulate
    return max(1, round((recipe.epochs or 0.0) * sources[0].num_photos / per_step))


def _tokenizer_document(
    recipe: Recipe, folder: Path, corpus: Corpus, teacher: Teacher | None, writes: bool
) -> tuple[str, str]:
    """The JSON of the recipe's tokenizer, of the one the run began with, that of ``init``, that of a teacher
    of ours, or of a new one of the corpus; and where it is from, for messages."""
    path = folder / TOKENIZER_FILE
    if recipe.tokenizer.path is not None:
        given = Path(recipe.data_root) / recipe.tokenizer.path
        if not given.is_file():
            raise RecipeError(f"tokenizer.path: {given} is no file")
        return _text_of(given), str(given)
    # What the first process has written the others read. And a run that goes on must keep its words' numbers
    # whatever the recipe says by now; the fingerprint notices where that cannot be.
    if not writes or (checkpoints.latest(folder / "checkpoints") is not None and path.is_file()):
        return _text_of(path), str(path)
    # Weights learned with one tokenizer's numbers mean nothing with another's.
    inherited = (locate(recipe.init) or Path(recipe.init)) / TOKENIZER_FILE if recipe.init else None
    if inherited is not None and inherited.is_file():
        return _text_of(inherited), str(inherited)
    if teacher is not None and teacher.vocabulary:
        return teacher.vocabulary.decode("utf-8"), "teacher"
    return train_tokenizer(corpus.texts(), recipe.tokenizer.vocab_size), str(path)


def _text_of(path: Path) -> str:
    try:
        # As bytes: read as text, line endings may change, and the hash with them.
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise BundleDamaged(f"{path}: the tokenizer cannot be read ({reason}); copy it again") from error


def _decode_size(recipe: Recipe, largest: int) -> int:
    # The decoder keeps more than twice this, so that the smallest crop is as large as the picture made of it.
    smallest_area = min(source.augment.scale[0] for source in recipe.data)
    return max(largest, math.ceil(largest / (2.0 * math.sqrt(smallest_area))))


def _write_small_files(prepared: Prepared, tokenizer_json: str) -> None:
    folder = prepared.folder
    # Of a run that goes on they are what they were.
    begins = checkpoints.latest(folder / "checkpoints") is None
    if tokenizer_json and (begins or not (folder / TOKENIZER_FILE).is_file()):
        write_tokenizer(folder / TOKENIZER_FILE, tokenizer_json)
    write_description(folder, describe(prepared.recipe, prepared.start))
    document = prepared.recipe.model_dump(mode="json", by_alias=True)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    atomic_write_text(folder / RECIPE_FILE, text)
    for source in prepared.recipe.data:
        if source.holdout is not None:
            root = Path(prepared.recipe.data_root)
            write_holdout(source, root, folder / HOLDOUT / source_name(source, root))
