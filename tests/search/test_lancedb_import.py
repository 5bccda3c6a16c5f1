"""LanceDB without its client of remote catalogues: in processes of the command line, and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("lancedb", reason="the extra `search` is not installed")

ROOT = Path(__file__).resolve().parents[2]

OURS = """
import sys
from seetell.core import own_process
from seetell.search import lancedb_import
from seetell.search.lancedb_import import import_lancedb
own_process.declare()
CLIENT = "lance_namespace_urllib3_client"
"""

# A table made, asked and indexed.
TABLE = """
import numpy as np
from pathlib import Path
from seetell.search.columns import COLUMNS
from seetell.search.table import PhotoTable
import tempfile
with tempfile.TemporaryDirectory() as scratch:
    table = PhotoTable(Path(scratch), "photos", 4, create=True)
    vectors = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    empty = {**dict.fromkeys(COLUMNS), "raw_path": None}
    rows = [
        {**empty, "id": n, "commit": 1, "mtime_ns": 0, "path": f"{n:03}.png", "width": n, "height": 1,
         "size_bytes": 1, "sha256": str(n), "caption": f"photo number{n}", "vector": vectors[n]}
        for n in range(300)
    ]
    table.commit(rows, replaces=False)
    table.index_vectors()
    table.index_captions()
    assert table.nearest(vectors[7], 1, None)[0][0] == "007.png"
    assert table.nearest(vectors[7], 1, "width > 100")[0][0] > "100.png"
    assert table.matching("number9", 1, None) == [9]
    table.remove([9])
    assert (table.count(), table.matching("number9", 1, None)) == (299, [])
"""

# The command line with a made-up model; says last whether the client was imported.
PROGRAM = """
import atexit, sys
atexit.register(lambda: print("client", "lance_namespace_urllib3_client" in sys.modules, file=sys.stderr))
from tests.cli.fake_model import FakeModel
import seetell.tasks.model
seetell.tasks.model.load = lambda source=None, **options: FakeModel()
from seetell.cli.main import main
main()
"""


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment,
    )


def passes(*code: str) -> None:
    done = run("".join(map(textwrap.dedent, code)))
    assert done.returncode == 0, done.stderr


def test_the_command_line_does_without_the_client(tmp_path: Path) -> None:
    photos, index = tmp_path / "photos", tmp_path / "photos.index"
    photos.mkdir()
    for number, colour in enumerate(("red", "green", "blue"), 1):
        Image.new("RGB", (10 * number, 8), colour).save(photos / f"{colour}.png")

    def said(*arguments: object) -> str:
        done = run(PROGRAM, *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines()[-1] == "client False"
        return done.stdout

    assert "3 added" in said("index", photos, "--caption")
    assert "green.png" in said(
        "search", "green", "--in", index, "-k", "1", "--hybrid", "--where", "width > 10"
    )
    assert "1 photos taken out" in said("index", "--remove", photos / "green.png", "--index", index)


def test_a_table_without_the_client() -> None:
    passes(OURS, "import_lancedb()\nassert CLIENT not in sys.modules\n", TABLE)


def test_others_still_get_the_client() -> None:
    passes(
        OURS,
        """
        assert import_lancedb("index") is sys.modules["lancedb.index"]
        assert not [one for one in sys.meta_path if isinstance(one, lancedb_import._Finder)]
        # A name that LanceDB got in place of a class is that class to whoever uses it.
        import lance_namespace
        kept = lance_namespace.ListTablesResponse
        assert CLIENT not in sys.modules
        made = kept(tables=["one"])
        from lance_namespace_urllib3_client.models import ListTablesResponse
        assert type(made) is ListTablesResponse and kept is not ListTablesResponse
        assert kept.from_dict({"tables": ["one"]}) == made
        """,
    )


def test_a_program_gets_lancedb_as_it_is() -> None:
    passes(
        """
        import sys
        from seetell.search.lancedb_import import import_lancedb
        import_lancedb()
        import lance_namespace, lance_namespace_urllib3_client.models as models
        assert lance_namespace.ListTablesResponse is models.ListTablesResponse
        """
    )


def test_what_was_imported_before_is_left_as_it_is() -> None:
    passes(
        OURS,
        """
        import lance_namespace
        before = lance_namespace.ListTablesResponse
        import_lancedb()
        assert lance_namespace.ListTablesResponse is before is sys.modules[CLIENT].ListTablesResponse
        """,
    )


@pytest.mark.parametrize("needed", ["LanceNamespaceError", "StringFtsQuery"])
def test_a_lancedb_that_needs_the_client_gets_it(needed: str) -> None:
    """The second is asked for by LanceDB itself, when most of it has been imported."""
    passes(
        OURS,
        f"""
        find = lancedb_import._Nearly.__getattr__
        missed = []
        def without(module, name):
            if name == "StringFtsQuery" or {needed!r} == "LanceNamespaceError":
                missed.append(name)
                raise AttributeError(name)
            return find(module, name)
        lancedb_import._Nearly.__getattr__ = without
        import_lancedb()
        assert missed
        import lance_namespace, lance_namespace_urllib3_client.models as models
        assert lance_namespace.ListTablesResponse is models.ListTablesResponse
        """,
        TABLE,
    )


def test_without_lancedb_the_extra_is_named() -> None:
    passes(
        OURS,
        """
        from seetell.core.errors import MissingExtra
        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name == "lancedb":
                    raise ModuleNotFoundError(name, name=name)
        sys.meta_path.insert(0, Absent())
        try:
            import_lancedb()
        except MissingExtra as error:
            assert "search" in str(error)
        else:
            raise AssertionError
        """,
    )


@pytest.mark.parametrize("ours", [True, False])
def test_one_that_cannot_be_imported_is_told_in_one_line(tmp_path: Path, ours: bool) -> None:
    (tmp_path / "lancedb").mkdir()
    (tmp_path / "lancedb" / "__init__.py").write_text(
        "raise ImportError('libfoo.so: wrong machine\\nand more')\n"
    )
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from seetell.core import own_process
from seetell.core.errors import StorageError
from seetell.search.lancedb_import import import_lancedb
if {ours}:
    own_process.declare()
try:
    import_lancedb()
except StorageError as error:
    print(error)
"""
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "LanceDB is installed here but cannot be imported (libfoo.so: wrong machine); install it again\n"
    )
