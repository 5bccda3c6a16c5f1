"""What tells the data that a compression is judged by from other data."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from seetell.cli.evaluation_task import Task
from seetell.cli.gate_data import facts, named


def test_other_data_have_other_facts(tmp_path: Path) -> None:
    (tmp_path / "photos" / "inner").mkdir(parents=True)
    photo = tmp_path / "photos" / "inner" / "a.jpg"
    photo.write_bytes(b"one")
    captions = tmp_path / "dev.json"
    captions.write_text("[]")
    task = Task(captions=captions, images=tmp_path / "photos")
    before = facts([task])
    assert facts([task]) == before and set(before) == {"0 captions", "0 images"}
    os.utime(captions)
    assert facts([task]) == before, "of a file the content counts"
    others = [replace(task, limit=5), replace(task, language="zh"), replace(task, images=tmp_path)]
    assert all(facts([other]) != before for other in others)
    photo.write_bytes(b"another")
    assert facts([task])["0 images"] != before["0 images"]
    captions.write_text("[1]")
    assert facts([task])["0 captions"] != before["0 captions"]
    assert "No such file" in facts([Task(captions=tmp_path / "gone.json")])["0 captions"]


def test_what_they_are_called(tmp_path: Path) -> None:
    assert named([]) == "check set"
    tasks = [Task(captions=tmp_path / "dev.json", limit=5), Task(labelled=tmp_path / "pets")]
    assert named(tasks) == "dev.json, 5 photos, pets"
