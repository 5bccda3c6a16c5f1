"""Configurations with nonsense in them: an error that names the folder, and nothing else, whatever it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seetell.core.errors import SeetellError
from seetell.modeling.checkpoints.public import read_family
from seetell.modeling.checkpoints.registry import family_of
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import load_model
from tests.parity.test_check_checkpoint import MAKERS

ODD: tuple[Any, ...] = (None, 0, -1, 1.5, "7", [], {}, True, 10**30)
# Under what settings the numbers of parts stand.
PARTS = ("text_config", "vision_config", "encoder", "decoder")


def places(config: dict[str, Any]) -> list[tuple[str, ...]]:
    """Every setting, those of the parts too."""
    found: list[tuple[str, ...]] = [(key,) for key in config]
    found += [(part, key) for part in PARTS if isinstance(config.get(part), dict) for key in config[part]]
    return found


def changed(config: dict[str, Any], place: tuple[str, ...], value: Any) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(config))
    inner = copy
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
def test_nonsense_is_an_error_of_ours_or_harmless(kind: str, tmp_path: Path) -> None:
    MAKERS[kind][0](tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    refusals: list[tuple[tuple[str, ...], Any, str]] = []
    for place in places(config):
        for value in ODD:
            path.write_text(json.dumps(changed(config, place, value)), encoding="utf-8")
            try:
                read_family(tmp_path, False)
                checkpoint = CheckpointFolder(tmp_path)
                load_model(checkpoint, family_of(checkpoint))
            except SeetellError as error:
                refusals.append((place, value, str(error)))
    assert len(refusals) > len(ODD), "nothing was refused, so nothing was tried"
    assert [one for one in refusals if str(tmp_path) not in one[2] or "\n" in one[2]] == []
