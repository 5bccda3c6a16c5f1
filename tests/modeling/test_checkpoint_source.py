"""Reading public checkpoints from folders: every layout, every way to be broken, and no more memory or trust
than needed."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from seetell.core.errors import BundleNotFound, CheckpointError, PickleRefused, SeetellError
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.weight_files import WeightInfo

TENSORS = {
    "text.weight": torch.arange(12, dtype=torch.float32).reshape(3, 4),
    "text.bias": torch.tensor([1.5, -2.0], dtype=torch.float16),
    "vision.scale": torch.tensor(2.5, dtype=torch.bfloat16),
    "vision.position_ids": torch.arange(5),
    "empty": torch.zeros(0, 7),
}
INFOS = {name: WeightInfo(tuple(one.shape), one.dtype) for name, one in TENSORS.items()}
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = "model.safetensors.index.json"


def make(folder: Path, weights: dict[str, Any] | None = None, **documents: object) -> Path:
    """A transformers checkpoint: ``weights`` in model.safetensors, and ``documents``, JSON files by stem."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, document in {"config": {"model_type": "clip"}, **documents}.items():
        (folder / f"{stem}.json").write_text(json.dumps(document))
    save_file(TENSORS if weights is None else weights, folder / "model.safetensors")
    return folder


def make_shards(folder: Path) -> Path:
    make(folder)
    (folder / "model.safetensors").unlink()
    parts = [dict(list(TENSORS.items())[:2]), dict(list(TENSORS.items())[2:])]
    for name, part in zip(SHARDS, parts, strict=True):
        save_file(part, folder / name)
    places = {name: shard for shard, part in zip(SHARDS, parts, strict=True) for name in part}
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return folder


def make_pickle(folder: Path, document: object = TENSORS, **options: Any) -> Path:
    make(folder)
    (folder / "model.safetensors").unlink()
    torch.save(document, folder / "pytorch_model.bin", **options)
    return folder


def check_weights(source: CheckpointFolder) -> None:
    assert source.weight_names() == INFOS
    for name, tensor in TENSORS.items():
        found = source.tensor(name)
        assert found.dtype == tensor.dtype
        assert torch.equal(found, tensor)


def refusal(
    action: Callable[[], object], kind: type[SeetellError] | tuple[type[SeetellError], ...] = CheckpointError
) -> str:
    with pytest.raises(kind) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    assert "\x1b" not in message
    assert len(message) < 600
    return message


# --- layouts --------------------------------------------------------------------------------------------


def test_one_file(tmp_path: Path) -> None:
    source = CheckpointFolder(make(tmp_path))
    assert source.layout == "transformers"
    assert source.config == {"model_type": "clip"}
    assert source.preprocessor is None
    assert source.generation == {}
    assert source.tokenizer_files == ()
    assert source.weight_files == (tmp_path / "model.safetensors",)
    check_weights(source)


def test_shards(tmp_path: Path) -> None:
    source = CheckpointFolder(make_shards(tmp_path))
    assert source.weight_files == tuple(tmp_path / name for name in SHARDS)
    check_weights(source)


def test_shards_without_an_index(tmp_path: Path) -> None:
    make_shards(tmp_path)
    (tmp_path / INDEX).unlink()
    check_weights(CheckpointFolder(tmp_path))


def test_files_may_be_links_as_in_the_hubs_cache(tmp_path: Path) -> None:
    blobs = make_shards(tmp_path / "blobs")
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(path)
    check_weights(CheckpointFolder(snapshot))


def test_open_clip(tmp_path: Path) -> None:
    config = {"model_cfg": {"embed_dim": 8}, "preprocess_cfg": {"mean": [0.5]}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    save_file(TENSORS, tmp_path / "open_clip_model.safetensors")
    source = CheckpointFolder(tmp_path)
    assert source.layout == "open_clip"
    assert source.config == config
    check_weights(source)


@pytest.mark.parametrize("pretrained", [{}, {"pretrained_cfg": {"input_size": [3, 224, 224]}}])
def test_timm(tmp_path: Path, pretrained: dict[str, Any]) -> None:
    config = {"architecture": "vit_tiny_patch16_224", "num_classes": 10, **pretrained}
    source = CheckpointFolder(make(tmp_path, config=config))
    assert source.layout == "timm"
    assert source.config == config


def test_transformers_own_wrapping_of_timm_is_transformers(tmp_path: Path) -> None:
    config = {"model_type": "timm_wrapper", "architecture": "vit_tiny_patch16_224"}
    assert CheckpointFolder(make(tmp_path, config=config)).layout == "transformers"


def test_tokenizer_and_generation(tmp_path: Path) -> None:
    make(tmp_path, tokenizer={}, vocab={}, generation_config={"max_length": 20}, other={})
    (tmp_path / "merges.txt").write_text("")
    source = CheckpointFolder(tmp_path)
    assert {path.name for path in source.tokenizer_files} == {"tokenizer.json", "vocab.json", "merges.txt"}
    assert all(path.is_file() for path in source.tokenizer_files)
    assert source.generation == {"max_length": 20}


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ({"preprocessor_config": {"size": 1}}, {"size": 1}),
        ({"processor_config": {"image_processor": {"size": 2}, "x": 1}}, {"size": 2}),
        # As transformers 5 chooses where both are there.
        (
            {"preprocessor_config": {"size": 1}, "processor_config": {"image_processor": {"size": 2}}},
            {"size": 2},
        ),
        (
            {"preprocessor_config": {"size": 1}, "processor_config": {"processor_class": "CLIPProcessor"}},
            {"size": 1},
        ),
        ({"processor_config": {"processor_class": "CLIPProcessor"}}, None),
    ],
)
def test_preprocessor(tmp_path: Path, documents: dict[str, Any], expected: dict[str, Any] | None) -> None:
    assert CheckpointFolder(make(tmp_path, **documents)).preprocessor == expected


