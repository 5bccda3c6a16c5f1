"""Arithmetic counted from graphs against the same graphs worked by hand and by the closed formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seetell.bundle.architecture import ANSWER_TOKENS, CAPTION_TOKENS, QUESTION_TOKENS
from seetell.bundle.flops import block_macs
from seetell.bundle.manifest import Manifest
from seetell.bundle.store import Bundle
from seetell.core.errors import BundleDamaged, EngineError
from seetell.runtime.graph_flops import bundle_work, count_flops
from seetell.runtime.openvino_engine import import_openvino

WIDTH, HEADS, MLP, WORDS = 8, 2, 16, 11
RANDOM = np.random.default_rng(0)


def constant(*shape: int) -> Any:
    """No two alike: OpenVINO works equal products out once."""
    from openvino import opset13

    return opset13.constant(RANDOM.normal(size=shape).astype(np.float32))


def save(folder: Path, role: str, model: Any) -> str:
    import_openvino().save_model(model, str(folder / f"{role}.xml"), compress_to_fp16=False)
    return f"{role}.xml"


def spec(dtype: str, *axes: str | int) -> dict[str, Any]:
    return {"dtype": dtype, "axes": axes}


def image_encoder() -> Any:
    from openvino import opset13 as ops

    pixels = ops.parameter([-1, 3, 8, 8], np.float32)
    grown = ops.convolution(pixels, constant(WIDTH, 3, 2, 2), [2, 2], [0, 0], [0, 0], [1, 1])
    apart = ops.group_convolution(grown, constant(WIDTH, 1, 1, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1])
    tokens = ops.transpose(ops.reshape(apart, ops.constant([0, 0, -1]), True), ops.constant([0, 2, 1]))
    return import_openvino().Model([tokens], [pixels])


def block() -> Any:
    """One transformer block without norms, attention as one operation, then words."""
    from openvino import opset13 as ops

    tokens = ops.parameter([-1, -1, WIDTH], np.float32)

    def heads(x: Any) -> Any:
        split = ops.reshape(x, ops.constant([0, 0, HEADS, WIDTH // HEADS]), True)
        return ops.transpose(split, ops.constant([0, 2, 1, 3]))

    # Both ways round, as exporters write them: stored [out, in] and [in, out].
    query = ops.matmul(tokens, constant(WIDTH, WIDTH), False, True)
    key = ops.matmul(tokens, constant(WIDTH, WIDTH), False, False)
    value = ops.matmul(tokens, constant(WIDTH, WIDTH), False, True)
    seen = ops.scaled_dot_product_attention(heads(query), heads(key), heads(value))
    flat = ops.reshape(ops.transpose(seen, ops.constant([0, 2, 1, 3])), ops.constant([0, 0, WIDTH]), True)
    out = ops.matmul(flat, constant(WIDTH, WIDTH), False, True)
    grown = ops.matmul(out, constant(MLP, WIDTH), False, True)
    back = ops.matmul(grown, constant(WIDTH, MLP), False, True)
    words = ops.matmul(back, constant(WORDS, WIDTH), False, True)
    return import_openvino().Model([words], [tokens])


def memory() -> Any:
    from openvino import opset13 as ops

    tokens = ops.parameter([-1, -1, WIDTH], np.float32)
    return import_openvino().Model([ops.matmul(tokens, constant(WIDTH, WIDTH), False, True)], [tokens])


def decoder() -> Any:
    """Words, and attention of T tokens to P + T: enough to tell whether the lengths arrive."""
    from openvino import opset13 as ops

    tokens = ops.parameter([-1, -1, WIDTH], np.float32)
    past = ops.parameter([-1, -1, WIDTH], np.float32)
    scores = ops.matmul(tokens, ops.concat([past, tokens], 1), False, True)
    words = ops.matmul(tokens, constant(WIDTH, WORDS), False, False)
    return import_openvino().Model([scores, words], [tokens, past])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("graphs")
    graphs: dict[str, Any] = {
        "image_encoder": (image_encoder(), [spec("float32", "B", 3, 8, 8)]),
        "fusion_encoder": (block(), [spec("float32", "B", "T", WIDTH)]),
        "decoder_memory": (memory(), [spec("float32", "B", "N", WIDTH)]),
        "text_decoder": (
            decoder(),
            [spec("float32", "B", "T", WIDTH), spec("float32", "B", "P", WIDTH)],
        ),
    }
    roles = {}
    for role, (model, axes) in graphs.items():
        inputs = {}
        for number, (parameter, one) in enumerate(zip(model.inputs, axes, strict=True)):
            parameter.get_tensor().set_names({f"{role}_{number}"})
            inputs[f"{role}_{number}"] = one
        roles[role] = {"files": {"fp32": save(folder, role, model)}, "inputs": inputs, "outputs": {}}
    roles["image_encoder"]["outputs"] = {"image_tokens": spec("float32", "B", 16, WIDTH)}
    document = {
        "name": "x",
        "family": "x",
        "version": "1",
        "config": {},
        "tasks": ["embed", "caption", "ask"],
        "graphs": roles,
        "licence": "x",
    }
    return Bundle(folder, Manifest.model_validate(document))


IMAGE = 16 * WIDTH * 3 * 4 + 16 * WIDTH * 9
MEMORY = WIDTH * WIDTH


def step(past: int) -> int:
    return (past + 1) * WIDTH + WIDTH * WORDS


def test_convolutions_worked_by_hand(bundle: Bundle) -> None:
    assert count_flops(bundle, "image_encoder", {"B": 1}) == 2 * IMAGE
    assert count_flops(bundle, "image_encoder", {"B": 3}) == 6 * IMAGE


def test_a_graph_in_int8_alone_is_counted(bundle: Bundle) -> None:
    graphs = dict(bundle.manifest.graphs)
    encoder = graphs["image_encoder"]
    graphs["image_encoder"] = encoder.model_copy(update={"files": {"int8": encoder.files["fp32"]}})
    alone = Bundle(bundle.folder, bundle.manifest.model_copy(update={"graphs": graphs}))
    assert count_flops(alone, "image_encoder", {"B": 1}) == 2 * IMAGE


@pytest.mark.parametrize("tokens", [1, 5])
def test_a_block_counts_as_the_formula_has_it(bundle: Bundle, tokens: int) -> None:
    counted = count_flops(bundle, "fusion_encoder", {"B": 1, "T": tokens, "N": 16})
    assert counted == 2 * (block_macs(tokens, WIDTH, MLP) + tokens * WIDTH * WORDS)


def test_a_cache_of_any_length_is_counted(bundle: Bundle) -> None:
    for past in (0, 6):
        counted = count_flops(bundle, "text_decoder", {"B": 1, "T": 1, "P": past, "N": 16})
        assert counted == 2 * step(past)


def test_work_of_each_purpose(bundle: Bundle) -> None:
    search, caption, ask = (bundle_work(bundle, purpose) for purpose in ("search", "caption", "ask"))
    assert search is not None and caption is not None and ask is not None
    assert search.flops == 2 * IMAGE
    assert caption.parallel_flops == 2 * (IMAGE + 16 * MEMORY)
    assert caption.stepwise_flops == 2 * CAPTION_TOKENS * step(CAPTION_TOKENS // 2)
    question = block_macs(QUESTION_TOKENS, WIDTH, MLP) + QUESTION_TOKENS * WIDTH * WORDS
    assert ask.parallel_flops == 2 * (IMAGE + question + QUESTION_TOKENS * MEMORY)
    assert ask.stepwise_flops == 2 * ANSWER_TOKENS * step(ANSWER_TOKENS // 2)


def test_a_closed_list_of_answers_is_not_written(bundle: Bundle) -> None:
    chooses = Bundle(bundle.folder, bundle.manifest.model_copy(update={"answers": ("yes", "no")}))
    work = bundle_work(chooses, "ask")
    assert work is not None
    assert work.stepwise_flops == 0


@pytest.mark.parametrize(
    ("missing", "purpose"),
    [("image_encoder", "search"), ("decoder_memory", "caption"), ("fusion_encoder", "ask")],
)
def test_a_bundle_without_the_roles_has_no_work(bundle: Bundle, missing: str, purpose: Any) -> None:
    graphs = {role: graph for role, graph in bundle.manifest.graphs.items() if role != missing}
    assert (
        bundle_work(Bundle(bundle.folder, bundle.manifest.model_copy(update={"graphs": graphs})), purpose)
        is None
    )


def test_a_length_nobody_gave_is_an_error(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="axis T"):
        count_flops(bundle, "fusion_encoder", {"B": 1})


def test_a_graph_that_cannot_be_read_is_an_error(bundle: Bundle, tmp_path: Path) -> None:
    other = Bundle(tmp_path, bundle.manifest)
    with pytest.raises(BundleDamaged, match="missing"):
        count_flops(other, "image_encoder", {"B": 1})
    (tmp_path / "image_encoder.xml").write_text("nonsense")
    with pytest.raises(EngineError, match=r"image_encoder \(image_encoder\.xml\) cannot be counted"):
        count_flops(other, "image_encoder", {"B": 1})
