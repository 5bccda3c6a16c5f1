"""The benchmark of training compares the same model with itself, and counts what a step does."""

from __future__ import annotations

import torch
from benchmarks.training_speed import HEADS, WIDTH, PlainModel, batch, build, losses_differ_by, operations

from seetell.learning.training.dual_encoder_step import DualEncoderStep
from seetell.learning.training.objective_spec import ObjectiveSpec


def test_the_plain_model_is_ours() -> None:
    model = build(image_depth=2, text_depth=2)
    with torch.no_grad():
        # Off their first values, so that no part could be left out unseen.
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    one = batch(0, 6)
    assert losses_differ_by(model, one) < 1e-4
    plain = PlainModel(model)
    plain(one).backward()
    DualEncoderStep(model, ObjectiveSpec(name="contrastive"))(one)["loss"].backward()
    torch.testing.assert_close(
        plain.patches.weight.grad, model.image_encoder.patch_embed.weight.grad, atol=1e-5, rtol=1e-3
    )
    torch.testing.assert_close(
        plain.words.weight.grad, model.text_embedding.tokens.weight.grad, atol=1e-5, rtol=1e-3
    )


def test_operations_are_those_of_the_products() -> None:
    model = build(image_depth=1, text_depth=1)
    one = batch(0, 4)
    plain = operations(lambda: PlainModel(model)(one))
    ours = operations(lambda: DualEncoderStep(model, ObjectiveSpec(name="contrastive"))(one)["loss"])
    tokens, length = 50, one.captions.ids.shape[1]
    products = (
        sum(rows * (12 * WIDTH**2 + 2 * rows * WIDTH) * 4 for rows in (tokens, length))
        + 4 * (tokens - 1) * 3 * 16**2 * WIDTH
    )
    # Forward and both gradients; pixels and the temperature ask for less than a hundredth.
    assert abs(plain / (6 * products) - 1) < 0.05
    assert ours < plain
    assert WIDTH % HEADS == 0
