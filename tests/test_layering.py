"""The arrows between the rooms: who may import whom, read from the source of every module.

Imports inside functions and under TYPE_CHECKING count too: a hidden arrow is an arrow.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"
PACKAGE = SOURCE / "seetell"

# Direct arrows; what lies below a room lies below those above it too.
ARROWS: dict[str, set[str]] = {
    "core": set(),
    "media": {"core"},
    "bundle": {"media"},
    "data": {"media"},
    "runtime": {"bundle"},
    "remote": {"media"},
    "tasks": {"runtime", "remote"},
    "evaluation": {"data"},
    "search": {"tasks", "data"},
    "video": {"tasks", "data"},
    "safety": {"core"},
    "serving": {
        "core",
        "media",
        "bundle",
        "data",
        "runtime",
        "tasks",
        "search",
        "video",
        "safety",
        "evaluation",
    },
    "cli": {"serving"},
    "modeling": {"bundle"},
    "learning": {"modeling", "data", "tasks", "evaluation", "runtime"},
    "__main__": {"cli"},
}
# Narrower or wider than their room, by module prefix.
ALSO = {
    "seetell.safety": {"seetell.tasks.policy"},
    "seetell.modeling.export": {"seetell.runtime"},
}
MAKING = {"modeling", "learning"}
# The commands that reach into the making half, and only when they run.
MAKING_COMMANDS = {"seetell.cli.train", "seetell.cli.convert", "seetell.cli.compress"}
# torch, and what brings it along.
TORCH = ("torch", "torchvision", "transformers", "accelerate", "timm", "open_clip", "lightning", "onnxscript")
OPTIONAL = (
    "av",
    "httpcore2",
    "huggingface_hub",
    "jinja2",
    "lancedb",
    "onnx",
    "onnxruntime",
    "py3langid",
    "pyarrow",
    "yaml",
)


@dataclass(frozen=True)
class Import:
    module: str
    name: str
    line: int
    top_level: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.name}"


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(SOURCE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports_of(module: str, path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        top_level = node not in inside
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno, top_level)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module if path.name == "__init__.py" else module.rpartition(".")[0]
                parents = package.split(".")
                base = ".".join(parents[: len(parents) - node.level + 1] + ([base] if base else []))
            for alias in node.names:
                # `from seetell.tasks import model` names a module, `from x import y` may name anything.
                deeper = f"{base}.{alias.name}"
                yield Import(module, deeper if deeper in MODULES else base, node.lineno, top_level)
        elif isinstance(node, ast.Call) and _is_import_call(node):
            yield Import(module, str(_constant(node)), node.lineno, top_level)


def _is_import_call(node: ast.Call) -> bool:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in {"import_module", "__import__"} and isinstance(_constant(node), str)


def _constant(node: ast.Call) -> object:
    return node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None


ALL_IMPORTS = [found for name, path in MODULES.items() for found in imports_of(name, path)]


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def below(room: str) -> set[str]:
    reached: set[str] = set()
    waiting = [room]
    while waiting:
        for lower in ARROWS[waiting.pop()]:
            if lower not in reached:
                reached.add(lower)
                waiting.append(lower)
    return reached


def under(name: str, prefixes: set[str] | tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def allowed(found: Import) -> bool:
    room, target = room_of(found.module), room_of(found.name)
    if room == "":  # the public names, loaded lazily, stand above the running half but the command line
        return target not in MAKING | {"cli"}
    if target == "":  # `import seetell` from inside would be a circle; the command line is outside
        return room == "cli"
    if target == room or target in below(room):
        return True
    if found.module in MAKING_COMMANDS and target in MAKING:
        return not found.top_level
    return any(under(found.module, (who,)) and under(found.name, what) for who, what in ALSO.items())


def test_every_room_is_known() -> None:
    rooms = {room_of(name) for name in MODULES} - {""}
    assert rooms <= set(ARROWS), "a new room needs its arrows here and in the design"


def test_imports_point_down() -> None:
    own = [found for found in ALL_IMPORTS if under(found.name, ("seetell",))]
    assert own, "the walk found nothing"
    assert [str(found) for found in own if not allowed(found)] == []


def test_no_module_imports_itself_through_others() -> None:
    arrows: dict[str, set[str]] = {name: set() for name in MODULES}
    for found in ALL_IMPORTS:
        target = found.name
        while target and target not in MODULES:
            target = target.rpartition(".")[0]
        # The package itself holds public names alone, which it loads when they are asked for.
        if target not in ("", "seetell", found.module):
            arrows[found.module].add(target)
    circles: list[list[str]] = []
    done: set[str] = set()

    def walk(module: str, way: list[str]) -> None:
        if module in way:
            circles.append([*way[way.index(module) :], module])
        elif module not in done:
            for lower in sorted(arrows[module]):
                walk(lower, [*way, module])
            done.add(module)

    for name in MODULES:
        walk(name, [])
    assert circles == []


def test_nothing_imports_the_command_line() -> None:
    outside = [f for f in ALL_IMPORTS if room_of(f.module) not in {"cli", "__main__"}]
    wrong = [f for f in outside if under(f.name, ("seetell.cli",))]
    assert [str(found) for found in wrong] == []


def test_running_half_never_imports_torch() -> None:
    running = [f for f in ALL_IMPORTS if room_of(f.module) not in MAKING]
    assert [str(f) for f in running if under(f.name, (*TORCH, "safetensors.torch"))] == []


def test_parts_know_no_configuration() -> None:
    wrong = [
        f
        for f in ALL_IMPORTS
        if under(f.module, ("seetell.modeling.parts",))
        and under(f.name, ("seetell",))
        and not under(f.name, ("seetell.modeling.parts", "seetell.core"))
    ]
    assert [str(found) for found in wrong] == []


def test_objectives_never_see_a_model() -> None:
    wrong = [
        f
        for f in ALL_IMPORTS
        if under(f.module, ("seetell.learning.objectives",)) and under(f.name, ("seetell.modeling",))
    ]
    assert [str(found) for found in wrong] == []


def test_the_loop_knows_no_model() -> None:
    wrong = [
        f
        for f in ALL_IMPORTS
        if f.module == "seetell.learning.training.loop" and under(f.name, ("seetell.modeling",))
    ]
    assert [str(found) for found in wrong] == []


@pytest.mark.parametrize("package", OPTIONAL)
def test_optional_dependency_has_one_door_in_the_running_half(package: str) -> None:
    files = {f.module for f in ALL_IMPORTS if under(f.name, (package,)) and room_of(f.module) not in MAKING}
    assert len(files) <= 1, files


@pytest.mark.parametrize("package", ["fastapi", "prometheus_client", "starlette", "uvicorn"])
def test_only_the_server_knows_the_web_framework(package: str) -> None:
    files = {f.module for f in ALL_IMPORTS if under(f.name, (package,))}
    assert {name for name in files if not under(name, ("seetell.serving",))} == set()


@pytest.mark.parametrize(
    ("source", "caught"),
    [
        ("def f():\n    from seetell.tasks import model\n", "seetell.tasks"),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import seetell.cli.app\n",
            "seetell.cli.app",
        ),
        ("import importlib\nimportlib.import_module('torch')\n", "torch"),
        ("from ..runtime import engine\n", "seetell.runtime.engine"),
    ],
)
def test_the_walk_sees_hidden_imports(tmp_path: Path, source: str, caught: str) -> None:
    path = tmp_path / "probe.py"
    path.write_text(source)
    found = [item for item in imports_of("seetell.media.probe", path) if under(item.name, (caught,))]
    assert found
    assert not all(allowed(item) for item in found) or caught == "torch"


def _isolated(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )


def test_running_half_imports_where_torch_is_not_installed() -> None:
    """The walk reads our own files; this also catches a dependency that brings torch along."""
    names = [name for name in MODULES if room_of(name) not in MAKING]
    code = f"""
import importlib, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {TORCH!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
for name in {names!r}:
    importlib.import_module(name)
"""
    done = _isolated(code)
    assert done.returncode == 0, done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = """
import contextlib, io, sys
from seetell.cli.main import run
with contextlib.redirect_stdout(io.StringIO()) as out:
    assert run(['--help']) == 0
assert 'caption' in out.getvalue()
heavy = {'numpy', 'pydantic', 'openvino', 'PIL', 'tokenizers', 'rich', 'torch'} & set(sys.modules)
assert not heavy, heavy
"""
    done = _isolated(code)
    assert done.returncode == 0, done.stderr


def test_importing_seetell_imports_nothing_heavy() -> None:
    done = _isolated(
        "import sys, seetell\n"
        "assert not {'numpy', 'pydantic', 'openvino', 'PIL', 'typer'} & set(sys.modules), sorted(sys.modules)"
    )
    assert done.returncode == 0, done.stderr
