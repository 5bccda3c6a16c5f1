"""The unified model: every fusion over every image encoder, and what its parts share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from seetell.modeling.models.config import (
    EfficientNetConfig,
    FusionConfig,
    HybridConfig,
    ResNetConfig,
    SentenceConfig,
    TextConfig,
    UnifiedConfig,
    ViTConfig,
)
from seetell.modeling.models.unified import UnifiedModel, masked_mean
from seetell.modeling.parts.placed import PooledProjection

Shake = Callable[[nn.Module], nn.Module]

IMAGES = {
    "vit": ViTConfig(patch_size=8, embed_dim=12, depth=2, num_heads=2),
    "resnet": ResNetConfig(depths=(1, 1), channels=(8, 12), stem_channels=8),
    "hybrid": HybridConfig(
        depths=(1, 1), channels=(8, 12), stem_channels=8, embed_dim=16, depth=1, num_heads=2
    ),
    "efficientnet": EfficientNetConfig(width=0.25, depth=0.5, embed_dim=12, layers=1, num_heads=2),
}
FUSIONS = ("cross_attention", "co_attention", "gated", "projection")


def _config(image: str = "hybrid", fusion: str = "cross_attention", **changes: int) -> UnifiedConfig:
    return UnifiedConfig.model_validate(
        {
            "image": IMAGES[image],
            "text": TextConfig(vocab_size=30, context_length=12, embed_dim=16, depth=2, num_heads=2),
            "fusion": {"kind": fusion, "depth": 2, "num_heads": 2},
            "image_size": (32, 32),
            "shared_dim": 10,
            "num_answers": 5,
            "num_labels": 3,
            **changes,
        }
    )


def _model(shaken: Shake, config: UnifiedConfig) -> UnifiedModel:
    made = shaken(UnifiedModel(config))
    assert isinstance(made, UnifiedModel)
    return made


IDS = torch.tensor([[1, 11, 12, 3], [1, 15, 3, 0]])
MASK = torch.tensor([[True] * 4, [True] * 3 + [False]])


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("image", sorted(IMAGES))
def test_every_fusion_works_over_every_encoder(image: str, fusion: str, shaken: Shake) -> None:
    model = _model(shaken, _config(image, fusion))
    seen = model.encode_image(torch.randn(2, 3, 32, 32))
    tokens = {"vit": 17, "efficientnet": 1}.get(image, 16)
    assert seen.tokens.shape == (2, tokens, 16)
    assert seen.pooled.shape == (2, 16)
    torch.testing.assert_close(seen.embeds.norm(dim=-1), torch.ones(2))
    text = model.encode_text(IDS, MASK)
    assert text.tokens.shape == (2, 4, 16)
    assert text.embeds.shape == (2, 10)
    fused = model.fuse(text.tokens, MASK, seen.tokens, seen.mask)
    assert model.match_logits(fused).shape == (2, 2)
    assert model.answer_logits(fused).shape == (2, 5)
    assert model.token_logits(fused).shape == (2, 4, 30)
    assert model.label_logits(seen).shape == (2, 3)
    hidden, caches = model.decode(IDS, MASK, model.memory(seen.tokens), seen.mask)
    assert hidden.shape == (2, 4, 16)
    assert len(caches) == 4  # two blocks of the trunk, two above


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_gradient_reaches_every_parameter(
    fusion: str, shaken: Shake, untouched: Callable[[nn.Module, Tensor], list[str]]
) -> None:
    model = _model(shaken, _config("hybrid", fusion))
    seen = model.encode_image(torch.randn(2, 3, 32, 32))
    text = model.encode_text(IDS, MASK)
    fused = model.fuse(text.tokens, MASK, seen.tokens, seen.mask)
    hidden, _ = model.decode(IDS, MASK, model.memory(seen.tokens), seen.mask)
    outputs = [
        seen.embeds @ text.embeds.T * model.logit_scale.exp(),
        model.match_logits(fused),
        model.answer_logits(fused),
        model.token_logits(hidden),
        model.label_logits(seen),
    ]
    assert untouched(model, torch.cat([one.flatten() for one in outputs])) == []


@pytest.mark.parametrize("fusion", FUSIONS)
def test_cached_decoding_equals_one_pass_for_rows_of_different_length(fusion: str, shaken: Shake) -> None:
    model = _model(shaken, _config("hybrid", fusion))
    seen = model.encode_image(torch.randn(2, 3, 32, 32))
    memory = model.memory(seen.tokens)
    ids = torch.cat([torch.zeros(2, 1, dtype=torch.long), IDS], dim=1)
    mask = torch.tensor([[False] + [True] * 4, [True] * 5])  # padded on the left, as prompts are
    whole, _ = model.decode(ids, mask, memory, seen.mask)
    past = None
    for place in range(5):
        one, past = model.decode(ids[:, place : place + 1], mask[:, : place + 1], memory, seen.mask, past)
        rows = mask[:, place]
        torch.testing.assert_close(one[rows, 0], whole[rows, place], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            model.token_logits(one[rows, 0]), model.token_logits(whole[rows, place]), atol=1e-5, rtol=1e-5
        )


def test_memory_at_hand_saves_work_and_changes_nothing(shaken: Shake) -> None:
    for fusion in FUSIONS:
        model = _model(shaken, _config("hybrid", fusion))
        seen = model.encode_image(torch.randn(2, 3, 32, 32))
        text = model.encode_text(IDS, MASK)
        arguments = (text.tokens, MASK, seen.tokens, seen.mask)
        assert torch.equal(model.fuse(*arguments, model.memory(seen.tokens)), model.fuse(*arguments))


def test_the_decoder_reads_fused_questions_as_it_reads_images(shaken: Shake) -> None:
    model = _model(shaken, _config())
    seen = model.encode_image(torch.randn(2, 3, 32, 32))
    fused = model.fuse(model.encode_text(IDS, MASK).tokens, MASK, seen.tokens, seen.mask)
    start = torch.tensor([[7], [7]])
    on = torch.ones_like(start, dtype=torch.bool)
    hidden, _ = model.decode(start, on, model.memory(fused), MASK)
    disturbed = fused.clone()
    disturbed[1, 3] += 5  # padding of the shorter question
    same, _ = model.decode(start, on, model.memory(disturbed), MASK)
    torch.testing.assert_close(same, hidden)


@pytest.mark.parametrize("side", ["left", "right"])
def test_text_embeds_do_not_depend_on_padding(side: str, shaken: Shake) -> None:
    model = _model(shaken, _config())
    alone = model.encode_text(IDS[:1], MASK[:1]).embeds
    pad, off = torch.full((1, 4), 9), torch.zeros(1, 4, dtype=torch.bool)
    ids = torch.cat([pad, IDS[:1]] if side == "left" else [IDS[:1], pad], dim=1)
    mask = torch.cat([off, MASK[:1]] if side == "left" else [MASK[:1], off], dim=1)
    torch.testing.assert_close(model.encode_text(ids, mask).embeds, alone, atol=1e-5, rtol=1e-5)


def test_masked_mean() -> None:
    tokens = torch.tensor([[[1.0], [3.0], [100.0]], [[5.0], [6.0], [7.0]]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert masked_mean(tokens, mask).tolist() == [[2.0], [0.0]]


def test_words_out_share_the_matrix_of_words_in(shaken: Shake) -> None:
    model = _model(shaken, _config())
    x = torch.randn(3, 16)
    expected = F.linear(model.token_transform(x), model.text_embedding.tokens.weight, model.token_bias)
    assert torch.equal(model.token_logits(x), expected)
    assert sum(p.shape == (30, 16) for p in model.parameters()) == 1


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_config_alone_rebuilds_the_model(fusion: str, shaken: Shake) -> None:
    model = _model(shaken, _config("resnet", fusion))
    text = model.config.model_dump_json()
    again = UnifiedModel(UnifiedConfig.model_validate_json(text)).eval()
    again.load_state_dict(model.state_dict(), strict=True)
    pixels = torch.randn(1, 3, 32, 32)
    assert torch.equal(again.encode_image(pixels).embeds, model.encode_image(pixels).embeds)


def test_only_cross_attention_shares_its_weights_with_the_decoder() -> None:
    for fusion in FUSIONS:
        model = UnifiedModel(_config("vit", fusion))
        assert (model.decoder is None) is (fusion == "cross_attention")
        assert (model.grounded is model.fusion) is (fusion == "cross_attention")


def test_a_head_of_size_0_is_not_built_and_says_so() -> None:
    model = UnifiedModel(_config("vit", num_answers=0, num_labels=0))
    assert not [name for name, _ in model.named_parameters() if name.startswith(("answer", "label"))]
    with pytest.raises(ValueError, match="num_answers is 0"):
        model.answer_logits(torch.zeros(1, 2, 16))
    with pytest.raises(ValueError, match="num_labels is 0"):
        model.label_logits(model.encode_image(torch.zeros(1, 3, 32, 32)))


def test_a_config_refuses_what_it_does_not_know_and_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        FusionConfig.model_validate({"kind": "gated", "head_count": 2})
    with pytest.raises(ValidationError, match="kind"):
        FusionConfig.model_validate({"kind": "mixture"})
    config = _config()
    with pytest.raises(ValidationError, match="frozen"):
        config.shared_dim = 3


def test_bf16_autocast_stays_close_and_embeds_stay_float32(shaken: Shake) -> None:
    model = _model(shaken, _config())
    pixels = torch.randn(2, 3, 32, 32)
    exact = model.encode_image(pixels)
    with torch.autocast("cpu", torch.bfloat16):
        near = model.encode_image(pixels)
        text = model.encode_text(IDS, MASK)
        fused = model.fuse(text.tokens, MASK, near.tokens, near.mask)
    assert near.embeds.dtype == torch.float32
    assert text.embeds.dtype == torch.float32
    assert fused.isfinite().all()
    assert F.cosine_similarity(near.embeds, exact.embeds).min() > 0.99


def test_a_photo_in_a_letterbox_is_seen_without_what_lies_beside_it(shaken: Shake) -> None:
    model = _model(shaken, _config("efficientnet", image_size=(64, 64), letterbox=True))
    pixels, mask = torch.randn(1, 3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[:, :32] = True
    found = model.encode_image(pixels, mask)
    assert found.mask.tolist() == [[True, True, False, False]]
    maps = model.image_encoder.net.forward_stages(pixels)[-1]
    other = maps.clone()
    other[:, :, 1] = 5.0
    cells = mask[:, ::32, ::32]
    one, two = model.encode_maps(maps, cells), model.encode_maps(other, cells)
    torch.testing.assert_close(one.embeds, found.embeds)
    torch.testing.assert_close(one.embeds, two.embeds)
    torch.testing.assert_close(one.pooled, two.pooled)


def test_a_letterbox_needs_an_encoder_that_takes_a_mask() -> None:
    with pytest.raises(ValidationError, match="takes no mask"):
        _config("hybrid", letterbox=True)


def test_a_bag_of_words_adds_the_mean_of_its_table(shaken: Shake) -> None:
    plain = _config()
    text = plain.text.model_copy(update={"bag_dim": 6})
    model = _model(shaken, plain.model_copy(update={"text": text}))
    assert model.bag is not None
    with torch.no_grad():
        model.text_projection.weight.zero_()
    found = model.encode_text(IDS, MASK).embeds
    words = model.bag(IDS)
    mean = torch.stack([words[0].mean(dim=0), words[1, :3].mean(dim=0)])
    torch.testing.assert_close(found, F.normalize(model.bag_projection(mean), dim=-1))
    # The order of words is the transformer's business alone.
    turned = torch.tensor([[1, 12, 11, 3], [1, 15, 3, 0]])
    torch.testing.assert_close(model.encode_text(turned, MASK).embeds, found)


def test_a_sentence_encoder_makes_the_vector_and_nothing_else(shaken: Shake) -> None:
    plain = _config()
    own = SentenceConfig(embed_dim=8, depth=1, num_heads=2)
    text = plain.text.model_copy(update={"bag_dim": 6, "sentence": own})
    model = _model(shaken, plain.model_copy(update={"text": text}))
    assert model.bag is not None and model.sentence is not None
    found = model.encode_text(IDS, MASK)
    read = model.text_norm(model.sentence(IDS, MASK))
    vectors = torch.stack(
        [
            model.text_projection(read[row, :length].mean(dim=0))
            + model.bag_projection(model.bag(IDS)[row, :length].mean(dim=0))
            for row, length in ((0, 4), (1, 3))
        ]
    )
    torch.testing.assert_close(found.embeds, F.normalize(vectors, dim=-1))
    turned = torch.tensor([[1, 12, 11, 3], [1, 15, 3, 0]])
    assert (model.encode_text(turned, MASK).embeds - found.embeds).abs().max() > 1e-3
    # Alone, without a longer text beside it; and captions and answers read nothing of it.
    alone = model.encode_text(IDS[1:, :3], MASK[1:, :3])
    torch.testing.assert_close(alone.embeds, found.embeds[1:])
    with torch.no_grad():
        model.sentence.embedding.tokens.weight.add_(1.0)
    torch.testing.assert_close(model.encode_text(IDS, MASK).tokens, found.tokens)


def test_in_training_the_bag_alone_does_without_some_words(shaken: Shake) -> None:
    plain = _config()
    own = SentenceConfig(embed_dim=8, depth=1, num_heads=2)
    text = plain.text.model_copy(update={"bag_dim": 6, "sentence": own})
    model = _model(shaken, plain.model_copy(update={"text": text}))
    ids, mask = IDS.repeat(50, 1), MASK.repeat(50, 1)
    whole = model.encode_text(ids, mask).embeds
    model.drop_words = 0.5
    torch.testing.assert_close(model.encode_text(ids, mask).embeds, whole)  # not in training
    model.train()
    changed = (model.encode_text(ids, mask).embeds - whole).abs().amax(dim=1) > 1e-4
    assert 0.5 < changed.float().mean() < 1
    with torch.no_grad():
        model.bag_projection.weight.zero_()
    sentences_alone = model.encode_text(ids, mask).embeds
    model.eval()
    torch.testing.assert_close(model.encode_text(ids, mask).embeds, sentences_alone)


def test_quarters_of_a_photo_are_read_by_one_matrix_and_told_apart_by_place(shaken: Shake) -> None:
    model = _model(shaken, _config("efficientnet", image_size=(64, 64), quarter_dim=7))
    assert isinstance(model.image_projection, PooledProjection)
    whole, *quarters = torch.randn(5, 2, 1280).unbind()
    read = [quarter @ model.image_projection.quarter.weight.T for quarter in quarters]
    expected = whole @ model.image_projection.whole.weight.T
    for place, one in enumerate(read):
        expected = expected + one @ model.image_projection.quarters.weight[:, 7 * place : 7 * place + 7].T
    found = model.image_projection(torch.cat([whole, *quarters], dim=1))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    turned = model.image_projection(torch.cat([whole, *reversed(quarters)], dim=1))
    assert (turned - found).abs().max() > 1e-2


def test_quarters_are_of_a_placed_network(shaken: Shake) -> None:
    with pytest.raises(ValidationError, match="has no quarters"):
        _config("hybrid", quarter_dim=7)


def test_configurations_without_the_new_parts_are_written_as_before() -> None:
    told = _config().model_dump()
    assert not {"letterbox", "quarter_dim"} & told.keys()
    assert not {"bag_dim", "sentence"} & told["text"].keys()
    assert UnifiedConfig.model_validate(told) == _config()
