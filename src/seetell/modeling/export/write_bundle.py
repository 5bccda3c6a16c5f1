"""A model and what is known about it, written as a bundle: whole and checked, or not at all."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
import torch

from seetell.bundle.check import CHECK_NAME
from seetell.bundle.manifest import (
    MANIFEST_NAME,
    ChatSpec,
    FileRecord,
    GraphSpec,
    Manifest,
    Role,
    Task,
    TextSpec,
    manifest_json,
)
from seetell.bundle.store import TOKENIZER_NAME
from seetell.core.errors import ExportError
from seetell.core.files import atomic_folder
from seetell.modeling.export.agreement import (
    Case,
    check_record,
    largest_difference,
    record_cases,
    rounding_change,
)
from seetell.modeling.export.model_card import Storage, model_card
from seetell.modeling.export.onnx_export import export_graph
from seetell.modeling.export.plain_openvino import PlainOpenVINO
from seetell.modeling.export.roles.base import graph_specs
from seetell.modeling.export.roles.registry import role_modules
from seetell.modeling.export.torch_engine import TorchEngine
from seetell.modeling.export.weights import (
    WEIGHTS_NAME,
    StoredWeights,
    WeightsDtype,
    choose_storage,
    names_by_content,
    point_into_file,
    write_weights,
)
from seetell.modeling.facts import BundleFacts
from seetell.modeling.models.assembled import AssembledModel

CARD_NAME = "README.md"
# What float16 storage may change in any output over the check inputs: root mean square of the change over
# that of the output. Trained weights change outputs by about 1e-3; bf16 arithmetic by about 1e-2.
ROUNDING_TOLERANCE = 5e-3


def tasks_of(
    graphs: Mapping[Role, GraphSpec], text: TextSpec | None, chat: ChatSpec | None = None
) -> tuple[Task, ...]:
    """What a bundle with these graphs can do."""
    outputs = {name for graph in graphs.values() for name in graph.outputs}
    dual = {"image_embeds", "text_embeds"} <= outputs
    writes = "image_tokens" in outputs and {"decoder_memory", "text_decoder"} <= set(graphs)
    answers = writes and "fused_tokens" in outputs and text is not None and text.answer_start_id is not None
    can: dict[Task, bool] = {
        "embed": dual,
        "embed_texts": "text_embeds" in outputs and "image_encoder" not in graphs,
        "match": dual or "match_logits" in outputs,
        "classify": dual or "label_logits" in outputs,
        "caption": writes and text is not None and bool(text.decoder_start_ids),
        "ask": "answer_logits" in outputs or answers,
        "features": "image_tokens" in outputs,
        "fill": "token_logits" in outputs and text is not None and text.mask_id is not None,
        "chat": chat is not None and {"embed_tokens", "text_decoder"} <= set(graphs),
    }
    return tuple(task for task, able in can.items() if able)


def manifest_of(
    model: AssembledModel,
    graphs: Mapping[Role, GraphSpec],
    facts: BundleFacts,
    files: Mapping[str, FileRecord] | None = None,
) -> Manifest:
    """The manifest of a model. With ``TorchEngine.graphs`` and no files it serves validation in training.

    Raises ExportError where facts and model contradict each other.
    """
    limits = model.limits
    for what, listed, size in (
        ("answers", len(facts.answers), limits.num_answers),
        ("labels", len(facts.labels), limits.num_labels),
    ):
        if listed != size:
            raise ExportError(f"{facts.name}: {listed} {what} are named but the model's head has {size}")
    made = None if facts.image is None else (facts.image.height, facts.image.width)
    if made != limits.image_size:
        raise ExportError(
            f"{facts.name}: photos are made {_size(made)} but the model's image_size is "
            f"{_size(limits.image_size)}"
        )
    longest = 0 if facts.text is None else facts.text.context_length
    if longest > (limits.context_length or 0):
        raise ExportError(
            f"{facts.name}: texts of {longest} tokens do not fit the model's context_length "
            f"{limits.context_length or 0}"
        )
    told = facts.model_dump(
        exclude={"score", "calibration", "notes", "image", "text", "chat", "generation", "data", "source"}
    )
    return Manifest(
        **told,
        family=model.family,
        config=model.config.model_dump(mode="json"),
        tasks=tasks_of(graphs, facts.text, facts.chat),
        graphs=dict(graphs),
        image=facts.image,
        text=facts.text,
        chat=facts.chat,
        generation=facts.generation,
        score=facts.score or model.score.model_copy(update=facts.calibration.model_dump()),
        data=facts.data,
        source=facts.source,
        files=dict(files or {}),
    )


def write_bundle(
    load: Callable[[], AssembledModel],
    tokenizer_json: bytes | None,
    out: Path,
    facts: BundleFacts,
    *,
    without: Collection[str] = (),
    weights_dtype: WeightsDtype = "fp16",
    overwrite: bool = False,
) -> Manifest:
    """Export a model to the folder ``out``, check every graph against torch, and return the manifest.

    The model is used up, so that its weights are never held twice: they become those stored, and are let go
    before an engine holds them, too.

    Args:
        load: gives the model, in float32 on the CPU; called again where float16 does not do.
        tokenizer_json: None for a model without text.
        without: roles and outputs not to ship, because nothing trained them.
        weights_dtype: ``fp16`` stores matrices in half the space, unless that changes an output by more
            than ROUNDING_TOLERANCE; the model card says what was done.
        overwrite: replace a folder that is there.

    Raises ExportError naming role, output and difference, and StorageError. Nothing is left behind then.
    """
    with atomic_folder(out, overwrite=overwrite) as folder:
        written = _write_graphs(folder, load, facts, without, weights_dtype)
        gc.collect()  # the exporter leaves cycles behind that hold the weights
        difference = largest_difference(PlainOpenVINO(folder, written.manifest.graphs), written.cases)
        (folder / CHECK_NAME).write_bytes(check_record(written.cases))
        if tokenizer_json is not None:
            (folder / TOKENIZER_NAME).write_bytes(tokenizer_json)
        card = model_card(
            written.manifest,
            dataclasses.replace(written.storage, engine_difference=difference),
            facts.notes,
        )
        (folder / CARD_NAME).write_text(card, encoding="utf-8")
        manifest = written.manifest.model_copy(update={"files": _records(folder)})
        (folder / MANIFEST_NAME).write_text(manifest_json(manifest), encoding="utf-8")
    return manifest


@dataclass(frozen=True, slots=True)
class _Written:
    """What is left of the torch model once its graphs are written."""

    manifest: Manifest
    cases: list[Case]
    storage: Storage


def _write_graphs(
    folder: Path,
    load: Callable[[], AssembledModel],
    facts: BundleFacts,
    without: Collection[str],
    weights_dtype: WeightsDtype,
) -> _Written:
    ready = weights_to_store(load, facts.name, without, weights_dtype)
    modules = role_modules(ready.model, without)
    # Contradictions are cheaper found before the export.
    manifest = manifest_of(ready.model, graph_specs(modules.values()), facts)
    places = write_weights(folder / WEIGHTS_NAME, ready.stored)
    contents = names_by_content(ready.stored)
    for module in modules.values():
        graph = export_graph(module)
        point_into_file(graph, contents, places, module.role)
        ir.save(graph, folder / f"{module.role}.onnx")
    sources, dtypes = ready.stored.sources, ready.stored.dtypes
    floats = {name: one.numel() for name, one in sources.items() if one.is_floating_point()}
    storage = Storage(
        parameters=sum(floats.values()),
        halves=sum(count for name, count in floats.items() if dtypes[name] == torch.float16),
        kept_fp32=ready.stored.kept_fp32,
        rounding_change=ready.change,
        engine_difference=math.nan,  # nothing has compared them yet
    )
    return _Written(manifest, ready.cases, storage)


def _size(size: tuple[int, int] | None) -> str:
    return "not at all" if size is None else f"{size[0]} x {size[1]}"


@dataclass(frozen=True, slots=True)
class ReadyToStore:
    """model: its weights are those stored. cases: what it gives for the check inputs. change: the largest
    relative change of an output that storing in the wished dtype makes."""

    model: AssembledModel
    stored: StoredWeights
    cases: list[Case]
    change: float


def weights_to_store(
    load: Callable[[], AssembledModel], name: str, without: Collection[str], weights_dtype: WeightsDtype
) -> ReadyToStore:
    """The model with its weights as ``weights_dtype`` stores them; float32 where that changes too much.

    ``load`` as in ``write_bundle``. Raises ExportError for a model that gives NaN or infinity; ``name`` is
    what it is called then.
    """
    model = load()
    original = record_cases(TorchEngine(model, without=without), model.limits)
    _refuse_non_finite(original, name)
    stored = choose_storage(model.state_dict(), weights_dtype)
    stored.round_in_place()
    cases = record_cases(TorchEngine(model, without=without), model.limits)
    changes = rounding_change(original, cases)
    change = max(changes.values(), default=0.0)
    if weights_dtype == "fp16" and not all(value <= ROUNDING_TOLERANCE for value in changes.values()):
        del model, stored  # before there is another
        model = load()
        stored, cases = choose_storage(model.state_dict(), "fp32"), original
    return ReadyToStore(model, stored, cases, change)


def _refuse_non_finite(cases: Sequence[Case], name: str) -> None:
    for case in cases:
        for output, value in case.expected.items():
            if value.dtype.kind == "f" and not math.isfinite(float(value.sum(dtype="float64"))):
                raise ExportError(
                    f"{name}: the torch model itself gives NaN or infinity in {case.role} {output}; "
                    "its training has diverged, so take an earlier checkpoint"
                )


def _records(folder: Path) -> dict[str, FileRecord]:
    records: dict[str, FileRecord] = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        records[path.name] = FileRecord(sha256=digest, size_bytes=path.stat().st_size)
    return records
