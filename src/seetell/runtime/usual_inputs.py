"""What a bundle's graphs are usually given: how much, inputs of that size, and which graph it keeps busy.

Numbers for measuring time with, so what they hold means nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seetell.bundle.architecture import CAPTION_TOKENS, QUESTION_TOKENS
from seetell.core.errors import BundleDamaged, EngineError
from seetell.media.preprocess import resized_size
from seetell.runtime.engine import Arrays
from seetell.runtime.graph_flops import axis_length, count_flops

if TYPE_CHECKING:
    from seetell.bundle.manifest import Manifest, Role, TensorSpec
    from seetell.bundle.store import Bundle

# A photo as cameras take it, for models whose pictures have the photo's shape. [height, width]
_PHOTO = (480, 640)
# Where neither the manifest nor the photo says into how many tokens it is cut.
_IMAGE_TOKENS = 200


def usual_sizes(manifest: Manifest, role: str, batch: int = 1) -> dict[str, int]:
    """The lengths of a role's axes: ``batch`` photos with a text of usual length each; of a decoder the step
    in the middle of a caption. Of image tokens and of photos it has what the manifest says as a number."""
    room = 0 if manifest.text is None else manifest.text.context_length
    fixed = manifest.text is not None and manifest.text.padding == "fixed"
    sizes = {"B": batch, "T": max(1, room if fixed else min(QUESTION_TOKENS, room))}
    if role == "text_decoder":
        sizes |= {"T": 1, "P": max(1, min(CAPTION_TOKENS // 2, room - 1)), "K": 1}
    image = manifest.graphs.get("image_encoder")
    tokens = None if image is None else image.outputs.get("image_tokens")
    if tokens is not None and isinstance(tokens.axes[1], int):
        sizes["N"] = tokens.axes[1]
    return sizes


def usual_inputs(manifest: Manifest, role: Role, batch: int = 1) -> Arrays:
    """Inputs of usual size. Raises EngineError for an axis without one."""
    sizes = _all_sizes(manifest, role, batch)
    word = 0 if manifest.text is None else manifest.text.eos_id
    random = np.random.default_rng(0)
    found: Arrays = {}
    for name, spec in manifest.graphs[role].inputs.items():
        shape = [axis_length(axis, sizes, role) for axis in spec.axes]
        # Rows and places are numbered, and of one token there is one place.
        places = {"beam_idx": np.arange(batch), "logit_places": np.zeros(shape, np.int64)}
        found[name] = places[name] if name in places else _filled(spec, shape, word, random)
    return found


def _all_sizes(manifest: Manifest, role: str, batch: int) -> dict[str, int]:
    sizes = {"N": _IMAGE_TOKENS, **usual_sizes(manifest, role, batch)}
    if manifest.image is not None:
        sizes["H"], sizes["W"] = resized_size(*_PHOTO, manifest.image)
    return sizes


def _filled(spec: TensorSpec, shape: list[int], word: int, random: np.random.Generator) -> NDArray[Any]:
    if spec.dtype == "float32":
        # Ordinary numbers: zeros or denormals would not run at the usual pace.
        return random.standard_normal(shape, dtype=np.float32)
    return np.ones(shape, np.bool_) if spec.dtype == "bool" else np.full(shape, word, spec.dtype)


def heaviest_role(bundle: Bundle) -> Role:
    """The graph with the most arithmetic when a photo is looked at and a text about it read or written.

    One that cannot be counted counts as nothing; the first of the manifest's where none can.
    """
    manifest = bundle.manifest
    work = dict.fromkeys(manifest.graphs, 0)
    if len(work) > 1:
        for role in work:
            steps = CAPTION_TOKENS if role == "text_decoder" else 1
            try:
                work[role] = steps * count_flops(bundle, role, _all_sizes(manifest, role, 1))
            except (BundleDamaged, EngineError):
                continue
    return max(work, key=work.__getitem__)
