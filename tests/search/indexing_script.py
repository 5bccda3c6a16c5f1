"""Indexes a folder with the toy model, in a process of its own: ``INDEX FOLDER [PAUSE_S]``.

Prints ``reading`` when the first photo is about to be read, then one line per change. Commits after every few
photos, so that a killed run has some behind it; PAUSE_S is spent on every photo.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from seetell.core.errors import SeetellError
from seetell.core.results import Failure
from seetell.search import updating
from seetell.search.photo_index import PhotoIndex
from seetell.tasks.model import Model
from tests.runtime.toy import ToyEngine, make_manifest, make_tokenizer


class Slow(Model):
    pause_s = 0.0

    def stream(self, verb: str, photos: Any, **options: Any) -> Iterator[Any]:
        def paused() -> Iterator[Any]:
            print("reading", flush=True)
            for photo in photos:
                time.sleep(self.pause_s)
                yield photo

        return super().stream(verb, paused(), **options)


def toy_model(kind: type[Model] = Model) -> Model:
    tokenizer = make_tokenizer()
    engine = ToyEngine(tokenizer.vocab_size)
    return kind(make_manifest(engine), tokenizer, engine, batch_size=4)


def main() -> int:
    place, folder, *pause = sys.argv[1:]
    model = toy_model(Slow)
    model.pause_s = float(pause[0]) if pause else 0.0  # type: ignore[attr-defined]  # of Slow
    updating._COMMIT_ROWS = 8
    try:
        for change in PhotoIndex(place, model).changes(folder):
            print(f"failed {change.error}" if isinstance(change, Failure) else change.what, flush=True)
    except SeetellError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
