"""Half-way between two models, where there is a way."""

from __future__ import annotations

from pathlib import Path

import pytest

from seetell.core.errors import UsageError
from seetell.modeling.export.interpolation import towards_start


def test_blocks_that_began_as_others_are_not_averaged(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("init: some/model\ninit_layers: even\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"by init_layers in .* blocks began as others of some/model"):
        towards_start(tmp_path, 0.5)
