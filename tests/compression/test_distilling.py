"""What the command fills into a recipe, and what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from seetell.bundle.store import Bundle
from seetell.core.errors import UsageError
from seetell.learning.compression.distilling import made_from, read_distilling
from seetell.learning.compression.settings import Distilling
from tests.compression.stand_ins import write_recipe


def test_student_teacher_and_place_are_filled_in(tiny_bundle: Bundle, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, init="runs/pruned", checkpoint={"dir": "runs/recovered", "keep": 5})
    recipe = read_distilling(
        Distilling(path, ("optimizer.lr=1e-3",)), tiny_bundle, tmp_path / "a b: c", tmp_path / "run"
    )
    assert recipe.init == str(tmp_path / "a b: c")
    assert recipe.teacher is not None and recipe.teacher.model == str(tiny_bundle.folder)
    assert recipe.checkpoint.dir == str(tmp_path / "run") and recipe.checkpoint.keep == 5
    assert recipe.optimizer.lr == 1e-3
    assert recipe.data_root == str(tmp_path)
    told = made_from(recipe, tiny_bundle)
    assert told["teacher"] == "the source" and str(tmp_path / "run") not in str(told)


def test_another_teacher_stands(tiny_bundle: Bundle, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, teacher="a/larger-one")
    recipe = read_distilling(Distilling(path), tiny_bundle, tmp_path / "pruned", tmp_path / "run")
    assert recipe.teacher is not None and recipe.teacher.model == "a/larger-one"
    path = write_recipe(tmp_path)
    wish = Distilling(path, ("teacher=another",))
    recipe = read_distilling(wish, tiny_bundle, tmp_path / "pruned", tmp_path / "run")
    assert recipe.teacher is not None and recipe.teacher.model == "another"


def test_learning_from_data_alone_needs_no_teacher(tiny_bundle: Bundle, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, objectives=[{"name": "contrastive"}])
    recipe = read_distilling(Distilling(path), tiny_bundle, tmp_path / "pruned", tmp_path / "run")
    assert recipe.teacher is None


def test_a_student_that_nothing_was_cut_from(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """The recipe may say what it is; else it is the model itself."""
    path = write_recipe(tmp_path)
    assert read_distilling(Distilling(path), tiny_bundle, None, tmp_path / "run").init == str(
        tiny_bundle.folder
    )
    path = write_recipe(tmp_path, init="another")
    assert read_distilling(Distilling(path), tiny_bundle, None, tmp_path / "run").init == "another"
    path = write_recipe(tmp_path, model={"shared_dim": 8})
    recipe = read_distilling(Distilling(path), tiny_bundle, None, tmp_path / "run")
    assert recipe.init is None and recipe.teacher is not None
    with pytest.raises(UsageError, match="what is taught is what --prune and --merge-tokens leave"):
        read_distilling(Distilling(path), tiny_bundle, tmp_path / "pruned", tmp_path / "run")
