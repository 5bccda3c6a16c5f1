"""A model to teach further, whatever it comes from, and what is known about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from seetell.bundle.hub import fetch_checkpoint
from seetell.bundle.hub_ids import in_full, is_hub_id
from seetell.bundle.manifest import MANIFEST_NAME, AnswerCalibration, Manifest, Source, read_manifest
from seetell.bundle.store import BUILTIN, TOKENIZER_NAME, builtin_folder
from seetell.core.errors import BundleNotFound, CheckpointError
from seetell.modeling.checkpoints.own import read_bundle_model
from seetell.modeling.checkpoints.public import read_checkpoint
from seetell.modeling.checkpoints.rebuild import rebuild
from seetell.modeling.checkpoints.run_folder import is_run, read_run
from seetell.modeling.facts import BundleFacts
from seetell.modeling.models.assembled import AssembledModel
from seetell.modeling.outputs import ALL_TAUGHT, given_by


@dataclass(frozen=True, slots=True)
class Start:
    """model: in float32. facts: as for a bundle. tokenizer_json: None for a model without text. trained: the
    outputs that it has learned to give; whoever publishes a model has taught all of it."""

    model: AssembledModel
    facts: BundleFacts
    tokenizer_json: bytes | None
    trained: frozenset[str] = ALL_TAUGHT


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
        manifest = read_manifest(folder)
        if any("fp32" not in graph.files for graph in manifest.graphs.values()):
            raise CheckpointError(
                f"{key}: {source} is in int8 alone, which cannot be taught or averaged; name the bundle it "
                "was made from"
            )
        model = read_bundle_model(folder)
        return Start(model, _facts_of(manifest), tokenizer_of(folder), given_by(manifest))
    if is_run(folder):
        run = read_run(folder)
        facts = run.description.facts.having(run.description.bundle, where=folder)
        return Start(run.model, facts, tokenizer_of(folder), frozenset(run.description.trained))
    return Start(*read_checkpoint(folder))


def tokenizer_of(folder: Path) -> bytes | None:
    """The tokenizer's file in a bundle's or a run's folder, None where there is none."""
    path = folder / TOKENIZER_NAME
    return path.read_bytes() if path.is_file() else None


def locate(source: str) -> Path | None:
    """The folder that ``source`` names, None where it names none."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    return builtin_folder() if source == BUILTIN else None


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
