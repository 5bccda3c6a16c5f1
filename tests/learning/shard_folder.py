"""Prepared shards for tests: photos that tell their number by their width, captions, questions and labels."""

from __future__ import annotations

import io
import json
from pathlib import Path

from PIL import Image

from seetell.data.preparing.run import PrepareOptions, prepare
from seetell.data.sources.detect import SourceOptions
from tests.broken_files import photo_pixels


def write_table(folder: Path, count: int) -> Path:
    """``count`` photos. All but every fifth have captions, every second a question, every third a label, and
    the last has a caption in Chinese alone."""
    folder.mkdir(parents=True)
    lines = []
    for number in range(count):
        name = f"{number:04}.jpg"
        buffer = io.BytesIO()
        Image.fromarray(photo_pixels(number, 48, 64 + number)).save(buffer, "JPEG")
        (folder / name).write_bytes(buffer.getvalue())
        fields = {"image": name, "split": "train" if number < count - 4 else "dev"}
        texts = [("zh", f"第 {number} 张照片上有一只狗")]
        if number != count - 1:
            texts += [("en", f"{way} photo of thing {number}") for way in ("a", "another", "one more")]
        if number % 5:
            lines += [{**fields, "caption": text, "language": code} for code, text in texts]
        if number % 2 == 0 or number % 5 == 0:
            asked = {
                "question": f"which thing is in number {number}?",
                "answers": [f"thing {number}", "a dog"],
            }
            lines.append({**fields, **asked, "question_id": number})
        if number % 3 == 0:
            lines.append({**fields, "label": f"kind {number % 2}"})
    table = folder / "photos.jsonl"
    table.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return table


def write_shards(folder: Path, count: int, shard_samples: int = 4) -> Path:
    """``count`` photos as shards in ``folder / "shards"``, the last four of them for ``dev``."""
    out = folder / "shards"
    options = PrepareOptions(source=SourceOptions(), workers=1, shard_samples=shard_samples)
    prepare(write_table(folder / "photos", count), out, options)
    return out
