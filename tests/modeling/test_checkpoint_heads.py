"""A head's numbers are read as they were taught, or refused by name; no setting that changes them is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.families import open_clip, timm_resnet
from seetell.modeling.checkpoints.heads import head_score
from seetell.modeling.checkpoints.registry import family_of
from tests.parity.checkpoint_files import folder_without_weights


@pytest.mark.parametrize(
    "told", [{}, {"problem_type": None}, {"problem_type": "single_label_classification"}]
)
def test_one_of_several_labels(told: dict[str, Any], tmp_path: Path) -> None:
    assert head_score(folder_without_weights(tmp_path, {"model_type": "vit", **told}), 3) is None


@pytest.mark.parametrize("outputs", [1, 3])
def test_labels_that_are_true_each_by_itself(outputs: int, tmp_path: Path) -> None:
    folder = folder_without_weights(
        tmp_path, {"model_type": "vit", "problem_type": "multi_label_classification"}
    )
    score = head_score(folder, outputs)
    assert score is not None and score.heads == "sigmoid"


@pytest.mark.parametrize(
    ("told", "outputs", "words"),
    [
        ({"problem_type": "regression"}, 1, "quantities .*regression"),
        ({"problem_type": "regression"}, 3, "quantities .*regression"),
        ({"problem_type": "ordinal"}, 3, "problem_type is 'ordinal'"),
        # transformers teaches it a quantity; the share of one output among itself is always 1.
        ({}, 1, "one output, a quantity"),
        ({"problem_type": "single_label_classification"}, 1, "one output, a quantity"),
    ],
)
def test_what_is_no_probability_is_refused(
    told: dict[str, Any], outputs: int, words: str, tmp_path: Path
) -> None:
    folder = folder_without_weights(tmp_path, {"model_type": "vit", **told})
    with pytest.raises(CheckpointError, match=words) as caught:
        head_score(folder, outputs)
    assert str(tmp_path) in str(caught.value)
    assert head_score(folder, 0) is None


@pytest.mark.parametrize("pooling", ["max", "avgmax", "catavgmax", "token"])
def test_timm_heads_that_pool_otherwise(pooling: str, tmp_path: Path) -> None:
    settings = {"architecture": "resnet50", "input_size": [3, 224, 224]}
    with pytest.raises(ValueError, match=f"global_pool '{pooling}'"):
        timm_resnet.check_pooling(folder_without_weights(tmp_path, {**settings, "global_pool": pooling}))
    for usual in ("avg", "", None):
        timm_resnet.check_pooling(folder_without_weights(tmp_path, {**settings, "global_pool": usual}))


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"auto_map": {"AutoConfig": "a.B", "AutoModel": "a.C"}}, "code of its own .*auto_map"),
        ({"quantization_config": {"load_in_8bit": True}}, "quantised .*quantization_config"),
    ],
)
def test_another_model_under_a_known_name(told: dict[str, Any], words: str, tmp_path: Path) -> None:
    for kind in ("bert", "clip", "gpt2", "vit"):
        with pytest.raises(CheckpointError, match=words):
            family_of(folder_without_weights(tmp_path, {"model_type": kind, **told}))


def test_a_processor_with_code_of_its_own_is_no_model(tmp_path: Path) -> None:
    told = {"model_type": "bert", "auto_map": {"AutoProcessor": "a.B"}, "quantization_config": None}
    assert family_of(folder_without_weights(tmp_path, told)).name == "bert"


@pytest.mark.parametrize("key", ["multimodal_cfg", "init_logit_bias"])
def test_open_clip_models_of_other_kinds(key: str, tmp_path: Path) -> None:
    told = {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {}, "custom_text": True, key: -10.0}
    folder = folder_without_weights(
        tmp_path,
        {"model_cfg": told},
        config_name="open_clip_config.json",
        weights_name="open_clip_model.safetensors",
    )
    with pytest.raises(ValueError, match=f"model_cfg has {key}"):
        open_clip.FAMILIES[0].build(folder)
