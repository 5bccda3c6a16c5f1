"""A bundle appears whole and checked, or not at all."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from seetell.bundle.manifest import AnswerCalibration, TextSpec
from seetell.bundle.store import Bundle, open_bundle
from seetell.core.errors import ExportError, SeetellError, StorageError
from seetell.media.preprocess import ImageSpec
from seetell.modeling.export import write_bundle as module
from seetell.modeling.export.agreement import record_cases
from seetell.modeling.export.model_card import Storage, model_card
from seetell.modeling.export.roles.base import graph_specs
from seetell.modeling.export.roles.registry import role_modules
from seetell.modeling.export.torch_engine import TorchEngine
from seetell.modeling.export.write_bundle import (
    manifest_of,
    tasks_of,
    weights_to_store,
    write_bundle,
)
from seetell.modeling.facts import BundleFacts
from seetell.modeling.models.unified import UnifiedModel

MakeModel = Callable[..., UnifiedModel]


def test_the_bundle_opens_and_says_what_it_is(tiny_bundle: Bundle, tiny_model: UnifiedModel) -> None:
    bundle = open_bundle(tiny_bundle.folder)
    bundle.verify(full=True)
    manifest = bundle.manifest
    assert set(manifest.files) == {path.name for path in bundle.folder.iterdir()} - {"bundle.json"}
    assert manifest.tasks == ("embed", "match", "classify", "caption", "ask", "features", "fill")
    assert manifest.config == tiny_model.config.model_dump(mode="json")
    assert manifest.score.logit_scale == pytest.approx(float(tiny_model.logit_scale.detach()))
    assert bundle.tokenizer().decode(bundle.tokenizer().encode_words("a dog")) == "a dog"
    card = (bundle.folder / "README.md").read_text()
    assert "for tests only" in card and "`text_decoder.onnx`" not in card.split("## Graphs")[0]


def test_what_was_fitted_on_held_out_questions_joins_the_models_own_score(
    make_model: MakeModel, facts: BundleFacts
) -> None:
    model = make_model()
    graphs = graph_specs(role_modules(model).values(), with_files=False)
    fitted = AnswerCalibration(answer_temperature=1.5, abstain_below=0.25)
    own = manifest_of(model, graphs, facts).score
    score = manifest_of(model, graphs, facts.model_copy(update={"calibration": fitted})).score
    assert (score.answer_temperature, score.abstain_below) == (1.5, 0.25)
    assert (own.answer_temperature, own.abstain_below) == (1.0, 0.0)
    assert score.logit_scale == own.logit_scale != 0


def test_the_card_has_its_makers_notes(tiny_bundle: Bundle) -> None:
    storage = Storage(10, 0, {}, 0.0, 1e-6)
    card = model_card(tiny_bundle.manifest, storage, {"Limits": ("It knows no names.", "It sees one photo.")})
    assert "## Limits\n\nIt knows no names.\n\nIt sees one photo.\n\n## Weights" in card
    assert "Limits" not in model_card(tiny_bundle.manifest, storage, {})


def test_the_card_reports_measured_figures(tiny_bundle: Bundle) -> None:
    card = (tiny_bundle.folder / "README.md").read_text()
    change = re.search(r"by at most ([\d.e-]+) of its root mean", card)
    difference = re.search(r"differ by at most ([\d.e-]+)\.", card)
    assert change is not None and 1e-5 < float(change.group(1)) < 5e-3
    assert difference is not None and 0 < float(difference.group(1)) < 1e-3


@pytest.mark.parametrize(
    ("without", "lost"),
    [
        ((), set()),
        (("image_embeds", "text_encoder", "label_logits"), {"embed", "classify"}),
        (("match_logits",), set()),
        (("match_logits", "image_embeds", "label_logits"), {"match", "embed", "classify"}),
        (("answer_logits", "fused_tokens"), {"ask"}),
        (("answer_logits",), set()),
        (("text_decoder", "decoder_memory"), {"caption"}),
        (("text_decoder", "answer_logits"), {"caption", "ask"}),
        (("fusion_encoder",), {"ask", "fill"}),
        (("token_logits",), {"fill"}),
        (("image_encoder",), {"embed", "classify", "caption", "features"}),
    ],
)
def test_tasks_follow_from_the_graphs(
    without: Sequence[str], lost: set[str], tiny_model: UnifiedModel, facts: BundleFacts
) -> None:
    everything = {"embed", "match", "classify", "caption", "ask", "features", "fill"}
    graphs = graph_specs(role_modules(tiny_model, without).values())
    if without == ("image_encoder",):
        # Answering is possible in principle: image tokens could come from elsewhere.
        assert not lost & set(tasks_of(graphs, facts.text))
    else:
        assert set(tasks_of(graphs, facts.text)) == everything - lost


def test_tasks_need_their_tokens(tiny_model: UnifiedModel, facts: BundleFacts) -> None:
    graphs = graph_specs(role_modules(tiny_model, ("answer_logits",)).values())
    bare = TextSpec(context_length=16, eos_id=3, pad_id=0)
    assert not {"caption", "ask", "fill"} & set(tasks_of(graphs, bare))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answers": ("yes",)}, "1 answers are named but the model's head has 5"),
        ({"labels": ()}, "0 labels are named but the model's head has 3"),
        ({"image": ImageSpec(height=32, width=32)}, "32 x 32"),
        ({"text": TextSpec(context_length=17, eos_id=3, pad_id=0)}, "17 tokens"),
    ],
)
def test_facts_that_contradict_the_model_are_refused(
    change: dict[str, object],
    words: str,
    tiny_model: UnifiedModel,
    facts: BundleFacts,
    tokenizer_json: bytes,
    tmp_path: Path,
) -> None:
    with pytest.raises(ExportError, match=words):
        write_bundle(
            lambda: copy.deepcopy(tiny_model),
            tokenizer_json,
            tmp_path / "out",
            facts.model_copy(update=change),
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ExportError("no"), KeyboardInterrupt(), OSError(28, "No space left")])
@pytest.mark.parametrize("there", [False, True])
def test_a_failed_export_leaves_nothing_behind(
    error: BaseException,
    there: bool,
    monkeypatch: pytest.MonkeyPatch,
    tiny_model: UnifiedModel,
    facts: BundleFacts,
    tokenizer_json: bytes,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    if there:
        out.mkdir()
        (out / "precious").write_text("old")

    def fail(*_: object) -> None:
        assert any(path.name.endswith(".tmp") for path in tmp_path.iterdir()), "nothing was being written"
        raise error

    monkeypatch.setattr(module, "export_graph", fail)
    expected = StorageError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        write_bundle(lambda: copy.deepcopy(tiny_model), tokenizer_json, out, facts, overwrite=True)
    assert [path.name for path in tmp_path.rglob("*")] == (["out", "precious"] if there else [])


def test_a_folder_that_is_there_is_not_replaced(
    tiny_model: UnifiedModel, facts: BundleFacts, tokenizer_json: bytes, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("old")
    with pytest.raises(SeetellError, match="exists"):
        write_bundle(lambda: copy.deepcopy(tiny_model), tokenizer_json, tmp_path, facts)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_float16_that_would_change_results_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tiny_model: UnifiedModel
) -> None:
    def match_head(ready: module.ReadyToStore) -> torch.Tensor:
        return ready.model.get_parameter("match_head.weight")

    ready = weights_to_store(lambda: copy.deepcopy(tiny_model), "tiny", (), "fp16")
    assert 0 < ready.change <= module.ROUNDING_TOLERANCE
    assert ready.stored.dtypes["text_embedding.tokens.weight"] == torch.float16
    assert not torch.equal(match_head(ready), tiny_model.match_head.weight)
    monkeypatch.setattr(module, "ROUNDING_TOLERANCE", ready.change / 2)
    whole = weights_to_store(lambda: copy.deepcopy(tiny_model), "tiny", (), "fp16")
    assert whole.change == ready.change
    assert torch.float16 not in whole.stored.dtypes.values()
    assert torch.equal(match_head(whole), tiny_model.match_head.weight)
    for case, again in zip(
        whole.cases, record_cases(TorchEngine(tiny_model), tiny_model.limits), strict=True
    ):
        assert all((case.expected[name] == again.expected[name]).all() for name in again.expected)


def test_a_diverged_model_is_refused(make_model: MakeModel) -> None:
    model = make_model()
    with torch.no_grad():
        model.match_head.bias.fill_(float("nan"))
    with pytest.raises(ExportError, match=r"tiny: the torch model itself gives NaN .* match_logits"):
        weights_to_store(lambda: model, "tiny", (), "fp16")


def test_the_scale_is_clamped_as_in_training(make_model: MakeModel, facts: BundleFacts) -> None:
    model = make_model()
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    graphs = graph_specs(role_modules(model).values(), with_files=False)
    assert manifest_of(model, graphs, facts).score.logit_scale == pytest.approx(4.60517, abs=1e-5)
