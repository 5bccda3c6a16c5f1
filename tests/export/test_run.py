"""A training run's folder to a model and to a bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from seetell.bundle.store import Bundle, open_bundle
from seetell.core.errors import BundleDamaged, CheckpointError, ExportError
from seetell.learning.tokenizer_training import built_in_text_spec
from seetell.learning.training.checkpoint import Progress, save_checkpoint
from seetell.learning.training.description import own_image_spec
from seetell.learning.training.ema import Ema
from seetell.learning.training.objective_spec import ObjectiveSpec
from seetell.learning.training.step import JointStep, LeadIds
from seetell.modeling.checkpoints.own import read_bundle_model
from seetell.modeling.checkpoints.run_folder import (
    RunDescription,
    read_description,
    read_run,
    write_description,
)
from seetell.modeling.export import run as run_module
from seetell.modeling.export.run import export_run
from seetell.modeling.facts import BundleFacts
from seetell.modeling.models.unified import UnifiedModel
from seetell.modeling.outputs import ALL_TAUGHT, left_out
from seetell.modeling.start import read_start

OBJECTIVES = ("contrastive", "captioning", "labels")
TRAINED = ("image_embeds", "label_logits", "logits", "text_embeds")


@pytest.fixture
def run(tmp_path: Path, make_model: Callable[..., UnifiedModel], tokenizer_json: bytes) -> Path:
    """Two checkpoints as the training loop writes them; the first was the best."""
    folder = tmp_path / "my-run"
    size = len(json.loads(tokenizer_json)["model"]["vocab"])
    text = {"context_length": 16, "embed_dim": 32, "depth": 1, "num_heads": 2, "mlp_ratio": 2.0}
    model = make_model(text={**text, "vocab_size": size}, num_answers=2)
    facts = BundleFacts(
        name="before",
        licence="none yet",
        languages=("en", "zh"),
        image=own_image_spec(model.config, mean=(0.4, 0.5, 0.6)),
        text=built_in_text_spec(16),
        answers=("yes", "no"),
        labels=("cat", "dog", "boat"),
    )
    description = RunDescription(
        family=model.family,
        config=model.config.model_dump(mode="json"),
        facts=facts,
        bundle={"name": "my-run"},
        trained=TRAINED,
    )
    folder.mkdir()
    write_description(folder, description)
    (folder / "tokenizer.json").write_bytes(tokenizer_json)
    leads = LeadIds(2, 4, 10, {"en": 5, "zh": 6}, {"en": 8, "zh": 9}, 3)
    step = JointStep(model, [ObjectiveSpec(name=name) for name in OBJECTIVES], leads, learned_weights=True)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(step.parameters())
    ema = Ema(model, 0.5)
    for number in (9, 10):
        with torch.no_grad():
            model.logit_scale.fill_(number)
            ema.update(model)
        save_checkpoint(folder / "checkpoints", Progress(number, "x", best_step=9), step, optimizer, ema)
    return folder


def ema_scale(folder: Path, step: int) -> float:
    path = folder / "checkpoints" / f"step-{step:07d}" / "ema.safetensors"
    return float(load_file(path)["logit_scale"])


def test_reads_what_was_trained(run: Path) -> None:
    found = read_run(run)
    assert found.step == 10
    facts = found.description.facts
    assert (facts.answers, facts.labels) == (("yes", "no"), ("cat", "dog", "boat"))
    assert not found.model.training
    assert float(found.model.logit_scale.detach()) == ema_scale(run, 10) != 10
    assert float(read_run(run, use_ema=False).model.logit_scale.detach()) == 10
    assert float(read_run(run, checkpoint="best").model.logit_scale.detach()) == ema_scale(run, 9)
    assert read_run(run, checkpoint="step-9").step == 9


def test_without_averages_its_own_weights_are_read(run: Path) -> None:
    path = run / "checkpoints" / "step-0000010"
    (path / "ema.safetensors").unlink()
    state = json.loads((path / "state.json").read_text())
    del state["files"]["ema.safetensors"]
    (path / "state.json").write_text(json.dumps(state))
    assert float(read_run(run).model.logit_scale.detach()) == 10


def damage_weights(run: Path) -> None:
    path = run / "checkpoints" / "step-0000010" / "ema.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def described(run: Path, **changes: Any) -> None:
    """Say otherwise of the run; ``config`` in the place of its own, key by key."""
    document = json.loads((run / "model.json").read_text(encoding="utf-8"))
    config = {**document["config"], **changes.pop("config", {})}
    document = {**document, **changes, "config": config}
    (run / "model.json").write_text(json.dumps(document), encoding="utf-8")


def other_model(run: Path) -> None:
    config = read_description(run).config
    described(run, config={"text": {**config["text"], "depth": 2}})


def other_answers(run: Path) -> None:
    described(run, config={"num_answers": 3})


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (damage_weights, "damaged"),
        (other_model, "of another model: it lacks text_trunk.blocks.1"),
        (other_answers, r"answer_head.2.weight is \[2, 64\], not \[3, 64\]"),
        (lambda run: (run / "model.json").unlink(), "model.json: missing or damaged"),
        (lambda run: (run / "model.json").write_text("{"), "model.json: missing or damaged"),
        (lambda run: (run / "model.json").write_text('{"format": 2}'), "model.json: missing or damaged"),
        (lambda run: (run / "model.json").write_text('{"format": 1}'), "model.json: format 1 is not"),
        (lambda run: described(run, family="tree"), "model.json: damaged .*'tree' cannot be taught"),
        (lambda run: described(run, config={"image": {"kind": "x"}}), "model.json: damaged"),
        (lambda run: (run / "checkpoints" / "step-0000010" / "state.json").write_text("{"), "state.json"),
    ],
)
def test_damaged_runs_are_refused_on_one_line(harm: Callable[[Path], Any], words: str, run: Path) -> None:
    harm(run)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_run(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "words"), [("step-8", "step-0000009"), ("newest", "there are latest, best")]
)
def test_a_checkpoint_that_is_not_there(wanted: str, words: str, run: Path) -> None:
    with pytest.raises(CheckpointError, match=words):
        read_run(run, checkpoint=wanted)


def test_a_run_without_checkpoints(tmp_path: Path, run: Path) -> None:
    (run / "checkpoints").rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="no checkpoint there yet"):
        read_run(run)


def test_what_nothing_has_taught_is_left_out() -> None:
    assert left_out(ALL_TAUGHT) == frozenset()
    fusion = {"fusion_encoder", "match_logits", "token_logits", "answer_logits", "fused_tokens"}
    assert left_out(TRAINED) == fusion
    answers = {"fusion_encoder", "text_decoder", "decoder_memory"}
    assert left_out({"fused_tokens", "logits"}).isdisjoint(answers)
    assert left_out({"logits"}) == fusion | {"text_encoder", "text_embeds", "image_embeds", "label_logits"}
    assert {"text_decoder", "decoder_memory"} <= left_out({"match_logits"})
    # Image tokens are of use by themselves.
    assert "image_encoder" not in left_out(())


def test_facts_come_from_the_call_then_the_recipe(
    monkeypatch: pytest.MonkeyPatch, run: Path, tmp_path: Path
) -> None:
    seen: dict[str, Any] = {}

    def write(load: Callable[[], UnifiedModel], tokenizer: bytes, out: Path, facts: Any, **more: Any) -> None:
        seen.update(facts=facts, **more)

    monkeypatch.setattr(run_module, "write_bundle", write)
    described(run, bundle={"name": "from-recipe", "licence": "research only"})
    export_run(run, tmp_path / "out", facts={"name": "from-call"})
    facts = seen["facts"]
    assert (facts.name, facts.licence) == ("from-call", "research only")
    assert facts.image.mean == (0.4, 0.5, 0.6)
    assert (facts.image.height, facts.image.width) == (16, 32)
    assert facts.languages == ("en", "zh")
    assert "fusion_encoder" in seen["without"]
    assert str(tmp_path) not in facts.model_dump_json(), (
        "a bundle names no folder of the machine it was made on"
    )
    with pytest.raises(ExportError, match=r"bundle\.licenze"):
        export_run(run, tmp_path / "out", facts={"licenze": "x"})


@pytest.mark.slow
def test_a_run_becomes_a_bundle(run: Path, tmp_path: Path) -> None:
    manifest = export_run(run, tmp_path / "out")
    assert manifest.tasks == ("embed", "match", "classify", "caption", "features")
    assert open_bundle(tmp_path / "out").manifest == manifest
    assert float(read_bundle_model(tmp_path / "out").logit_scale.detach()) == ema_scale(run, 10)


def test_a_bundle_gives_its_model_back(tiny_bundle: Bundle, tiny_model: UnifiedModel) -> None:
    model = read_bundle_model(tiny_bundle.folder)
    assert model.config == tiny_model.config
    own = tiny_model.state_dict()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, own[name], rtol=1e-3, atol=1e-6, msg=name)


def test_a_bundle_with_foreign_weights(tiny_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_bytes((tiny_bundle.folder / "bundle.json").read_bytes())
    with pytest.raises(BundleDamaged, match=r"model\.safetensors"):
        read_bundle_model(tmp_path)
    save_file({"x": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(BundleDamaged, match="of another model"):
        read_bundle_model(tmp_path)


def test_labels_that_nothing_was_taught_of_are_no_part_of_the_bundle(run: Path, tmp_path: Path) -> None:
    described(run, trained=[name for name in TRAINED if name != "label_logits"])
    manifest = export_run(run, tmp_path / "out")
    assert (manifest.labels, manifest.config["num_labels"]) == ((), 0)
    assert "label" not in (tmp_path / "out" / "README.md").read_text().split("## ")[0]
    again = read_start(str(tmp_path / "out"))
    assert again.model.label_head is None
