"""How seetell came onto this machine, and so the command that adds an extra to it.

pip writes down what it installed a package from (PEP 610): a folder, a file, a repository, or, where it wrote
nothing, an index. A command that names another place than that one would fail, or bring another version.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import Distribution

PACKAGE = "seetell"
CONSTRAINTS = "constraints.txt"

# The name and version of a requirement, and the extra its marker asks for.
_OF_EXTRA = re.compile(r"(?P<needs>[^;]+);.*\bextra\s*==\s*['\"](?P<extra>[^'\"]+)['\"]")
_LOCAL = "file://"


def install_command(extra: str = "") -> str:
    """The line that installs seetell again with ``extra``, from where it came and into the same environment;
    without one, the line that mends what is missing of seetell itself."""
    distribution = _distribution()
    pip = _installer(distribution)
    if distribution is None:  # run from its source, which nobody installed
        clone = Path(__file__).resolve().parents[3]
        if not (clone / "pyproject.toml").is_file():
            return f"{pip} {_named(PACKAGE, extra)}"
        return f"{pip} {_from_folder(clone, extra, editable=True)}"
    origin = _origin(distribution)
    if origin is None:
        return f"{pip} {_named(PACKAGE, extra)}"
    return f"{pip} {_from_origin(distribution, origin, extra)}"


def _distribution() -> Distribution | None:
    from importlib import metadata  # not at the top: `seetell --help` does without

    try:
        return metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        return None


def _origin(distribution: Distribution) -> dict[str, Any] | None:
    """What pip wrote down; None of a package from an index."""
    try:
        document = json.loads(distribution.read_text("direct_url.json") or "null")
    except ValueError:
        return None
    return document if isinstance(document, dict) and isinstance(document.get("url"), str) else None


def _from_origin(distribution: Distribution, origin: dict[str, Any], extra: str) -> str:
    url = origin["url"]
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        version = vcs.get("requested_revision") or vcs.get("commit_id")
        return _at(f"{vcs.get('vcs', 'git')}+{url}" + (f"@{version}" if version else ""), extra)
    if not url.startswith(_LOCAL):
        return _at(url, extra)
    path = _local_path(url)
    if path.is_dir():
        return _from_folder(path, extra, editable=bool(origin.get("dir_info", {}).get("editable")))
    if path.is_file():
        return shlex.quote(_with_extra(str(path), extra))
    # What it came from is gone, as in a container that was built elsewhere: the packages are named instead.
    needed = _packages(distribution, extra)
    return " ".join(map(shlex.quote, needed)) if needed else _named(PACKAGE, extra)


def _from_folder(folder: Path, extra: str, *, editable: bool) -> str:
    here = _is_here(folder)
    constraints = folder / CONSTRAINTS
    words = []
    if constraints.is_file():
        words += ["-c", CONSTRAINTS if here else shlex.quote(str(constraints))]
    if editable:
        words.append("-e")
    place = _with_extra("." if here else str(folder), extra)
    # Quoted even where nobody's shell needs it: in zsh the brackets are a pattern.
    return " ".join([*words, f"'{place}'" if shlex.quote(place) == place else shlex.quote(place)])


def _is_here(folder: Path) -> bool:
    try:
        return folder == Path.cwd()
    except OSError:  # the folder one was in is gone
        return False


def _packages(distribution: Distribution, extra: str) -> list[str]:
    found = (_OF_EXTRA.match(requirement) for requirement in distribution.requires or ())
    return [match["needs"].strip() for match in found if match and match["extra"] == extra]


def _installer(distribution: Distribution | None) -> str:
    """``pip install`` of the environment that runs this, whatever the shell would find as pip."""
    import shutil
    import sysconfig

    if distribution is not None and (distribution.read_text("INSTALLER") or "").strip() == "uv":
        return f"uv pip install --python {shlex.quote(sys.executable)}"
    found = shutil.which("pip")
    if found is not None and Path(found).parent == Path(sysconfig.get_path("scripts")):
        return "pip install"
    return f"{shlex.quote(sys.executable)} -m pip install"


def _named(package: str, extra: str) -> str:
    return f"'{_with_extra(package, extra)}'" if extra else package


def _at(address: str, extra: str) -> str:
    return shlex.quote(f"{_with_extra(PACKAGE, extra)} @ {address}")


def _with_extra(what: str, extra: str) -> str:
    return f"{what}[{extra}]" if extra else what


def _local_path(url: str) -> Path:
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    return Path(url2pathname(urlsplit(url).path))
