"""Counted arithmetic against numbers worked by hand, and against counts that others have published."""

from __future__ import annotations

import pytest

from seetell.bundle.architecture import Architecture, DecoderShape, TextShape, ViTShape
from seetell.bundle.flops import (
    Work,
    attention_pool_macs,
    block_macs,
    decoding_macs,
    memory_macs,
    patch_count,
    resnet_macs,
)


def vit(**more: object) -> ViTShape:
    base = {
        "kind": "vit",
        "image_size": (384, 384),
        "patch_size": 16,
        "width": 768,
        "depth": 12,
        "mlp_width": 3072,
    }
    return ViTShape.model_validate({**base, **more})


BERT = TextShape(width=768, depth=12, mlp_width=3072, memory_width=768)
BERT_DECODER = DecoderShape(width=768, depth=12, mlp_width=3072, vocab_size=30524, memory_width=768)


def test_block_worked_by_hand() -> None:
    # Two tokens of width 3, MLP of 5. Query, key, value, output: 2 x 4 x 9 = 72. MLP: 2 x 2 x 15 = 60.
    # Scores and sums: 2 x (2 x 2 x 3) = 24.
    assert block_macs(2, 3, 5) == 72 + 60 + 24
    # Cross-attention to 7 tokens: query and output 2 x 2 x 9 = 36, scores and sums 2 x (2 x 7 x 3) = 84.
    assert block_macs(2, 3, 5, memory_tokens=7) == 156 + 36 + 84
    # Keys and values of 7 memory tokens of width 4: 2 x 7 x 4 x 3.
    assert memory_macs(7, 4, 3) == 168


def test_decoding_worked_by_hand() -> None:
    # Width 1, MLP 1: a block costs 4 + 2 a token, and 2 for each token attended to: 8, 10 and 12.
    # Three tokens, two blocks: 2 x 30. Vocabulary of 10: 3 x 10.
    assert decoding_macs(3, 1, 2, 1, 10) == 60 + 30
    assert decoding_macs(0, 8, 2, 16, 10) == 0


def test_pooling_worked_by_hand() -> None:
    # Five tokens of width 2, MLP 3: keys and values 40, query and output 8, scores and sums 20, MLP 12.
    assert attention_pool_macs(5, 2, 3) == 80


def test_patches_that_do_not_fill_are_dropped() -> None:
    assert patch_count((224, 224), 16) == 196
    assert patch_count((384, 512), 32) == 192
    assert patch_count((31, 64), 32) == 0


@pytest.mark.parametrize(
    ("shape", "giga_macs"),
    [
        # As printed by timm and torchvision, in multiply-adds, rounded by them.
        (vit(image_size=(224, 224), labels=1000), 17.6),
        (vit(labels=1000), 55.5),
        (vit(image_size=(224, 224), patch_size=32, labels=1000), 4.4),
    ],
)
def test_vision_transformers_against_known_counts(shape: ViTShape, giga_macs: float) -> None:
    assert shape.macs / 1e9 == pytest.approx(giga_macs, abs=0.05)


def test_resnet_50_against_its_known_count() -> None:
    macs = resnet_macs((224, 224), (3, 4, 6, 3), (256, 512, 1024, 2048), 64) + 2048 * 1000
    assert macs / 1e9 == pytest.approx(4.09, abs=0.005)


def test_resnet_worked_by_hand() -> None:
    # 8x8 -> stem 4x4 (16 x 3 x 49 x 4) -> pooled 2x2; one block to 8 channels: 4 x (4x2 + 9x4 + 2x8 + 4x8).
    assert resnet_macs((8, 8), (1,), (8,), 4) == 16 * 147 * 4 + 4 * (8 + 36 + 16 + 32)
    # A second stage works its first 1x1 at the old size, the rest at half of it.
    second = 4 * 8 * 4 + 1 * (9 * 16 + 4 * 16 + 8 * 16)
    assert resnet_macs((8, 8), (1, 1), (8, 16), 4) == 16 * 147 * 4 + 4 * 92 + second


def test_blip_captioning_as_upop_counted_it() -> None:
    """UPop prints 65.7 GFLOPs, counted by fvcore: multiply-adds, of one photo at 384 px and one pass over a
    caption of 13 words, 15 tokens."""
    image = vit()
    text = 12 * block_macs(15, 768, 3072, memory_tokens=577) + 15 * 768 * 30524
    assert (image.macs + BERT_DECODER.memory(577) + text) / 1e9 == pytest.approx(65.7, abs=0.1)


def test_blip_answering_as_upop_counted_it() -> None:
    """UPop prints 186 GFLOPs: multiply-adds, of one photo at 480 px with 32 questions (padded to 14 tokens)
    and 47 answers (padded to 5) at once. One question about a photo at 384 px is a good third of that."""
    image = vit(image_size=(480, 480))
    questions = 32 * 12 * block_macs(14, 768, 3072, memory_tokens=901)
    answers = 47 * (12 * block_macs(5, 768, 3072, memory_tokens=14) + 5 * 768 * 30524)
    macs = image.macs + BERT_DECODER.memory(901) + BERT_DECODER.memory(14) + questions + answers
    assert macs / 1e9 == pytest.approx(186, rel=0.01)
    ours = Architecture(image=vit(), fusion=BERT, decoder=BERT_DECODER).answer_work()
    assert ours is not None
    assert ours.flops / 2 / macs == pytest.approx(0.35, abs=0.03)


def test_work_goes_with_the_parts_there_are() -> None:
    whole = Architecture(image=vit(), fusion=BERT, decoder=BERT_DECODER)
    caption, answer, embedding = whole.caption_work(), whole.answer_work(), whole.embedding_work()
    assert caption is not None and answer is not None and embedding is not None
    assert embedding == Work(2 * vit().macs)
    assert caption.stepwise_flops > answer.stepwise_flops > 0
    assert caption.flops == caption.parallel_flops + caption.stepwise_flops
    assert Architecture(text=BERT).caption_work() is None
    assert Architecture(image=vit()).answer_work() is None
    assert Architecture(decoder=BERT_DECODER).embedding_work() is None


def test_a_text_of_fixed_length_costs_its_length() -> None:
    padded = TextShape(width=8, depth=1, mlp_width=16, fixed_length=64)
    assert padded.macs(3) == padded.macs(64) == TextShape(width=8, depth=1, mlp_width=16).macs(64)
