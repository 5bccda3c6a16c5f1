"""The promise: public names, commands and their options. A change here is a change of the interface."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import typer

SHARED = {"--model", "--precision", "--device", "--batch-size", "--threads", "--exact-decode", "--json"}
SHARED |= {"--quiet", "--base-url"}
REMOTE = SHARED | {"--photo-px", "--patience", "--prices"}
KEPT = {"--out", "--sheet"}

# command -> (arguments in order, options)
COMMANDS: dict[str, tuple[list[str], set[str]]] = {
    "demo": (["photos"], SHARED),
    "caption": (["photos"], REMOTE | KEPT | {"--language", "--beams", "--count", "--max-tokens", "--method"}),
    "ask": (["photo", "question"], REMOTE | KEPT | {"--questions", "--answers", "--top", "--min-confidence"}),
    "chat": (
        [],
        SHARED
        | {"--message", "--system", "--max-tokens", "--temperature", "--top-p", "--min-p", "--stop"}
        | {"--repetition-penalty", "--seed", "--logprobs"},
    ),
    "match": (["photo", "texts"], SHARED | {"--out"}),
    "classify": (["photos"], REMOTE | KEPT | {"--labels"}),
    "embed": (["photos"], SHARED | {"--text", "--out"}),
    "index": (
        ["folders"],
        SHARED | {"--index", "--caption", "--language", "--duplicates", "--check", "--remove", "--retry"},
    ),
    "search": (
        ["text"],
        SHARED
        | {"--in", "--image", "-k", "--where", "--hybrid", "--rerank", "--all-copies", "--sheet"}
        | {"--after", "--before", "--camera", "--min-probability"},
    ),
    "prepare": (
        ["source", "out"],
        {"--annotations", "--boilerplate", "--capfilt", "--caption-model"}
        | {"--device", "--format", "--images", "--json"}
        | {"--keep-fraction", "--keep-silent", "--languages", "--max-aspect"}
        | {"--max-repeats", "--max-words", "--min-contrast", "--min-edge"}
        | {"--min-score", "--min-words", "--near-distance", "--overwrite"}
        | {"--photo-column", "--precision", "--score-by", "--score-model"}
        | {"--shard-mb", "--shard-samples", "--text-column", "--val", "--workers"},
    ),
    "train": (["recipe", "overrides"], {"--data", "--from", "--teacher-outputs"}),
    "evaluate": (
        [],
        REMOTE
        | {"--captions", "--questions", "--annotations", "--images", "--labelled", "--label-names"}
        | {"--own-labels", "--pope", "--objects", "--yes-or-no", "--synonyms", "--language", "--holdout"}
        | {"--guesses"}
        | {"--limit", "--target-accuracy", "--report", "--record"},
    ),
    "compress": (
        ["model", "out"],
        {"--annotations", "--calibration", "--calibration-count", "--calibration-texts", "--captions"}
        | {"--holdout", "--images", "--json", "--labelled", "--language", "--limit", "--max-drop"}
        | {"--merge-tokens", "--overwrite", "--profile", "--prune", "--prune-layers"}
        | {"--prune-budget", "--prune-measure", "--quantize", "--question-images", "--questions"}
        | {"--distill", "--distill-set", "--report", "--work", "--keep-floats"},
    ),
    "convert": (
        ["checkpoint", "out"],
        {
            "--checkpoint",
            "--revision",
            "--offline",
            "--allow-pickle",
            "--average",
            "--overwrite",
            "--interpolate",
        },
    ),
    "serve": (
        [],
        SHARED
        | {"--host", "--port", "--api-key", "--index", "--photos", "--fetch", "--also", "--memory-mb"}
        | {"--streams", "--cors-origin", "--root-path", "--open"},
    ),
    "cache": (["model"], {"--clear", "--json"}),
    "doctor": (["model"], {"--json"}),
}
MODELS: dict[str, tuple[list[str], set[str]]] = {
    "list": ([], {"--json"}),
    "show": (["model"], {"--json"}),
    "pull": (["model"], set()),
    "remove": (["model"], set()),
    "recommend": (
        [],
        {"--task", "--language", "--memory-mb", "--latency-ms", "--measure", "--json"},
    ),
}
# Options without a variable: they end the program, or are no setting.
WITHOUT_VARIABLE = {"--help", "--version"}

PUBLIC = {
    "Alternative",
    "Answer",
    "Caption",
    "Classification",
    "Failure",
    "Features",
    "Fill",
    "GenerationOptions",
    "Hit",
    "Match",
    "Model",
    "PhotoIndex",
    "RankedLabel",
    "SeetellError",
    "load",
}


def commands(of: Any) -> dict[str, Any]:
    return dict(of.commands)


@pytest.fixture(scope="module")
def root() -> Any:
    from seetell.cli.app import app

    return typer.main.get_command(app)


def surface(command: Any) -> tuple[list[str], set[str]]:
    arguments = [p.name for p in command.params if p.param_type_name == "argument"]
    options = {name for p in command.params if p.param_type_name == "option" for name in p.opts}
    return arguments, options - {"--help", "-h"}


def test_commands(root: Any) -> None:
    assert set(commands(root)) == set(COMMANDS) | {"models"}
    assert set(commands(commands(root)["models"])) == set(MODELS)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_line(root: Any, name: str) -> None:
    arguments, options = COMMANDS[name]
    assert surface(commands(root)[name]) == (arguments, options)


@pytest.mark.parametrize("name", MODELS)
def test_models_command_line(root: Any, name: str) -> None:
    assert surface(commands(commands(root)["models"])[name]) == MODELS[name]


def every_command(root: Any) -> list[Any]:
    top = commands(root)
    return [*top.values(), *commands(top["models"]).values()]


def test_everything_has_help(root: Any) -> None:
    for command in every_command(root):
        assert command.help, command.name
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{command.name}: {parameter.name}"


# SEETELL_DATA says where the paths of recipes start.
OTHER_VARIABLE = {"--data": "SEETELL_TRAIN_DATA"}


def test_every_option_is_a_variable(root: Any) -> None:
    from seetell.cli.options import env_name

    for command in every_command(root):
        for parameter in command.params:
            if parameter.param_type_name != "option" or set(parameter.opts) & WITHOUT_VARIABLE:
                continue
            # A repeatable option reads its variable itself (one value per line): see cli/options.py.
            if parameter.multiple:
                assert callable(parameter.default)
            else:
                named = OTHER_VARIABLE.get(parameter.opts[0], env_name(*parameter.opts))
                assert parameter.envvar == named


def test_public_names() -> None:
    import seetell

    assert set(seetell.__all__) >= PUBLIC
    assert list(seetell.__all__) == sorted(seetell.__all__, key=str), "in alphabetical order"
    assert set(dir(seetell)) >= set(seetell.__all__)


def test_public_names_load_and_are_documented() -> None:
    import seetell

    for name in seetell.__all__:
        thing = getattr(seetell, name)
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                if not member.startswith("_") and inspect.isfunction(value):
                    assert inspect.getdoc(value), f"{name}.{member}"


def test_an_unknown_name_is_an_attribute_error() -> None:
    import seetell

    with pytest.raises(AttributeError, match="no_such_name"):
        seetell.no_such_name  # noqa: B018 (reading it is the test)


def test_every_error_is_a_seetell_error() -> None:
    from seetell.core import errors

    tree = errors.__doc__ or ""
    kinds = [value for value in vars(errors).values() if inspect.isclass(value)]
    assert kinds
    for kind in kinds:
        assert issubclass(kind, errors.SeetellError)
        assert kind.__name__ in tree, f"{kind.__name__} is missing from the tree at the top"
        assert kind.kind
