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

from tests.parity import (
    test_blip,
    test_chinese_clip,
    test_clip,
    test_encoder_decoder,
    test_image_classifiers,
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
