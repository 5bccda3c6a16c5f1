"""Which files are chosen from a list of names: the shapes that real repositories have, and hostile ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.bundle.checkpoint_files import choose_files
from seetell.core.errors import BundleNotFound, CheckpointError, PickleRefused

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
PICKLED_SHARDS = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")


@pytest.mark.parametrize(
    ("names", "config", "weights", "index"),
    [
        (
            ["config.json", "model.safetensors", "pytorch_model.bin", "flax_model.msgpack"],
            "config.json",
            ("model.safetensors",),
            None,
        ),
        (
            ["config.json", *reversed(SHARDS), "model.safetensors.index.json", "pytorch_model.bin"],
            "config.json",
            SHARDS,
            "model.safetensors.index.json",
        ),
        # Merged and in shards: the merged one alone.
        (
            ["config.json", "model.safetensors", *SHARDS, "model.safetensors.index.json"],
            "config.json",
            ("model.safetensors",),
            None,
        ),
        # Another precision beside the main one.
        (
            ["config.json", "model.safetensors", "model.fp16.safetensors"],
            "config.json",
            ("model.safetensors",),
            None,
        ),
        # Both layouts: transformers' is taken where its weights are safe, else open_clip's.
        (
            ["config.json", "model.safetensors", "open_clip_config.json", "open_clip_model.safetensors"],
            "config.json",
            ("model.safetensors",),
            None,
        ),
        (
            ["config.json", "pytorch_model.bin", "open_clip_config.json", "open_clip_model.safetensors"],
            "open_clip_config.json",
            ("open_clip_model.safetensors",),
            None,
        ),
        (["config.json", "clip.safetensors"], "config.json", ("clip.safetensors",), None),
    ],
)
def test_safetensors(names: list[str], config: str, weights: tuple[str, ...], index: str | None) -> None:
    for allow_pickle in (False, True):
        found = choose_files(names, source="x", allow_pickle=allow_pickle)
        assert (found.config, found.weights, found.index) == (config, weights, index)
        assert not found.pickled
        assert found.missing_shards == ()


@pytest.mark.parametrize(
    ("names", "config", "weights", "index"),
    [
        (
            ["config.json", "pytorch_model.bin", "training_args.bin"],
            "config.json",
            ("pytorch_model.bin",),
            None,
        ),
        (
            ["config.json", *PICKLED_SHARDS, "pytorch_model.bin.index.json"],
            "config.json",
            PICKLED_SHARDS,
            "pytorch_model.bin.index.json",
        ),
        (
            ["open_clip_config.json", "open_clip_pytorch_model.bin", "optimizer.pt"],
            "open_clip_config.json",
            ("open_clip_pytorch_model.bin",),
            None,
        ),
        (["config.json", "optimizer.bin", "model.pth"], "config.json", ("model.pth",), None),
    ],
)
def test_pickles(names: list[str], config: str, weights: tuple[str, ...], index: str | None) -> None:
    found = choose_files(names, source="x", allow_pickle=True)
    assert (found.config, found.weights, found.index, found.pickled) == (config, weights, index, True)
    with pytest.raises(PickleRefused) as caught:
        choose_files(names, source="/a folder/x", revision="it's")
    command = str(caught.value).partition("from: ")[2]
    assert command == """seetell convert '/a folder/x' --revision 'it'"'"'s' OUT --allow-pickle"""


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "it holds nothing"),
        (["README.md", "a", "b", "c", "d"], "no config.json in it.*README.md, a, b, c and 1 more"),
        (["bundle.json", "model.safetensors"], "a bundle already"),
        (["config.json"], "no weights in it"),
        (["config.json", "a.safetensors", "b.safetensors"], "several files.*a.safetensors, b.safetensors"),
        (["config.json", *SHARDS, "model-00001-of-00003.safetensors"], "several sets"),
        (["config.json", "sub/model.safetensors", "..\\model.safetensors"], "no weights in it"),
    ],
)
def test_what_is_no_checkpoint(names: list[str], said: str) -> None:
    with pytest.raises(BundleNotFound, match=said):
        choose_files(names, source="x")


@pytest.mark.parametrize(
    "adapter",
    [
        ["adapter_config.json", "adapter_model.safetensors"],
        ["adapter_model.bin"],
        ["adapter_config.json"],
        ["pytorch_lora_weights.safetensors"],
    ],
)
@pytest.mark.parametrize("base", [["config.json", "model.safetensors"], ["config.json"], []])
def test_an_adapter_that_is_not_merged_is_refused(base: list[str], adapter: list[str]) -> None:
    """Beside base weights too, which would be answered with as if it were not there."""
    with pytest.raises(CheckpointError, match=r"^x: an adapter in it \(.*merge_and_unload") as caught:
        choose_files([*base, *adapter], source="x", allow_pickle=True)
    assert adapter[0] in str(caught.value)


def test_adapters_in_folders_of_their_own_are_other_models() -> None:
    names = ["config.json", "model.safetensors", "a/adapter_config.json", "a/adapter_model.safetensors"]
    assert choose_files(names, source="x").weights == ("model.safetensors",)


def test_how_a_sentence_encoder_pools_comes_along() -> None:
    names = ["config.json", "model.safetensors", "modules.json", "sentence_bert_config.json"]
    names += ["1_Pooling/config.json", "2_Dense/config.json", "onnx/config.json"]
    found = choose_files(names, source="x")
    assert found.small == ("1_Pooling/config.json", "modules.json", "sentence_bert_config.json")


def test_a_checkpoint_in_a_folder_within_is_named() -> None:
    """As sentence-transformers keeps its CLIP models."""
    names = ["modules.json", "README.md", "0_CLIPModel/config.json", "0_CLIPModel/model.safetensors"]
    with pytest.raises(BundleNotFound, match=r"there is one in 0_CLIPModel: name someone/clip/0_CLIPModel$"):
        choose_files(names, source="someone/clip")
    for odd in ("../config.json", "a/b/config.json", "\x1b/config.json"):
        with pytest.raises(BundleNotFound, match="it holds nothing"):
            choose_files([odd], source="x")


def test_names_cannot_write_to_the_terminal() -> None:
    with pytest.raises(BundleNotFound) as caught:
        choose_files(["a\nb", "\x1b[2J", "图"], source="x")
    assert str(caught.value).endswith("it holds ?[2J, a?b, 图")


def test_missing_shards_are_named() -> None:
    found = choose_files(["config.json", "model-00002-of-00003.safetensors"], source="x")
    assert found.missing_shards == ("model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors")


def test_weights_come_last() -> None:
    names = ["model.safetensors.index.json", *SHARDS, "vocab.txt", "config.json", "processor_config.json"]
    found = choose_files(names, source="x")
    assert set(found.names) == set(names)
    assert found.names[0] == "config.json"
    assert found.names[-2:] == SHARDS


NAMES = st.sampled_from(
    [
        "config.json",
        "open_clip_config.json",
        "model.safetensors",
        "open_clip_model.safetensors",
        *SHARDS,
        "model-00001-of-99999.safetensors",
        "model.safetensors.index.json",
        "other.safetensors",
        "pytorch_model.bin",
        *PICKLED_SHARDS,
        "open_clip_pytorch_model.bin",
        "other.pt",
        "adapter_model.safetensors",
        "optimizer.pt",
        "tokenizer.json",
        "bundle.json",
        "../config.json",
        "sub/model.safetensors",
    ]
)


@given(st.lists(st.one_of(NAMES, st.text(max_size=8)), unique=True, max_size=12), st.booleans())
def test_any_names(names: list[str], allow_pickle: bool) -> None:
    try:
        found = choose_files(names, source="x", allow_pickle=allow_pickle)
    except PickleRefused:
        assert not allow_pickle
        return
    except (BundleNotFound, CheckpointError):
        return
    assert set(found.names) <= set(names)
    assert len(set(found.names)) == len(found.names)
    assert not any("/" in name or "\\" in name for name in found.names)
    assert {name.endswith(".safetensors") for name in found.weights} == {not found.pickled}
    assert allow_pickle or not found.pickled
    assert "optimizer.pt" not in found.weights
    assert choose_files(reversed(names), source="x", allow_pickle=allow_pickle) == found
