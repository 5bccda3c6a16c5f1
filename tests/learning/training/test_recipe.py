"""Recipes: every fault is one line that names its key, and overrides are typed by the schema."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from seetell.core.errors import RecipeError
from seetell.learning.training.recipe import Recipe, parse_recipe, read_recipe

BASE: dict[str, Any] = {
    "model": {"image": {"kind": "vit", "depth": 2}},
    "data": [{"format": "coco_captions", "path": "set", "batch_size": 4}],
    "objectives": [{"name": "contrastive"}],
    "steps": 10,
    "checkpoint": {"dir": "runs/x"},
}
RECIPES = Path(__file__).resolve().parents[3] / "recipes"
# Tables of words are no recipes.
SHIPPED = sorted(path for path in RECIPES.rglob("*.yaml") if path.parent.name != "words")


def changed(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(BASE), **changes}


def written(folder: Path, document: object) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def test_defaults_are_filled_in() -> None:
    recipe = parse_recipe(BASE, "here")
    assert (recipe.precision, recipe.accumulate, recipe.largest_size) == ("auto", 1, 128)
    assert recipe.data[0].tasks == ("caption",)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_recipes_are_valid_and_name_no_machine(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.batch_sizes()
    assert recipe.precision != "bf16", "which is slow where it is only listed"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert not Path(document.get("data_root", ".")).is_absolute()
    assert not any(Path(source["path"]).is_absolute() for source in document["data"])


def test_there_are_shipped_recipes() -> None:
    assert {"model.yaml", "scenes.yaml"} <= {path.name for path in SHIPPED}


def test_each_stage_of_the_builtin_model_starts_from_the_one_before() -> None:
    folder = RECIPES / "builtin"
    stages = {path.stem: read_recipe(path) for path in SHIPPED if path.parent == folder}
    script = (folder / "all.sh").read_text(encoding="utf-8")
    lines = [line.replace("$work", "runs/builtin") for line in script.replace("\\\n", " ").splitlines()]
    made: list[str] = []
    begun: list[tuple[str, str | None]] = []
    taught = {"self_critical"}  # what `captioning` teaches, judged otherwise
    for line in lines:
        if train := re.match(r'seetell train "\$here/(\w+)\.yaml"', line):
            stage = stages[train[1]]
            given = dict(re.findall(r'([\w.]+)="?([^"\s]+)"?', line[train.end() :]))
            begins = given.get("init", stage.init)
            if not made:
                assert begins is None and stage.init_image is not None
                taught |= {spec.name for spec in stage.objectives}
            # From the one before, or from where it began the first time.
            assert begins == (made or [None])[-1] or (train[1], begins) in begun
            # What was taught before stays, or its captions and answers would have to be taught again.
            assert {spec.name for spec in stage.objectives} <= taught
            begun.append((train[1], begins))
            made.append(given.get("checkpoint.dir", str(stage.checkpoint.dir)))
        elif (convert := re.search(r'seetell convert "(\S+)" "(\S+)"', line)) and convert[1] in made:
            made.append(convert[2])
        elif (made_by := re.search(r'sentences\.py" "(\S+)" .* "(\S+)"\s+"\S+"$', line)) and made_by[
            1
        ] in made:
            made.append(made_by[2])
    assert {name for name, _ in begun} == stages.keys()
    assert [name for name, _ in begun].count("tell") == 2


SOURCE = BASE["data"][0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"colour": 1}, "colour: no such key"),
        ({"optimizer": {"learning_rate": 1}}, "optimizer.learning_rate: no such key"),
        ({"optimizer": {"lr": "fast"}}, "optimizer.lr"),
        ({"optimizer": {"lr": -1}}, "optimizer.lr"),
        ({"optimizer": {"lr": True}}, "optimizer.lr: is not a yes-or-no setting"),
        ({"optimizer": 5}, "optimizer"),
        ({"model": {"image": {"kind": "vit", "layers": 3}}}, "image.vit.layers: no such key"),
        ({"model": {"image": {"kind": "swin"}}}, "image"),
        ({"data": []}, "data"),
        ({"data": [{"format": "csv", "path": "x", "batch_size": 1}]}, "data.0.format"),
        ({"data": [{**SOURCE, "task": "classify"}]}, "cannot teach 'classify'"),
        (
            {"data": [{**SOURCE, "holdout": {"last_fraction": 0.1}}]},
            "holdout belongs to the formats vqa and imagefolder",
        ),
        (
            {"data": [{**SOURCE, "augment": {"scale": [0.9, 0.5]}}]},
            "data.0.augment: scale is [smallest, largest]",
        ),
        (
            {"data": [{"format": "vqa", "path": "x", "batch_size": 1, "holdout": {"modulo": 3}}]},
            "data.0.holdout",
        ),
        ({"data": [{"format": "coco_captions", "path": "x"}]}, "batch_size"),
        ({"objectives": [{"name": "magic"}]}, "objectives.0.name"),
        ({"objectives": [{"name": "contrastive"}] * 2}, "objectives: an objective is listed twice"),
        ({"objectives": [{"name": "answer_list"}]}, "no source in data serves the objective answer_list"),
        (
            {"objectives": [{"name": "contrastive", "share": 0.5}]},
            "share serves captioning, distil_captioning,",
        ),
        (
            {"objectives": [{"name": "matching", "label_smoothing": 0.1}]},
            "label_smoothing serves answer_list, answer_text,",
        ),
        ({"epochs": 3}, "either epochs or steps"),
        ({"steps": None}, "either epochs or steps"),
        ({"steps": 2.5}, "steps"),
        ({"precision": "fp16"}, "precision"),
        ({"resolution": [{"until": 0.5, "size": 64}]}, "resolution: stages end"),
        ({"resolution": [{"until": 1.0, "size": 65}]}, "resolution.0.size"),
        ({"validate": {"every": 5, "patience": 2}}, "validate: patience needs stop_on"),
        ({"validation": {"every": 5}}, "validation: no such key"),
        ({"schedule": {"warmup_steps": 1, "warmup_fraction": 0.1}}, "not both"),
        ({"checkpoint": {}}, "checkpoint.dir"),
        ({"std": [0.5, 0.0, 0.5]}, "std must be positive"),
        ({"tokenizer": {"context_length": 999}}, "tokenizer.context_length 999"),
    ],
)
def test_a_fault_is_one_line_naming_the_key(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(changed(**changes), "here.yaml")
    message = str(caught.value)
    assert message.startswith("here.yaml: ")
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize("content", ["", "- a", "a: [", "a: b: c", "\t:", "!!python/object:os.system x"])
def test_what_is_no_recipe_is_a_recipe_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(RecipeError, match=r"recipe\.yaml") as caught:
        read_recipe(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(tmp_path / "missing.yaml")


def test_overrides_reach_everywhere_with_their_types(tmp_path: Path) -> None:
    recipe = read_recipe(
        written(tmp_path, BASE),
        [
            "optimizer.lr=1e-5",
            "optimizer.betas=[0.5, 0.6]",
            "data.0.path=other",
            "data.0.augment.flip=false",
            "model.image.depth=3",
            "ema=null",
            "checkpoint.dir=a=b",
            "seed=7",
        ],
    )
    assert recipe.optimizer.lr == 1e-5
    assert recipe.optimizer.betas == (0.5, 0.6)
    assert (recipe.data[0].path, recipe.data[0].augment.flip) == ("other", False)
    assert recipe.model == {"image": {"kind": "vit", "depth": 3}}
    assert (recipe.ema, recipe.checkpoint.dir, recipe.seed) == (None, "a=b", 7)


def test_overriding_one_of_two_ways_replaces_the_other(tmp_path: Path) -> None:
    path = written(tmp_path, changed(schedule={"warmup_steps": 3}))
    recipe = read_recipe(path, ["epochs=2", "schedule.warmup_fraction=0.2"])
    assert (recipe.epochs, recipe.steps) == (2, None)
    assert (recipe.schedule.warmup_steps, recipe.schedule.warmup_fraction) == (None, 0.2)
    assert read_recipe(path, ["epochs=2", "steps=3"]).steps == 3


@pytest.mark.parametrize(
    "override",
    [
        "optimizer.lr",
        "=3",
        ".=3",
        "data.7.path=x",
        "data.first.path=x",
        "steps.more=1",
        "seed=[",
        "optimizer.lr=yes",
        "nothing.here=1",
        "data.0.augment.flip=maybe",
    ],
)
def test_wrong_overrides_are_one_line(tmp_path: Path, override: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe(written(tmp_path, BASE), [override])
    assert "\n" not in str(caught.value)


def test_the_data_root_is_the_recipes_folder_its_own_the_environments_or_the_overrides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, BASE)
    assert read_recipe(path).data_root == str(tmp_path)
    path = written(tmp_path, changed(data_root="sets"))
    assert read_recipe(path).data_root == str(tmp_path / "sets")
    monkeypatch.setenv("SEETELL_DATA", str(tmp_path / "elsewhere"))
    assert read_recipe(path).data_root == str(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert read_recipe(path, ["data_root=mine"]).data_root == str(tmp_path / "mine")


def test_photos_are_shared_out_by_weight_after_the_fixed_numbers() -> None:
    sources = [
        {"format": "coco_captions", "path": "x", **more} for more in ({"batch_size": 10}, {"weight": 3.0}, {})
    ]
    recipe = parse_recipe(changed(data=sources, batch_size=50), "here")
    assert recipe.batch_sizes() == (10, 30, 10)
    assert parse_recipe(changed(data=sources, batch_size=5), "here").batch_sizes() == (10, 1, 1)


def test_resolution_follows_progress() -> None:
    stages = [{"until": 0.5, "size": 64}, {"until": 1.0, "size": 128}]
    recipe = parse_recipe(changed(resolution=stages), "here")
    assert [recipe.size_at(progress) for progress in (0.0, 0.49, 0.5, 0.99, 1.0)] == [64, 64, 128, 128, 128]


def test_a_recipe_written_out_reads_back_the_same() -> None:
    recipe = parse_recipe(changed(validate={"every": 5}), "here")
    again = parse_recipe(
        yaml.safe_load(yaml.safe_dump(recipe.model_dump(mode="json", by_alias=True))), "here"
    )
    assert again == recipe
    assert isinstance(again, Recipe)