def test_reads_what_transformers_writes(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**sizes, "vocab_size": 20},
        vision_config={**sizes, "image_size": 8, "patch_size": 4},
        projection_dim=4,
    )
    model = transformers.CLIPModel(config)
    model.save_pretrained(tmp_path, max_shard_size=2000)
    transformers.CLIPImageProcessorPil(size={"shortest_edge": 8}).save_pretrained(tmp_path)
    source = CheckpointFolder(tmp_path)
    assert len(source.weight_files) > 1
    assert source.layout == "transformers"
    assert source.config["model_type"] == "clip"
    assert source.preprocessor is not None
    assert source.preprocessor["size"] == {"shortest_edge": 8}
    state = model.state_dict()
    names = source.weight_names()
    assert "visual_projection.weight" in names
    for name in names:
        assert torch.equal(source.tensor(name), state[name])


# --- weights --------------------------------------------------------------------------------------------


def test_an_unknown_name_and_its_neighbour(tmp_path: Path) -> None:
    source = CheckpointFolder(make(tmp_path))
    message = refusal(lambda: source.tensor("text.weigth"))
    assert "no weight text.weigth" in message
    assert "text.weight" in message.partition("nearest")[2]
    assert "nearest" not in refusal(lambda: source.tensor("\U0001f600"))


def test_changing_a_tensor_changes_no_file(tmp_path: Path) -> None:
    make(tmp_path)
    make_pickle(tmp_path / "pickle")
    for folder, name in ((tmp_path, "model.safetensors"), (tmp_path / "pickle", "pytorch_model.bin")):
        before = (folder / name).read_bytes()
        CheckpointFolder(folder, allow_pickle=True).tensor("text.weight").zero_()
        assert (folder / name).read_bytes() == before


def test_a_tensor_outlives_its_source(tmp_path: Path) -> None:
    tensor = CheckpointFolder(make(tmp_path)).tensor("text.weight")
    (tmp_path / "model.safetensors").unlink()
    assert torch.equal(tensor, TENSORS["text.weight"])


def test_weights_are_mapped_not_loaded(tmp_path: Path) -> None:
    """All tensors of large files are read, in a process of its own. Pages of a mapped file are counted apart
    from the process's own memory: the system takes them back when it needs to."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc")
    large = {f"w{i}": torch.zeros(8, 1 << 20) for i in range(3)}  # 96 MB
    make(tmp_path / "safetensors", weights=large)
    make_pickle(tmp_path / "pickle", large)
    code = f"""
from pathlib import Path
from seetell.modeling.checkpoints.source import CheckpointFolder
def own_kb():
    lines = Path('/proc/self/status').read_text().splitlines()
    return int(next(line for line in lines if line.startswith('RssAnon')).split()[1])
for kind in ('safetensors', 'pickle'):
    before = own_kb()
    source = CheckpointFolder(Path({str(tmp_path)!r}) / kind, allow_pickle=True)
    assert len(source.weight_names()) == 3
    assert sum(float(source.tensor(name).sum()) for name in source.weight_names()) == 0
    print(own_kb() - before)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    grown_kb = [int(line) for line in done.stdout.split()]
    assert max(grown_kb) < 30_000


# --- broken files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[1]", b'"text"', b"null", b"\xff\xfe\x00", b"[" * 100_000, b'{"a": 1}x', b"\x00" * 50],
)
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "generation_config.json"])
def test_json_that_is_none(tmp_path: Path, name: str, data: bytes) -> None:
    make(tmp_path)
    (tmp_path / name).write_bytes(data)

    def read() -> object:
        source = CheckpointFolder(tmp_path)
        return source.preprocessor, source.generation

    assert name in refusal(read)


