"""A bundle of our own model whose image encoder merges tokens: faster, with the same weights, not taught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from seetell.bundle.manifest import Manifest
from seetell.bundle.store import Bundle
from seetell.core.errors import UsageError
from seetell.learning.compression.own import check_own, read_own


@dataclass(frozen=True, slots=True)
class Merged:
    """count: tokens that merge in every block. before, after: tokens a photo gives."""

    bundle: Bundle
    count: int
    before: int
    after: int


def check_mergeable(manifest: Manifest, count: int) -> None:
    """Raises UsageError for a bundle whose tokens cannot be merged, or are merged already."""
    option = f"--merge-tokens {count}"
    if count < 1:
        raise UsageError(f"{option}: give how many tokens merge in every block of the image encoder")
    check_own(manifest, option)
    image = manifest.config.get("image", {})
    if image.get("kind", "hybrid") not in ("vit", "hybrid"):
        raise UsageError(
            f"{option}: the image encoder of {manifest.name} has no transformer, so no tokens meet"
        )
    if image.get("merge_tokens"):
        raise UsageError(f"{option}: {manifest.name} merges tokens already; take the bundle it was made from")


def merge_tokens(bundle: Bundle, out: Path, count: int, say: Callable[[str], None]) -> Merged:
    """Write the bundle with ``count`` tokens merged in every block of its image encoder, or as many as can.

    ``bundle`` stays as it is. Raises UsageError, ExportError, StorageError and BundleError.
    """
    # Imported here: int8 alone, which merges nothing, does without torch.
    from seetell.modeling.models.config import HybridConfig, ViTConfig
    from seetell.modeling.models.unified import UnifiedModel

    check_mergeable(bundle.manifest, count)
    own = read_own(bundle)
    image = own.model.config.image
    assert isinstance(image, ViTConfig | HybridConfig)
    merging = image.model_copy(update={"merge_tokens": count})
    model = UnifiedModel(own.model.config.model_copy(update={"image": merging}))
    model.load_state_dict(own.model.state_dict())
    say(f"exporting the model with {count} tokens merged in every block")
    made = own.write(model.eval(), out)
    return Merged(made, count, _tokens(bundle), _tokens(made))


def _tokens(bundle: Bundle) -> int:
    count = bundle.manifest.graphs["image_encoder"].outputs["image_tokens"].axes[1]
    assert isinstance(count, int)  # our own photos have one size
    return count
