"""docs/add-a-family.md followed to the letter: its table file is put in place, and its own test is run."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import seetell
from seetell.modeling.checkpoints import families
from seetell.modeling.checkpoints.registry import known_families
from seetell.modeling.export.public import convert_checkpoint
from tests.parity.checkpoints_with_words import photos

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "add-a-family.md").read_text(encoding="utf-8")
NAME = "vit_msn"


def block_after(sentence: str) -> str:
    """The first block of Python after a sentence of the page."""
    found = re.search(r"^```python\n(.*?)^```$", PAGE[PAGE.index(sentence) :], re.M | re.S)
    assert found is not None
    return found[1]


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The family of the page, as a file among the others."""
    assert NAME not in {one.name for one in known_families()}, "it is there already; the page needs another"
    folder = tmp_path / "families"
    folder.mkdir()
    (folder / f"{NAME}.py").write_text(block_after("/families/vit_msn.py`:"), encoding="utf-8")
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(folder)])
    known_families.cache_clear()
    yield
    known_families.cache_clear()
    sys.modules.pop(f"{families.__name__}.{NAME}", None)


@pytest.fixture
def page_test() -> Any:
    module = ModuleType("page_test")
    exec(compile(block_after("`tests/parity/test_vit_msn.py`."), "add-a-family.md", "exec"), vars(module))
    return module


def test_the_test_of_the_page_passes(family: None, page_test: Any, tmp_path: Path) -> None:
    assert NAME in {one.name for one in known_families()}
    for shape in page_test.SHAPES:
        page_test.test_labels_and_tokens(shape, tmp_path / shape.replace(" ", "_"))
    page_test.test_the_bare_model(tmp_path / "bare")


def test_looking_at_a_checkpoint(
    page_test: Any, family: None, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    page_test.test_labels_and_tokens("three heads", tmp_path / "vit-msn")
    monkeypatch.chdir(tmp_path)
    exec(compile(block_after("## 1. Look at the checkpoint"), "add-a-family.md", "exec"), {})
    printed = capsys.readouterr().out
    assert '"model_type": "vit_msn"' in printed and "vit.layernorm.weight (24,) torch.float32" in printed


def test_the_table_is_in_good_style(tmp_path: Path) -> None:
    """It has to pass what a file of the package passes: imports in order, types, no line too long."""
    for name, sentence in (("table.py", "/families/vit_msn.py`:"), ("test.py", "test_vit_msn.py`.")):
        path = tmp_path / name
        path.write_text(block_after(sentence), encoding="utf-8")
        for command in (["check"], ["format", "--check"]):
            settings = ["--config", str(ROOT / "pyproject.toml")]
            done = subprocess.run(
                [sys.executable, "-m", "ruff", *command, *settings, str(path)],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_bundle_says_what_the_reference_says(family: None, page_test: Any, tmp_path: Path) -> None:
    from transformers import ViTMSNForImageClassification
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    folder, out = tmp_path / "checkpoint", tmp_path / "bundle"
    page_test.test_labels_and_tokens("three heads", folder)
    convert_checkpoint(folder, out, weights_dtype="fp32")
    reference = ViTMSNForImageClassification.from_pretrained(folder)
    prepare: Any = ViTImageProcessorPil.from_pretrained(folder)
    with seetell.load(out, precision="fp32", exact_decode=True) as model, torch.no_grad():
        assert set(model.tasks) == {"classify", "features"}
        found = model.classify(photos())
        inputs = prepare([Image.fromarray(one) for one in photos()], return_tensors="pt")
        expected = reference(**inputs).logits.softmax(dim=-1).numpy()
    for one, row in zip(found, expected, strict=True):
        told = {entry.label: entry.probability for entry in one.ranking}
        np.testing.assert_allclose([told[label] for label in ("cat", "dog", "boat")], row, atol=1e-4)