def test_a_nested_preprocessor_of_the_wrong_kind(tmp_path: Path) -> None:
    source = CheckpointFolder(make(tmp_path, processor_config={"image_processor": [1]}))
    assert "image_processor" in refusal(lambda: source.preprocessor)


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    assert "no config.json" in refusal(lambda: CheckpointFolder(tmp_path), BundleNotFound)
    refusal(lambda: CheckpointFolder(tmp_path / "missing"), BundleNotFound)
    (tmp_path / "file").write_text("")
    refusal(lambda: CheckpointFolder(tmp_path / "file"), BundleNotFound)
    (tmp_path / "config.json").write_text("{}")
    assert "no weights" in refusal(lambda: CheckpointFolder(tmp_path), BundleNotFound)
    (tmp_path / "model.safetensors").mkdir()
    assert "no weights" in refusal(lambda: CheckpointFolder(tmp_path), BundleNotFound)
    (tmp_path / "model.safetensors").rmdir()
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "gone")
    assert "no weights" in refusal(lambda: CheckpointFolder(tmp_path), BundleNotFound)


SAFETENSORS = save(TENSORS)
HEADER_LENGTH = 8 + int.from_bytes(SAFETENSORS[:8], "little")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("checkpoint"))


@given(st.integers(0, len(SAFETENSORS) - 1))
def test_safetensors_cut_off_anywhere(folder: Path, length: int) -> None:
    (folder / "model.safetensors").write_bytes(SAFETENSORS[:length])
    source = CheckpointFolder(folder)
    assert "model.safetensors: cut off" in refusal(source.weight_names)
    assert "model.safetensors: cut off" in refusal(lambda: source.tensor("text.weight"))


@pytest.mark.parametrize("length", [0, 1, 7, 8, HEADER_LENGTH - 1, HEADER_LENGTH, len(SAFETENSORS) - 1])
def test_safetensors_cut_off_at_the_seams(folder: Path, length: int) -> None:
    (folder / "model.safetensors").write_bytes(SAFETENSORS[:length])
    refusal(CheckpointFolder(folder).weight_names)


