"""The toy model behind the facade, and photos on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seetell.bundle.tokenizer import Tokenizer
from seetell.tasks.model import Model
from tests.runtime.toy import ToyEngine, make_manifest, make_tokenizer

MakeModel = Callable[..., Model]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return make_tokenizer()


@pytest.fixture
def make_model(tokenizer: Tokenizer) -> MakeModel:
    """``make_model(engine=None, policy=None, batch_size=None, without=(), **manifest_fields)``."""

    def make(
        engine: ToyEngine | None = None,
        *,
        policy: Any = None,
        batch_size: int | None = None,
        without: tuple[str, ...] = (),
        **changes: Any,
    ) -> Model:
        engine = engine or ToyEngine(tokenizer.vocab_size, without=without)
        return Model(
            make_manifest(engine, **changes), tokenizer, engine, policy=policy, batch_size=batch_size
        )

    return make


@pytest.fixture
def model(make_model: MakeModel) -> Model:
    return make_model()


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Twelve photos, no two alike."""
    draw = np.random.default_rng(0)
    paths = []
    for number in range(12):
        patches = draw.integers(0, 256, size=(2, 2, 3), dtype=np.uint8)
        path = tmp_path / f"photo{number:02}.png"
        Image.fromarray(patches.repeat(12, axis=0).repeat(16, axis=1)).save(path)
        paths.append(path)
    return paths
