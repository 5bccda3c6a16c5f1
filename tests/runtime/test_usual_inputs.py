"""Sizes and inputs that graphs are usually given, for every role of the contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seetell.bundle.manifest import GraphSpec, Manifest, Role, TensorSpec, TextSpec
from seetell.bundle.store import Bundle
from seetell.core.errors import EngineError
from seetell.learning.tokenizer_training import built_in_text_spec
from seetell.media.preprocess import ImageSpec
from seetell.runtime import usual_inputs as module
from seetell.runtime.usual_inputs import heaviest_role, usual_inputs, usual_sizes
from tests.runtime.toy import CONTEXT, PATCHES, SIZE, ToyEngine, make_manifest

ROLES: tuple[Role, ...] = (
    "image_encoder",
    "text_encoder",
    "fusion_encoder",
    "decoder_memory",
    "text_decoder",
)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("batch", [1, 4])
def test_every_role_takes_them(role: Role, batch: int) -> None:
    engine = ToyEngine()
    inputs = usual_inputs(make_manifest(engine), role, batch)
    found = engine.run(role, inputs)
    assert all(len(value) == batch for value in found.values())
    assert all(np.isfinite(value).all() for value in found.values())


def test_sizes_are_those_of_a_photo_and_a_question() -> None:
    manifest = make_manifest(ToyEngine())
    assert usual_sizes(manifest, "fusion_encoder") == {"B": 1, "T": 10, "N": PATCHES}
    assert usual_sizes(manifest, "text_decoder", 4) == {"B": 4, "T": 1, "P": 7, "K": 1, "N": PATCHES}
    assert usual_inputs(manifest, "image_encoder", 4)["pixel_values"].shape == (4, 3, SIZE, SIZE)
    ids = usual_inputs(manifest, "text_encoder")["input_ids"]
    assert manifest.text is not None
    assert (ids == manifest.text.eos_id).all(), "a token that every vocabulary has"


def test_texts_that_are_always_padded_are_as_long_as_that() -> None:
    engine = ToyEngine()
    fixed = built_in_text_spec(CONTEXT).model_copy(update={"padding": "fixed"})
    assert usual_sizes(make_manifest(engine, text=fixed), "text_encoder")["T"] == CONTEXT
    short = TextSpec(context_length=3, eos_id=1, pad_id=0)
    assert usual_sizes(make_manifest(engine, text=short), "text_decoder")["P"] == 2


def one_role(**inputs: tuple[Any, ...]) -> Manifest:
    graph = GraphSpec(
        files={"fp32": "image_encoder.onnx"},
        inputs={
            name: TensorSpec.model_validate({"dtype": kind, "axes": axes})
            for name, (kind, *axes) in inputs.items()
        },
        outputs={},
    )
    image = ImageSpec(
        height=640, width=640, resize="shortest_edge_bounded", size=384, bound=640, multiple_of=32
    )
    return Manifest(
        name="one",
        family="none",
        version="1",
        config={},
        tasks=("features",),
        licence="none",
        image=image,
        graphs={"image_encoder": graph},
    )


def test_a_picture_of_the_photos_shape() -> None:
    manifest = one_role(
        pixel_values=("float32", "B", 3, "H", "W"), pixel_mask=("bool", "B", "H", "W"), more=("float32", "N")
    )
    found = usual_inputs(manifest, "image_encoder")
    assert found["pixel_values"].shape == (1, 3, 384, 512)
    assert found["pixel_mask"].all()
    assert found["more"].shape == (200,)


def test_an_axis_nobody_knows() -> None:
    with pytest.raises(EngineError, match="Q"):
        usual_inputs(one_role(pixel_values=("float32", "B", "Q")), "image_encoder")


def test_the_heaviest_counts_every_step_of_a_caption(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    bundle = Bundle(tmp_path, make_manifest(ToyEngine()))
    work = {"image_encoder": 100, "text_decoder": 9}

    def count_flops(_: Bundle, role: Role, sizes: Any) -> int:
        if role == "fusion_encoder":
            raise EngineError("cannot be counted")
        return work.get(role, 0)

    monkeypatch.setattr(module, "count_flops", count_flops)
    assert heaviest_role(bundle) == "text_decoder", "15 steps of 9"
    work["image_encoder"] = 200
    assert heaviest_role(bundle) == "image_encoder"


def test_the_heaviest_of_graphs_that_are_not_there(tmp_path: Any) -> None:
    assert heaviest_role(Bundle(tmp_path, make_manifest(ToyEngine()))) == "image_encoder", "the first"
