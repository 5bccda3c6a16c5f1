"""The command that adds an extra fits how seetell came here; one that names another place would fail."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

import pytest

from seetell.core import installation
from seetell.core.installation import install_command

REQUIRES = """
Requires-Dist: numpy>=2.0
Requires-Dist: pi-heif>=1.0; extra == 'heic'
Requires-Dist: uvicorn>=0.34; extra == "serve"
Requires-Dist: uvloop>=0.21; (sys_platform != "win32") and extra == "serve"
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a seetell that was installed; what pip wrote into it is up to the test. The pip that the
    shell finds is that of its environment."""
    folder = tmp_path / "seetell-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: seetell\nVersion: 0.1.0{REQUIRES}")
    monkeypatch.setattr(metadata, "distribution", lambda name: metadata.PathDistribution(folder))
    monkeypatch.setattr("sysconfig.get_path", lambda name: "/venv/bin")
    monkeypatch.setattr("shutil.which", lambda name: f"/venv/bin/{name}")
    return folder


def came_from(installed: Path, url: str, **more: object) -> None:
    (installed / "direct_url.json").write_text(json.dumps({"url": url, **more}))


def clone(folder: Path) -> Path:
    folder.mkdir()
    (folder / "constraints.txt").touch()
    return folder


def test_from_an_index(installed: Path) -> None:
    assert install_command("serve") == "pip install 'seetell[serve]'"
    assert install_command() == "pip install seetell"


def test_from_a_clone(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = clone(tmp_path / "a clone")
    came_from(installed, folder.as_uri(), dir_info={"editable": True})
    assert install_command("serve") == f"pip install -c '{folder}/constraints.txt' -e '{folder}[serve]'"
    monkeypatch.chdir(folder)
    assert install_command("serve") == "pip install -c constraints.txt -e '.[serve]'"
    assert install_command() == "pip install -c constraints.txt -e '.'"


def test_from_a_folder_that_was_copied(installed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    came_from(installed, folder.as_uri(), dir_info={})
    assert install_command("serve") == f"pip install '{folder}[serve]'"


def test_from_a_wheel(installed: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "seetell-0.1.0-py3-none-any.whl"
    wheel.touch()
    came_from(installed, wheel.as_uri(), archive_info={})
    assert install_command("search") == f"pip install '{wheel}[search]'"


def test_from_a_repository_or_an_address(installed: Path) -> None:
    vcs = {"vcs": "git", "commit_id": "0123abc"}
    came_from(installed, "https://a.example/seetell.git", vcs_info=vcs)
    assert install_command("hub") == "pip install 'seetell[hub] @ git+https://a.example/seetell.git@0123abc'"
    came_from(installed, "https://a.example/seetell.git", vcs_info={**vcs, "requested_revision": "main"})
    assert install_command("hub") == "pip install 'seetell[hub] @ git+https://a.example/seetell.git@main'"
    came_from(installed, "https://a.example/seetell.whl", archive_info={})
    assert install_command("hub") == "pip install 'seetell[hub] @ https://a.example/seetell.whl'"


def test_from_a_place_that_is_gone(installed: Path, tmp_path: Path) -> None:
    """As in a container, whose image was built from a folder it does not have."""
    came_from(installed, (tmp_path / "build").as_uri(), dir_info={})
    assert install_command("heic") == "pip install 'pi-heif>=1.0'"
    assert install_command("serve") == "pip install 'uvicorn>=0.34' 'uvloop>=0.21'"


def test_what_pip_wrote_is_damaged(installed: Path) -> None:
    for text in ("", "{", "[]", '{"url": 3}'):
        (installed / "direct_url.json").write_text(text)
        assert install_command("serve") == "pip install 'seetell[serve]'"


def test_run_from_its_source_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    root = Path(installation.__file__).parents[3]
    monkeypatch.chdir(root)
    assert install_command("serve").endswith("pip install -c constraints.txt -e '.[serve]'")


def test_the_environment_that_runs_this_and_no_other(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run by its path, without activating its environment: the shell's pip is that of another Python."""
    monkeypatch.setattr(sys, "executable", "/my venv/bin/python")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert install_command("serve") == "'/my venv/bin/python' -m pip install 'seetell[serve]'"
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert install_command("serve") == "'/my venv/bin/python' -m pip install 'seetell[serve]'"
    (installed / "INSTALLER").write_text("uv\n")
    assert install_command("serve") == "uv pip install --python '/my venv/bin/python' 'seetell[serve]'"


def test_without_a_folder_to_be_in(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = clone(tmp_path / "clone")
    came_from(installed, folder.as_uri(), dir_info={"editable": True})
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert install_command("serve") == f"pip install -c {folder}/constraints.txt -e '{folder}[serve]'"
