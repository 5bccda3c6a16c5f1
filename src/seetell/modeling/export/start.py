"""A model to teach further, whatever it comes from, and what is known about it.

What a run that teaches it must remember lies in the run's folder: ``model.json`` (family, configuration, and
the facts a bundle is made with) beside ``tokenizer.json``, so that neither going on nor converting needs what
the run began from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from seetell.bundle.hub import fetch_checkpoint
from seetell.bundle.hub_ids import in_full, is_hub_id
from seetell.bundle.manifest import MANIFEST_NAME, AnswerCalibration, Manifest, Source, read_manifest
from seetell.bundle.store import BUILTIN, TOKENIZER_NAME, builtin_folder
from seetell.core.errors import BundleNotFound, CheckpointError
from seetell.core.files import atomic_write_bytes, atomic_write_text
from seetell.modeling.checkpoints.own import load_run_weights, read_bundle_model, read_run
from seetell.modeling.checkpoints.rebuild import rebuild
from seetell.modeling.export.public import read_checkpoint
from seetell.modeling.export.run import described_facts, objectives_of, taught_before
from seetell.modeling.export.write_bundle import BundleFacts
from seetell.modeling.models.assembled import AssembledModel

DESCRIPTION_NAME = "model.json"
_RUN_MARK = "recipe.yaml"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Start:
    """model: in float32. facts: as for a bundle. tokenizer_json: None for a model without text. taught: the
    objectives that a model of ours has learned from."""

    model: AssembledModel
    facts: BundleFacts
    tokenizer_json: bytes | None
    taught: frozenset[str] = frozenset()


def read_start(source: str, key: str = "init") -> Start:
    """The model that ``source`` names: ``builtin``, a bundle's folder, a run's (its latest checkpoint), a
    public checkpoint's, or a hub id. ``key`` of the recipe says so, for messages.

    Raises BundleError and CheckpointError.
    """
    folder = locate(source)
    if folder is None:
        if not is_hub_id(source):
            raise BundleNotFound(f"{key}: {source} is no folder, and no hub id (OWNER/NAME) either")
        hub_id = in_full(source)
        fetched = fetch_checkpoint(hub_id)
        origin = Source(hub_id=hub_id, revision=fetched.revision)
        return Start(*read_checkpoint(fetched.folder, name=hub_id, source=origin))
    if (folder / MANIFEST_NAME).is_file():
        tokenizer = folder / TOKENIZER_NAME
        manifest = read_manifest(folder)
        if any("fp32" not in graph.files for graph in manifest.graphs.values()):
            raise CheckpointError(
                f"{key}: {source} is in int8 alone, which cannot be taught or averaged; name the bundle it "
                "was made from"
            )
        return Start(
            read_bundle_model(folder),
            _facts_of(manifest),
            tokenizer.read_bytes() if tokenizer.is_file() else None,
            taught_before(manifest),
        )
    if (folder / DESCRIPTION_NAME).is_file():
        described = read_description(folder)
        load_run_weights(described.model, folder)
        return described
    if (folder / _RUN_MARK).is_file():
        run = read_run(folder)
        facts = described_facts(run, folder)
        return Start(run.model, facts, run.tokenizer_json, objectives_of(run.recipe))
    return Start(*read_checkpoint(folder))


def locate(source: str) -> Path | None:
    """The folder that ``source`` names, None where it names none."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    return builtin_folder() if source == BUILTIN else None


def write_description(folder: Path, start: Start) -> None:
    """Write what :func:`read_description` reads. Raises StorageError."""
    document = {
        "format": _FORMAT,
        "family": start.model.family,
        "config": start.model.config.model_dump(mode="json"),
        "facts": start.facts.model_dump(mode="json"),
    }
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    atomic_write_text(folder / DESCRIPTION_NAME, text)
    if start.tokenizer_json is not None:
        atomic_write_bytes(folder / TOKENIZER_NAME, start.tokenizer_json)


def read_description(folder: Path) -> Start:
    """The model of a run, its weights not yet loaded. Raises CheckpointError."""
    path = folder / DESCRIPTION_NAME
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        if document["format"] != _FORMAT:
            raise CheckpointError(f"{path}: format {document['format']} is not the one this seetell reads")
        model = rebuild(document["family"], document["config"])
        facts = BundleFacts.model_validate(document["facts"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: missing or damaged ({reason}); is this a training run?") from error
    tokenizer = folder / TOKENIZER_NAME
    return Start(model, facts, tokenizer.read_bytes() if tokenizer.is_file() else None)


def with_answers(start: Start, answers: tuple[str, ...]) -> Start:
    """The same model to answer from another closed list, all else as it is: what it knew of answers that both
    lists have it keeps, and of the others it knows nothing yet.

    Raises CheckpointError for a model that has no closed list.
    """
    config = start.model.config.model_dump()
    if not start.model.limits.num_answers:
        raise CheckpointError(f"{start.facts.name}: it answers from no closed list, so answers cannot be set")
    model = rebuild(start.model.family, {**config, "num_answers": len(answers)})
    wanted = model.state_dict()
    told = by_entry(start.model.state_dict(), wanted, "answer_head", start.facts.answers, answers)
    kept = {name: tensor for name, tensor in told.items() if wanted[name].shape == tensor.shape}
    model.load_state_dict(kept, strict=False)
    return replace(start, model=model, facts=start.facts.model_copy(update={"answers": answers}))


def by_entry(
    stored: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    head: str,
    before: Sequence[str],
    now: Sequence[str],
) -> dict[str, Tensor]:
    """``stored`` with the last layer of a head over a closed list put in the order of another list. Entries
    that only this one has get the rows of ``wanted``. Nothing is changed of a head that is not over the list
    ``before``, whose entries' places nobody knows then."""
    layers = {
        int(number) if number.isdigit() else 0: layer
        for layer in (name.rpartition(".")[0] for name in stored if name.startswith(f"{head}."))
        for number in [layer.rpartition(".")[2]]
    }
    found = dict(stored)
    if not layers or tuple(before) == tuple(now):
        return found
    last = layers[max(layers)]
    places = {entry: place for place, entry in enumerate(before)}
    rows = [(place, places[entry]) for place, entry in enumerate(now) if entry in places]
    for name in (f"{last}.weight", f"{last}.bias"):
        if name not in stored or name not in wanted or len(stored[name]) != len(before):
            continue
        if stored[name].shape[1:] == wanted[name].shape[1:] and len(wanted[name]) == len(now):
            moved = wanted[name].detach().clone()
            for place, row in rows:
                moved[place] = stored[name][row].to(moved.dtype)
            found[name] = moved
    return found


def _facts_of(manifest: Manifest) -> BundleFacts:
    told = {name: getattr(manifest, name) for name in BundleFacts.model_fields if hasattr(manifest, name)}
    # How similarities become probabilities is the model's own to say again once it has learned more; what was
    # fitted to its answers stays for as long as those are not taught again.
    fitted = {name: getattr(manifest.score, name) for name in AnswerCalibration.model_fields}
    return BundleFacts.model_validate({**told, "score": None, "calibration": fitted})
