"""The command that checks a checkpoint with its real weights, tried on tiny ones of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipForQuestionAnswering,
    ResNetConfig,
    ResNetForImageClassification,
    ViltForImageAndTextRetrieval,
    ViltForMaskedLM,
    ViltForQuestionAnswering,
)

from seetell.bundle.catalogue import known_models
from seetell.modeling.checkpoints.registry import family_of
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import load_model
from seetell.modeling.export.roles.base import graph_specs
from seetell.modeling.export.roles.registry import role_modules
from seetell.modeling.export.write_bundle import tasks_of
from tests.parity import (
    test_blip,
    test_chinese_clip,
    test_clip,
    test_encoder_decoder,
    test_image_classifiers,
    test_siglip,
    test_text_models,
    test_vilt,
)
from tests.parity.check_checkpoint import Row, compare, main
from tests.parity.checkpoints_with_words import photos

MAKERS: dict[str, tuple[Callable[[Path], Any], set[str]]] = {
    "clip": (lambda folder: test_clip.make("plain", folder), {"image_embeds", "text_embeds"}),
    "chinese_clip": (lambda folder: test_chinese_clip.make("plain", folder), {"text_embeds"}),
    "blip captioning": (
        lambda folder: test_blip.make(BlipForConditionalGeneration, "odd", folder),
        {"image_tokens", "logits of 'a cat'"},
    ),
    "blip vqa": (
        lambda folder: test_blip.make(BlipForQuestionAnswering, "plain", folder),
        {"fused_tokens of 'a cat'", "logits of 'a cat'"},
    ),
    "blip retrieval": (
        lambda folder: test_blip.make(BlipForImageTextRetrieval, "plain", folder),
        {"match_logits of 'a cat'", "similarity of 'a cat'"},
    ),
    "vilt vqa": (
        lambda folder: test_vilt.make(ViltForQuestionAnswering, "plain", folder),
        {"answer_logits"},
    ),
    "vilt retrieval": (
        lambda folder: test_vilt.make(ViltForImageAndTextRetrieval, "odd", folder),
        {"match_logits"},
    ),
    "vilt filling": (lambda folder: test_vilt.make(ViltForMaskedLM, "plain", folder), {"token_logits"}),
    "vit": (test_image_classifiers._saved_vit, {"image_tokens", "label_logits"}),
    "resnet": (
        lambda folder: test_image_classifiers._save(
            ResNetForImageClassification(
                ResNetConfig(**test_image_classifiers.TINY_RESNET, **test_image_classifiers.LABELS)
            ),
            folder,
            (64, 64),
        ),
        {"image_tokens", "label_logits"},
    ),
    "vit_gpt2": (
        lambda folder: test_encoder_decoder._save(folder, *test_encoder_decoder.CASES["two widths"]),
        {"image_tokens", "logits"},
    ),
    "bert": (
        lambda folder: test_text_models._save_bert(
            BertModel(BertConfig(**test_text_models.TINY_BERT)), folder
        ),
        {"text_tokens"},
    ),
    "gpt2": (test_text_models._gpt2, {"log-probabilities"}),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_checkpoint_of_every_kind_is_compared(kind: str, tmp_path: Path) -> None:
    make, outputs = MAKERS[kind]
    make(tmp_path)
    rows = compare(tmp_path, photos())
    assert {row.what for row in rows} >= outputs
    assert [row for row in rows if not row.good] == []
    told = {row.what for row in rows}
    assert "pixel_values" in told or "texts of other ids" in told


def test_a_weight_read_wrongly_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Our reading of one norm is changed behind the reference's back."""
    test_clip.make("plain", tmp_path)
    from tests.parity import check_checkpoint

    load = check_checkpoint.load_model

    def misread(*arguments: Any) -> Any:
        model = load(*arguments)
        with torch.no_grad():
            model.get_parameter("text_norm.weight").mul_(1.05)
        return model

    assert main([str(tmp_path)]) == 0
    assert "APART" not in capsys.readouterr().out
    monkeypatch.setattr(check_checkpoint, "load_model", misread)
    assert main([str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("APART")] == [
        "text_embeds",
        "logits_per_image",
    ]


def test_shapes_that_differ_are_apart() -> None:
    from tests.parity.check_checkpoint import _difference

    assert not Row("x", _difference(torch.zeros(2), torch.zeros(3))).good
    assert not Row("x", float("nan")).good


def test_what_transformers_does_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test_clip.save_open_clip(tmp_path / "laion", quick_gelu=False)
    assert main([str(tmp_path / "laion")]) == 1
    assert "transformers has no open_clip" in capsys.readouterr().err
    assert main([str(tmp_path / "gone")]) == 1
    assert "gone" in capsys.readouterr().err


# Which maker's checkpoint stands for which known one.
KNOWN = {
    "google/vit-base-patch16-224": "vit",
    "microsoft/resnet-50": "resnet",
    "google-bert/bert-base-uncased": "bert",
    "openai-community/gpt2": "gpt2",
    "openai/clip-vit-base-patch32": "clip",
    "openai/clip-vit-large-patch14-336": "clip",
    "laion/CLIP-ViT-B-32-laion2B-s34B-b79K": "clip",
    "google/siglip-base-patch16-224": "siglip",
    "google/siglip-so400m-patch14-384": "siglip",
    "google/siglip2-base-patch16-224": "siglip",
    "OFA-Sys/chinese-clip-vit-base-patch16": "chinese_clip",
    "Salesforce/blip-image-captioning-base": "blip captioning",
    "Salesforce/blip-vqa-base": "blip vqa",
    "Salesforce/blip-itm-base-coco": "blip retrieval",
    "dandelin/vilt-b32-finetuned-vqa": "vilt vqa",
    "dandelin/vilt-b32-finetuned-coco": "vilt retrieval",
    "nlpconnect/vit-gpt2-image-captioning": "vit_gpt2",
}


def test_every_known_checkpoint_is_of_a_kind_that_converts() -> None:
    assert set(KNOWN) == {entry.hub_id for entry in known_models()}


@pytest.mark.parametrize("kind", sorted(set(KNOWN.values())))
def test_the_catalogue_says_what_the_bundles_can_do(kind: str, tmp_path: Path) -> None:
    make = (lambda folder: test_siglip.make("plain", folder)) if kind == "siglip" else MAKERS[kind][0]
    make(tmp_path)
    checkpoint = CheckpointFolder(tmp_path)
    family = family_of(checkpoint)
    graphs = graph_specs(role_modules(load_model(checkpoint, family)).values())
    found = set(tasks_of(graphs, family.reading(checkpoint).text))
    for entry in known_models():
        if KNOWN[entry.hub_id] == kind:
            assert set(entry.tasks) == found, entry.hub_id