@given(st.lists(st.tuples(st.integers(0, HEADER_LENGTH - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_safetensors_with_a_damaged_header(folder: Path, changes: list[tuple[int, int]]) -> None:
    """Read as something else, or refused as damaged; nothing in between."""
    data = bytearray(SAFETENSORS)
    for place, value in changes:
        data[place] = value
    (folder / "model.safetensors").write_bytes(data)
    source = CheckpointFolder(folder)
    try:
        infos = source.weight_names()
        for name, info in infos.items():
            tensor = source.tensor(name)
            assert (tuple(tensor.shape), tensor.dtype) == (info.shape, info.dtype)
    except CheckpointError:
        return


def test_a_dtype_that_torch_does_not_compute_with(tmp_path: Path) -> None:
    make(tmp_path)
    header = json.dumps({"odd": {"dtype": "F8_E8M0", "shape": [2], "data_offsets": [0, 2]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"ab")
    message = refusal(CheckpointFolder(tmp_path).weight_names)
    assert "odd" in message
    assert "F8_E8M0" in message


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("shard", SHARDS)
def test_a_shard_missing_or_cut_off_is_named(tmp_path: Path, shard: str, index: bool) -> None:
    make_shards(tmp_path)
    if not index:
        (tmp_path / INDEX).unlink()
    good = (tmp_path / shard).read_bytes()
    (tmp_path / shard).write_bytes(good[:-1])
    assert f"{shard}: cut off" in refusal(CheckpointFolder(tmp_path).weight_names)
    (tmp_path / shard).unlink()
    source = CheckpointFolder(tmp_path)
    assert f"{shard}: missing" in refusal(source.weight_names)
    assert f"{shard}: missing" in refusal(lambda: source.tensor("text.weight"))


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"weight_map": []},
        {"weight_map": {"a": 1}},
        {"weight_map": {"a": ["b"]}},
        {"weight_map": None},
    ],
)
def test_an_index_that_is_none(tmp_path: Path, document: object) -> None:
    make_shards(tmp_path)
    (tmp_path / INDEX).write_text(json.dumps(document))
    assert INDEX in refusal(CheckpointFolder(tmp_path).weight_names)


def test_an_index_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    make_shards(tmp_path / "c")
    secret = tmp_path / "secret.safetensors"
    save_file({"a": torch.ones(1)}, secret)
    for name in ("../secret.safetensors", str(secret)):
        (tmp_path / "c" / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
        assert "missing" in refusal(CheckpointFolder(tmp_path / "c").weight_names)


def test_an_index_and_shards_that_disagree(tmp_path: Path) -> None:
    make_shards(tmp_path)
    document = json.loads((tmp_path / INDEX).read_text())
    document["weight_map"]["text.weight"] = SHARDS[1]
    (tmp_path / INDEX).write_text(json.dumps(document))
    message = refusal(CheckpointFolder(tmp_path).weight_names)
    assert "no text.weight in it" in message
    assert SHARDS[1] in message


def test_shards_that_hold_the_same(tmp_path: Path) -> None:
    make_shards(tmp_path)
    (tmp_path / INDEX).unlink()
    save_file(TENSORS, tmp_path / SHARDS[1])
    assert "text." in refusal(CheckpointFolder(tmp_path).weight_names)


# --- pickles --------------------------------------------------------------------------------------------


class Malicious:
    """Unpickled without care, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_refused_with_the_command(tmp_path: Path) -> None:
    message = refusal(lambda: CheckpointFolder(make_pickle(tmp_path)), PickleRefused)
    assert "can run code" in message
    assert f"seetell convert {tmp_path} OUT --allow-pickle" in message


@pytest.mark.parametrize("archive", [True, False])
def test_a_pickle_when_allowed(tmp_path: Path, archive: bool) -> None:
    make_pickle(tmp_path, _use_new_zipfile_serialization=archive)
    check_weights(CheckpointFolder(tmp_path, allow_pickle=True))


def test_parameters_come_out_as_plain_tensors(tmp_path: Path) -> None:
    make_pickle(tmp_path, {"w": torch.nn.Parameter(torch.ones(2))})
    found = CheckpointFolder(tmp_path, allow_pickle=True).tensor("w")
    assert not found.requires_grad
    assert torch.equal(found, torch.ones(2))


def test_pickled_shards(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    places = {}
    for number, (name, tensor) in enumerate(TENSORS.items(), 1):
        shard = f"pytorch_model-0000{number}-of-00005.bin"
        torch.save({name: tensor}, tmp_path / shard)
        places[name] = shard
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    check_weights(CheckpointFolder(tmp_path, allow_pickle=True))


@pytest.mark.parametrize("way", ["torch", "old torch", "plain pickle"])
def test_a_malicious_pickle_is_refused_even_when_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    # torch's own switch to trust everything must not reach in here.
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    trap = tmp_path / "sprung"
    document = {"text.weight": torch.ones(1), "evil": Malicious(trap)}
    if way == "plain pickle":
        make_pickle(tmp_path)
        (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"evil": Malicious(trap)}, protocol=2))
    else:
        make_pickle(tmp_path, document, _use_new_zipfile_serialization=way == "torch")
    source = CheckpointFolder(tmp_path, allow_pickle=True)
    for action in (source.weight_names, lambda: source.tensor("text.weight")):
        message = refusal(action, PickleRefused)
        assert "mkdir" in message
        assert "weights_only" not in message
        assert not trap.exists()
    with suppress(RuntimeError):  # a plain pickle is sprung before torch finds that it is not its own
        torch.load(tmp_path / "pytorch_model.bin", weights_only=False)
    assert trap.exists(), "the trap works, so its not being sprung meant something"


@pytest.mark.parametrize(
    "document",
    [TENSORS["text.weight"], [1], {"epoch": 3}, {"state_dict": TENSORS}, {1: TENSORS["text.weight"]}, None],
)
def test_a_pickle_of_something_else(tmp_path: Path, document: object) -> None:
    source = CheckpointFolder(make_pickle(tmp_path, document), allow_pickle=True)
    assert "state_dict" in refusal(source.weight_names)


def pickled(folder: Path, archive: bool) -> bytes:
    make_pickle(folder, _use_new_zipfile_serialization=archive)
    return (folder / "pytorch_model.bin").read_bytes()


@pytest.fixture(scope="module")
def pickles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, bytes]:
    folder = tmp_path_factory.mktemp("pickles")
    return folder, pickled(folder, True), pickled(folder, False)


@given(st.floats(0, 1, exclude_max=True), st.booleans())
def test_pickles_cut_off_anywhere(pickles: tuple[Path, bytes, bytes], part: float, archive: bool) -> None:
    folder, new, old = pickles
    data = new if archive else old
    (folder / "pytorch_model.bin").write_bytes(data[: int(part * len(data))])
    # A name of torch's own that was cut off is refused as one it does not know.
    kinds = CheckpointError if archive else (CheckpointError, PickleRefused)
    assert "pytorch_model.bin" in refusal(CheckpointFolder(folder, allow_pickle=True).weight_names, kinds)


@given(st.binary(max_size=200))
def test_a_pickle_of_nonsense(pickles: tuple[Path, bytes, bytes], data: bytes) -> None:
    folder = pickles[0]
    (folder / "pytorch_model.bin").write_bytes(data)
    refusal(CheckpointFolder(folder, allow_pickle=True).weight_names, (CheckpointError, PickleRefused))
