"""The documentation says what is so: links lead somewhere, commands parse, Python compiles."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "recipes").rglob("*.md")])

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
FENCE = re.compile(
    r"^(?P<fence>`{3,})(?P<language>[\w+-]*)[^\n]*\n(?P<body>.*?)^(?P=fence)`*\s*$", re.M | re.S
)
INLINE = re.compile(r"`(seetell [^`\n]+)`")
HEADING = re.compile(r"^#{1,6} (.+)$", re.M)
SHELLS = {"", "sh", "bash", "console", "shell", "text"}


def fences(page: str) -> Iterator[tuple[str, str]]:
    for found in FENCE.finditer(page):
        yield found["language"], found["body"]


def anchor(heading: str) -> str:
    """As the usual forges make them: lower case, punctuation dropped, blanks to hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def broken_links(path: Path) -> list[str]:
    page = path.read_text(encoding="utf-8")
    wrong = []
    for target in LINK.findall(FENCE.sub("", page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = unquote(target).partition("#")
        file = path.parent / name if name else path
        if not file.exists():
            wrong.append(target)
        elif fragment and file.suffix == ".md":
            anchors = {anchor(heading) for heading in HEADING.findall(file.read_text(encoding="utf-8"))}
            if fragment not in anchors:
                wrong.append(target)
    return wrong


def command_lines(page: str) -> Iterator[str]:
    """Every `seetell ...` of a shell block or between backticks, one command each."""
    for language, body in fences(page):
        if language not in SHELLS:
            continue
        for line in body.replace("\\\n", " ").splitlines():
            line = line.strip().removeprefix("$ ")
            # The settings before a command, as in SEETELL_DEBUG=1 seetell caption ...
            line = re.sub(r"^(?:\w+=\S*\s+)+(?=seetell )", "", line)
            if line.startswith("seetell "):
                yield line
    yield from INLINE.findall(FENCE.sub("", page))


def fault(line: str) -> str | None:
    """Why this command line is no command of ours; None if it is one."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|><&;")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    for word in lexer:
        if set(word) <= set("|><&;"):
            break
        words.append(word)
    if words[-1:] == ["..."]:
        words.pop()
    command: Any = typer.main.get_command(_app())
    rest = words[1:]
    while rest and getattr(command, "commands", None):
        if rest[0].startswith("-"):
            break
        name = rest.pop(0)
        if name not in command.commands:
            return f"no command {name!r}"
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
    for word in rest:
        name = word.partition("=")[0]
        if re.match(r"--?[a-zA-Z]", word) and name not in known:
            return f"no option {name}"
    return None


def _app() -> typer.Typer:
    from seetell.cli.app import app

    return app


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PAGES, ids=_id)
def test_relative_links_exist(path: Path) -> None:
    assert broken_links(path) == []


@pytest.mark.parametrize("path", PAGES, ids=_id)
def test_command_lines_parse(path: Path) -> None:
    faults = {line: fault(line) for line in command_lines(path.read_text(encoding="utf-8"))}
    assert {line: wrong for line, wrong in faults.items() if wrong} == {}


@pytest.mark.parametrize("path", PAGES, ids=_id)
def test_python_blocks_compile(path: Path) -> None:
    for language, body in fences(path.read_text(encoding="utf-8")):
        if language in {"python", "py"}:
            source = textwrap.dedent(body)
            if source.lstrip().startswith(">>>"):
                lines = [line[4:] for line in source.splitlines() if line.startswith((">>> ", "... "))]
                source = "\n".join(lines)
            ast.parse(source, filename=str(path))


@pytest.mark.parametrize("path", PAGES, ids=_id)
def test_public_names_used_in_python_blocks_exist(path: Path) -> None:
    import seetell

    for language, body in fences(path.read_text(encoding="utf-8")):
        if language in {"python", "py"}:
            for name in re.findall(r"(?<!from )\bseetell\.([A-Za-z_]\w*)", body):
                assert name in seetell.__all__, f"{path.name}: seetell.{name}"


@pytest.mark.parametrize("path", PAGES, ids=_id)
def test_what_python_blocks_import_exists(path: Path) -> None:
    """Pages for those who work on seetell import more than the public names."""
    for language, body in fences(path.read_text(encoding="utf-8")):
        if language in {"python", "py"} and ">>>" not in body:
            for node in ast.walk(ast.parse(textwrap.dedent(body))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("seetell."):
                    module = importlib.import_module(str(node.module))
                    for alias in node.names:
                        assert hasattr(module, alias.name), f"{path.name}: {node.module}.{alias.name}"


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("seetell caption photo.jpg --beams 3 | head", None),
        ("seetell caption photo.jpg --beems 3", "no option --beems"),
        ("seetell describe photo.jpg", "no command 'describe'"),
        ("seetell models show builtin", None),
        ("seetell models shew", "no command 'shew'"),
        ('seetell search "a dog" --in=photos -k 3', None),
        ("seetell match photo.jpg 'a -- b' -x", "no option -x"),
    ],
)
def test_the_check_tells_good_from_bad(line: str, wrong: str | None) -> None:
    assert fault(line) == wrong


def test_the_link_check_tells_good_from_bad(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A Heading, here\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](gone.md) [c](there.md#a-heading-here) [d](there.md#no) [e](https://x.y)\n"
    )
    assert broken_links(page) == ["gone.md", "there.md#no"]


@pytest.mark.parametrize(("page", "language"), [("README.md", "en"), ("README.zh-CN.md", "zh")])
def test_the_readme_prints_what_was_measured(page: str, language: str) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "measured_table.py"), "--language", language]
    printed = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    assert printed.count("|") > 20
    assert [line for line in printed.splitlines() if line and line not in lines] == []


def test_the_page_of_the_built_in_prints_what_was_measured() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "builtin_tables.py")]
    printed = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    lines = (ROOT / "docs" / "builtin-model.md").read_text(encoding="utf-8").splitlines()
    assert len(printed.splitlines()) > 20
    assert [line for line in printed.splitlines() if line not in lines] == []


# What no index has cannot be installed by its name.
BY_NAME = re.compile(r"""pip install [^`\n]*['"]?\bseetell\b(?!-)[^/`\n]*""")


@pytest.mark.parametrize("path", PAGES, ids=_id)
def test_seetell_is_installed_from_where_it_is(path: Path) -> None:
    assert BY_NAME.findall(path.read_text(encoding="utf-8")) == []


def test_the_check_of_installing_tells_good_from_bad() -> None:
    assert BY_NAME.findall("pip install 'seetell[serve]'\npip install -c constraints.txt seetell") != []
    assert BY_NAME.findall("pip install -c constraints.txt -e '.[serve]'\npip install pi-heif") == []


# A test of this repository, as pages name it.
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_tests_that_pages_name_are_there() -> None:
    named = [found for page in PAGES for found in NAMED_TEST.findall(page.read_text(encoding="utf-8"))]
    assert named
    sources = {file: (ROOT / file).read_text(encoding="utf-8") for file in {file for file, _ in named}}
    assert [f"{file}::{name}" for file, name in named if f"def {name}(" not in sources[file]] == []


def blocks(page: Path, language: str) -> list[str]:
    return [body for name, body in fences(page.read_text(encoding="utf-8")) if name == language]


def test_the_introductions_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    for photo in (ROOT / "src" / "seetell" / "samples").glob("*.jpg"):
        (tmp_path / photo.name).write_bytes(photo.read_bytes())
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {}
    for source in blocks(ROOT / "docs" / "from-the-article.md", "python"):
        exec(compile(source, "from-the-article.md", "exec"), known)
    known["model"].close()


PAIRS = [page for page in PAGES if page.with_suffix(".zh-CN.md").exists()]
COMMENT = re.compile(r"(?:^ *|  +)# .*$", re.M)
# What was printed may have a # that begins no comment.
PRINTED = {"", "console", "json", "text"}

# The Chinese README shows these few in Chinese. All else is the same in both languages.
SHOWN_IN_CHINESE = {
    "seetell caption photo.jpg --language zh\n": "seetell caption photo.jpg\n",
    'seetell search "沙滩上的狗" --in photos/\n': 'seetell search "a dog on the beach" --in photos/\n',
    'index.search("沙滩上的狗", k=5)': 'index.search("a dog on the beach", k=5)',
    "`python benchmarks/measured_table.py --language zh`": "`python benchmarks/measured_table.py`",
}


def in_any_language(page: str) -> dict[str, list[str]]:
    """What translating a page leaves as it is: the levels of headings, blocks but for comments, and code in
    the text, of which commands stand as often and all else at least once."""
    text = FENCE.sub("", page)
    code = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]
    return {
        "headings": re.findall(r"^#{1,6}(?= )", text, re.M),
        "blocks": [
            f"{language}\n{body if language in PRINTED else COMMENT.sub('', body)}"
            for language, body in fences(page)
        ],
        "commands": sorted(span for span in code if span.startswith("seetell ")),
        "code": sorted(set(code)),
    }


@pytest.mark.parametrize("path", PAIRS, ids=_id)
def test_both_languages_show_the_same(path: Path) -> None:
    translation = path.with_suffix(".zh-CN.md")
    english, chinese = (page.read_text(encoding="utf-8") for page in (path, translation))
    assert f"[中文]({translation.name})" in english and f"[English]({path.name})" in chinese
    if path.name == "README.md":
        for theirs, ours in SHOWN_IN_CHINESE.items():
            assert chinese.count(theirs) == 1
            chinese = chinese.replace(theirs, ours)
    assert in_any_language(chinese) == in_any_language(english)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("why", "为什么", True),
        ("one", "一", True),
        ("a.jpg", "b.jpg", False),
        ("x = 1", "x = 2", False),
        ("# Two", "## Two", False),
        ('"k": 1', '"k": 2', False),
        ("`seetell models list`", "`seetell models`", False),
        ("`seetell doctor`", "it", False),
        ("printed  # 1", "printed  # 2", False),
    ],
)
def test_the_check_of_translations_tells_good_from_bad(old: str, new: str, same: bool) -> None:
    page = (
        "# One\n## Two\n`seetell doctor`, `seetell models list`\n```sh\nseetell caption a.jpg  # why\n```\n"
        '```json\n{"k": 1}\n```\n```python\n# one\nx = 1  # one\n```\n```console\n$ a\nprinted  # 1\n```\n'
    )
    changed = page.replace(old, new)
    assert changed != page and (in_any_language(changed) == in_any_language(page)) is same
