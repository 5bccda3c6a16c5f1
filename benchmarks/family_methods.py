"""The ways that the benchmark of families makes a bundle smaller, without judging what comes out.

`seetell compress` also measures time and memory of every graph before and after, which the benchmark does
itself, in turns.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from seetell.bundle.store import Bundle, open_bundle
from seetell.learning.compression.gate import Tolerance
from seetell.learning.compression.merging import merge_tokens
from seetell.learning.compression.pruning.prune import Pruning, prune
from seetell.learning.compression.quality import Judge
from seetell.learning.compression.quantising import Quantisation
from seetell.runtime.openvino_engine import has_bf16

PRUNED, MERGED = 0.2, 4
# Those that make a bundle; the others run the one they are given.
MAKING = ("int8 weights", "int8", "pruned", "merged tokens")
# Those after which the graphs have other inputs.
RESHAPING = ("pruned", "merged tokens")
# What its gate would say is not asked: what a method costs is measured, not whether it may.
_ANYTHING = Tolerance(200, relative=False)


def methods(own: bool) -> tuple[str, ...]:
    """Those that fit a family here: pruning and merging tokens serve our own models alone."""
    found = ["fp32", *(["bf16"] if has_bf16() else []), "int8 weights", "int8"]
    return (*found, *(RESHAPING if own else []))


def precision(method: str, bundle: Bundle) -> str:
    """What the method's bundle is run in. One with int8 weights alone counts as int8: what it computes in
    floats is fp32 or bf16, whichever is faster here."""
    return "int8" if bundle.has_int8 else "bf16" if method == "bf16" else "fp32"


def bundle_folder(folder: Path, method: str) -> Path:
    """Where the method's bundle lies among those of a family."""
    return folder / (method.replace(" ", "-") if method in MAKING else "fp32")


def make(method: str, bundle: Bundle, out: Path, photos: Sequence[Path], texts: Sequence[str]) -> None:
    """Write ``bundle`` smaller by ``method`` to ``out``, unless it is there. photos, texts: to calibrate
    with."""
    if out.exists():
        return
    writing = out.with_name(f"{out.name}-writing")
    shutil.rmtree(writing, ignore_errors=True)
    if method == "pruned":
        prune(bundle, writing, Pruning(PRUNED), list(photos), list(texts), _quietly)
    elif method == "merged tokens":
        merge_tokens(bundle, writing, MERGED, _quietly)
    else:
        writing.mkdir()
        judge = Judge(bundle, None, "check set", _ANYTHING)
        quantisation = Quantisation(bundle, writing, judge, "portable", _quietly)
        calibrated = method == "int8"
        quantisation.whole(photos if calibrated else [], texts if calibrated else [], judge.quality(bundle))
    open_bundle(writing)
    writing.rename(out)


def _quietly(message: str) -> None:
    """Say nothing: what is measured is printed at the end."""
