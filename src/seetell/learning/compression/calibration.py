"""What every graph of a bundle is fed when it does its own work: the inputs that activations are ranged by.

The bundle's own tasks run over the user's photos and texts while what each graph is given is written down:
every step of the decoder, texts alone and texts padded beside longer ones, whatever the family.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seetell.bundle.store import Bundle
from seetell.core.errors import DataError, InputError
from seetell.core.results import Failure
from seetell.media.listing import list_photos
from seetell.runtime.engine import Arrays, Engine
from seetell.runtime.select import choose_engine
from seetell.tasks.model import Model

# Of each role so many runs are kept, drawn evenly from all there were.
_KEPT_RUNS = 48
_BATCH = 4
# Texts matched with each photo: all with all would be the square.
_MATCHED = 4
# A photo's row of decoder steps is long; captions of so many photos show all there is to see.
_DECODED_PHOTOS = 24
_MASK = "[MASK]"


@dataclass(slots=True)
class Calibration:
    """samples: role -> inputs of some of its runs. n_photos, n_texts: what they came from; texts_from: who
    wrote the texts. failed: photos that could not be read."""

    samples: dict[str, list[Arrays]] = field(default_factory=dict)
    n_photos: int = 0
    n_texts: int = 0
    texts_from: str = "none"
    failed: list[Failure] = field(default_factory=list)


class Recorder:
    """An engine that keeps some of the inputs it is given: a sample drawn evenly, seeded."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._random = np.random.default_rng(0)
        self._seen: dict[str, int] = defaultdict(int)
        self.samples: dict[str, list[Arrays]] = defaultdict(list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> Arrays:
        """Run ``role`` and perhaps remember its inputs (Vitter's reservoir)."""
        self._seen[role] += 1
        place = int(self._random.integers(self._seen[role]))
        kept = self.samples[role]
        if len(kept) < _KEPT_RUNS:
            kept.append(_copied(inputs))
        elif place < _KEPT_RUNS:
            kept[place] = _copied(inputs)
        return self._engine.run(role, inputs, outputs)


def _copied(inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    return {name: np.array(value) for name, value in inputs.items()}


def find_photos(folder: Path, count: int) -> list[Path]:
    """``count`` photos of ``folder``, taken evenly. Raises DataError when there are none."""
    if not folder.is_dir():
        raise DataError(f"--calibration: {folder} is no folder")
    try:
        next(folder.iterdir(), None)
    except OSError as error:
        raise DataError(f"--calibration: {folder} cannot be listed ({error.strerror})") from error
    photos = list(list_photos([folder]))
    if not photos:
        raise DataError(f"--calibration: no photos in {folder}; give photos like those the model will see")
    places = np.linspace(0, len(photos) - 1, min(count, len(photos))).round().astype(int)
    return [photos[place] for place in places]


def read_texts(path: Path, count: int) -> list[str]:
    """``count`` texts of a file, one per line, taken evenly. Raises DataError."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DataError(f"--calibration-texts: {path} cannot be read ({reason})") from error
    texts = list(dict.fromkeys(line for line in lines if line))
    if not texts:
        raise DataError(f"--calibration-texts: no text in {path}; give one per line")
    places = np.linspace(0, len(texts) - 1, min(count, len(texts))).round().astype(int)
    return [texts[place] for place in places]


def record(bundle: Bundle, photos: Sequence[Path], texts: Sequence[str] = ()) -> Calibration:
    """Run what the bundle can do over photos and texts, and keep what its graphs were given.

    Args:
        bundle: runs at fp32.
        photos: at least one that can be read.
        texts: captions and questions; without any, the captions the model itself writes, or its labels.

    Raises DataError when no photo can be read.
    """
    manifest = bundle.manifest
    recorder = Recorder(choose_engine(bundle, precision="fp32", device="cpu"))
    tokenizer = bundle.tokenizer() if manifest.text is not None else None
    found = Calibration(n_photos=len(photos))
    with Model(manifest, tokenizer, recorder, batch_size=_BATCH) as model:
        readable, written = _look(model, photos, found)
        said, found.texts_from = (list(texts), "the file") if texts else _own_texts(model, written)
        found.n_texts = len(said)
        if said:
            _read(model, readable, said, found)
    found.samples = dict(recorder.samples)
    return found


def _look(model: Model, photos: Sequence[Path], found: Calibration) -> tuple[list[Path], list[str]]:
    """Show the photos to whatever takes photos alone; those that can be read, and the captions written."""
    verbs = [verb for verb in ("embed_images", "features", "classify") if _can(model, verb)]
    readable = list(photos)
    for verb in verbs[:1]:
        seen = list(model.stream(verb, photos))
        found.failed = [one for one in seen if isinstance(one, Failure)]
        readable = [photo for photo, one in zip(photos, seen, strict=True) if not isinstance(one, Failure)]
    captions = []
    if "caption" in model.tasks:
        # A bundle's own default may be longer than its model has room for.
        room = 8 if model.manifest.text is None else max(1, model.manifest.text.context_length - 8)
        options = model.generation_options(max_tokens=min(model.manifest.generation.max_tokens, room))
        for language in model.languages or ("en",):
            some = readable[:_DECODED_PHOTOS]
            for one in model.stream("caption", some, language=language, options=options):
                if isinstance(one, Failure):
                    found.failed.append(one)
                else:
                    captions.append(one.written)
    if len(found.failed) >= len(photos):
        raise DataError(
            f"--calibration: none of {len(photos)} photos can be read; the first: {found.failed[0].error}"
        )
    return readable, captions


def _can(model: Model, verb: str) -> bool:
    if verb == "classify":
        return verb in model.tasks and bool(model.manifest.labels)
    return verb.partition("_")[0] in model.tasks


def _own_texts(model: Model, written: Iterable[str]) -> tuple[list[str], str]:
    captions = list(dict.fromkeys(text for text in written if text.strip()))
    if captions:
        return captions, "its own captions"
    prompts = [
        prompt.format(label)
        for prompts in model.manifest.prompts.get("classify", {}).values()
        for prompt in prompts
        for label in model.manifest.labels
    ]
    return (prompts, "its labels") if prompts else ([], "none")


def _read(model: Model, photos: Sequence[Path], texts: Sequence[str], found: Calibration) -> None:
    """Give the texts to whatever takes texts. A text that a model cannot take is left out."""
    if "embed" in model.tasks and model.engine.outputs("text_encoder"):
        for group in _groups(texts):
            _tried(lambda group=group: model.embed_texts(group))
    if "match" in model.tasks and model.engine.outputs("fusion_encoder"):
        pairs = list(zip(photos, _cycled(texts, len(photos)), strict=False))
        for place, (photo, _) in enumerate(pairs):
            several = [texts[(place + step) % len(texts)] for step in range(_MATCHED)]
            _tried(lambda photo=photo, several=several: model.match(photo, several))
    if "ask" in model.tasks:
        questions = [text for text in texts if text.rstrip().endswith(("?", "？"))] or list(texts)
        asked = list(zip(photos, _cycled(questions, len(photos)), strict=False))
        found.failed.extend(one for one in model.stream("ask", asked) if isinstance(one, Failure))
    if "fill" in model.tasks:
        for photo, text in zip(photos[:_DECODED_PHOTOS], _cycled(texts, len(photos)), strict=False):
            words = text.split()
            masked = " ".join([*words[:-1], _MASK]) if len(words) > 1 else f"{text} {_MASK}"
            _tried(lambda photo=photo, masked=masked: model.fill(photo, masked))


def _groups(texts: Sequence[str]) -> Iterator[list[str]]:
    """Texts one by one, as a search has them, and eight by eight, the short padded beside the long."""
    for text in texts:
        yield [text]
    for first in range(0, len(texts), 8):
        yield list(texts[first : first + 8])


def _cycled(texts: Sequence[str], count: int) -> Iterator[str]:
    return (texts[place % len(texts)] for place in range(count))


def _tried(call: Any) -> None:
    try:
        call()
    except InputError:
        return
