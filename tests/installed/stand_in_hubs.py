"""Both hubs on this machine, with tiny checkpoints under the names that the documentation uses."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seetell.learning.tokenizer_training import built_in_text_spec, train_tokenizer
from seetell.media.preprocess import ImageSpec
from seetell.modeling.export.write_bundle import write_bundle
from seetell.modeling.facts import BundleFacts
from seetell.modeling.models.config import UnifiedConfig
from seetell.modeling.models.unified import UnifiedModel
from tests.bundle.stand_in_hub import StandInHub
from tests.bundle.stand_in_modelscope import StandInModelScope
from tests.export.conftest import shaken
from tests.installed.doc_data import PACKAGE
from tests.parity import test_efficientnet_lite
from tests.parity.test_check_checkpoint import KNOWN, MAKERS

NAMED = (
    "openai/clip-vit-base-patch32",
    "Salesforce/blip-image-captioning-base",
    "dandelin/vilt-b32-finetuned-vqa",
)


@contextmanager
def stand_in_hubs(folder: Path) -> Iterator[dict[str, str]]:
    """Gives the variables that lead to them. ``folder`` then holds the checkpoints, by what each is."""
    hub, modelscope = StandInHub(), StandInModelScope()
    for name in NAMED:
        made = folder / KNOWN[name]
        made.mkdir()
        MAKERS[KNOWN[name]][0](made)
        files = _files(made)
        hub.add(name, "1" * 40, files)
        hub.add(name, "1" * 40, files, branch="v1.0")
    modelscope.add("openai-mirror/clip-vit-base-patch32", "1" * 40, _files(folder / "clip"))
    for each in (hub, modelscope):
        each.add("our-team/clip", "2" * 40, _files(PACKAGE / "builtin"))
    (folder / "lite0").mkdir()
    test_efficientnet_lite.written(folder / "lite0", 0, pickled=True)
    write_model(folder / "ours")
    try:
        yield {"HF_ENDPOINT": hub.endpoint, "MODELSCOPE_ENDPOINT": modelscope.endpoint}
    finally:
        hub.close()
        modelscope.close()


def write_model(folder: Path) -> None:
    """A bundle of our own model that has everything to prune and to merge, unlike the built-in one."""
    text = {"vocab_size": 280, "context_length": 40, "embed_dim": 48, "depth": 2, "num_heads": 4}
    image = {"kind": "vit", "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 4}
    config = {"text": text, "image": image, "fusion": {"depth": 2, "num_heads": 4}, "shared_dim": 32}
    config |= {"image_size": [64, 64], "num_answers": 2}
    facts = BundleFacts(
        name="mine",
        licence="for tests",
        languages=("en", "zh"),
        image=ImageSpec(height=64, width=64),
        text=built_in_text_spec(40),
        answers=("yes", "no"),
    )
    words = train_tokenizer(["a cat", "a rocket takes off", "桌上有一杯咖啡"] * 3, 280).encode()
    model = shaken(UnifiedModel(UnifiedConfig.model_validate(config)))
    write_bundle(lambda: copy.deepcopy(model), words, folder, facts)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
