"""``seetell embed``: vectors of photos and texts, in a file numpy reads."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seetell.cli.inputs import listed, stream
from seetell.cli.options import Shared, open_model, option, repeatable, shared_options
from seetell.cli.output import Output

if TYPE_CHECKING:
    from seetell.tasks.api import AnyModel


@shared_options
def embed(
    photos: Annotated[
        list[str] | None,
        typer.Argument(metavar="PHOTO", help="Files, folders, or - for paths on standard input."),
    ] = None,
    out: Annotated[
        Path | None, option("--out", metavar="F.npy", help="Write this file: float32[B, S], of unit length.")
    ] = None,
    *,
    text: Annotated[
        list[str], repeatable("--text", metavar="TEXT", help="Embed this text, too; may be repeated.")
    ],
    shared: Shared,
) -> None:
    """Write the vectors of photos and texts to a file.

    Photos come first, then texts; each result says its row. A photo that fails has no row.
    """
    from seetell.core.errors import UsageError
    from seetell.core.files import require_writable

    if out is None:
        raise UsageError("embed: say where to write with --out F.npy")
    if not photos and not text:
        raise UsageError("embed: give at least one PHOTO or --text")
    with shared.output() as output:
        require_writable(out)
        model = open_model(shared)
        # First, though their rows are last: a text that is none must not cost the work on a folder.
        text_vectors: Any = model.embed_texts(text) if text else []
        # Not asked for none: a model of texts alone has no vectors of photos.
        rows = _photo_rows(model, photos, output) if photos else []
        for given, vector in zip(text, text_vectors, strict=True):
            output.result({"text": given, "row": len(rows)}, given, f"row {len(rows)}")
            rows.append(vector)
        if rows:
            _write(rows, out)
            output.note(f"{len(rows)} x {len(rows[0])} written to {out}")


def _photo_rows(model: AnyModel, photos: Iterable[str], output: Output) -> list[Any]:
    from seetell.core.results import Failure

    paths, total = listed(photos, output)
    rows: list[Any] = []
    for name, vector in output.progress(stream(model, "embed_images", paths), "photos", total):
        if isinstance(vector, Failure):
            output.failure(name, vector.error)
            continue
        output.result({"photo": name, "row": len(rows)}, name, f"row {len(rows)}")
        rows.append(vector)
    return rows


def _write(rows: list[Any], path: Path) -> None:
    import numpy as np

    from seetell.core.files import atomic_write_bytes

    buffer = io.BytesIO()
    np.save(buffer, np.stack(rows).astype(np.float32, copy=False))
    atomic_write_bytes(path, buffer.getvalue())
