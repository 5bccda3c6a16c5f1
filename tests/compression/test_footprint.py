"""Time is taken of one photo, one text and one step of a caption, whatever the check set holds."""

from __future__ import annotations

from seetell.bundle.check import read_check
from seetell.bundle.store import Bundle
from seetell.learning.compression.footprint import Footprint, of_one
from seetell.runtime.select import choose_engine


def test_inputs_are_of_one_and_of_usual_length(tiny_bundle: Bundle) -> None:
    manifest = tiny_bundle.manifest
    tokens = manifest.graphs["image_encoder"].outputs["image_tokens"].axes[1]
    engine = choose_engine(tiny_bundle, precision="fp32", device="cpu")
    shapes = {}
    for role, recorded in read_check(tiny_bundle).items():
        inputs = of_one(manifest, role, recorded.inputs)
        assert all(value.shape[0] == 1 for value in inputs.values()), role
        assert all(value.dtype == recorded.inputs[name].dtype for name, value in inputs.items())
        engine.run(role, inputs)
        shapes |= {f"{role}.{name}": value.shape for name, value in inputs.items()}
    engine.close()
    assert shapes["text_encoder.input_ids"] == (1, 10)
    assert shapes["fusion_encoder.image_tokens"][1] == shapes["decoder_memory.memory_tokens"][1] == tokens
    assert shapes["text_decoder.input_ids"] == (1, 1)
    assert shapes["text_decoder.attention_mask"] == (1, 8), "seven words are there already"
    assert shapes["text_decoder.memory_mask"] == (1, tokens)


def test_time_in_all() -> None:
    assert Footprint({"image_encoder": 2.0, "text_decoder": 0.5}, 80.0).total_ms == 2.5
