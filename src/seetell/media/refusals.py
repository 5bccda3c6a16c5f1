"""The refusals that more than one reader of photos makes."""

from __future__ import annotations

from seetell.core.errors import ImageError


def refuse_large(size: tuple[int, int], limit: int, name: str, advice: str = "") -> None:
    """``size`` is (width, height), as Pillow has it. Raises ImageError for more than ``limit`` pixels."""
    width, height = size
    if width * height > limit:
        raise too_large(size, limit, name, advice)


def too_large(size: tuple[int, int], limit: int, name: str, advice: str = "") -> ImageError:
    """For a photo whose header promises (width, height). advice: what else there is to do."""
    told = f"{name}: {size[0]} x {size[1]} pixels, more than the limit of {limit:,} (SEETELL_MAX_PIXELS)"
    return ImageError("too_large", f"{told}; {advice}" if advice else told)


def truncated(name: str) -> ImageError:
    """For a file that ends too early."""
    return ImageError("truncated", f"{name}: the file is cut off; copy or download it again")


def incomplete(name: str) -> ImageError:
    """For a file that has its end and lacks something before it."""
    return ImageError("truncated", f"{name}: a part of its image data is missing; copy or download it again")
