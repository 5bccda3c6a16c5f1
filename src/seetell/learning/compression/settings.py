"""What a compression is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from seetell.bundle.store import Bundle
from seetell.core.errors import UsageError
from seetell.learning.compression.gate import Tolerance
from seetell.learning.compression.merging import check_mergeable
from seetell.learning.compression.nncf_backend import Profile
from seetell.learning.compression.pruning.wish import Pruning, check_prunable
from seetell.learning.compression.stages import Name


@dataclass(frozen=True, slots=True)
class Distilling:
    """recipe: a file. overrides: ``key.sub=value``, as of ``seetell train``."""

    recipe: Path
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked for.

    calibration: a folder of photos, None for int8 weights without int8 arithmetic. calibration_texts: a file,
    one text per line. calibration_count: photos used. profile: see ``nncf_backend``. quantize: to int8.
    prune: None for the model as it is. merge_tokens: in every block of the image encoder, 0 for none.
    distil: None to teach it nothing. keep_floats: beside int8, so that the bundle runs in either and can be
    taught further.
    """

    calibration: Path | None = None
    calibration_texts: Path | None = None
    calibration_count: int = 96
    profile: Profile = "portable"
    tolerance: Tolerance = field(default_factory=lambda: Tolerance(1.0, relative=True))
    quantize: bool = True
    prune: Pruning | None = None
    merge_tokens: int = 0
    distil: Distilling | None = None
    keep_floats: bool = False

    @property
    def stages(self) -> tuple[Name, ...]:
        """What is done, in this order."""
        asked: dict[Name, bool] = {
            "prune": self.prune is not None,
            "merge": self.merge_tokens > 0,
            "distil": self.distil is not None,
            "quantize": self.quantize,
        }
        return tuple(name for name, wanted in asked.items() if wanted)

    def check(self, bundle: Bundle) -> None:
        """Raises UsageError where this does not fit ``bundle``."""
        if not bundle.has_floats:
            raise UsageError(
                f"{bundle.manifest.name} in {bundle.folder} is int8 already; compress the bundle it was made "
                "from"
            )
        if self.keep_floats and self.stages != ("quantize",):
            raise UsageError(
                "--keep-floats goes with --quantize int8 alone: what else is done changes the floats too"
            )
        if not self.stages:
            raise UsageError("compress: nothing is asked for; --quantize int8, --prune SHARE, ...")
        if self.merge_tokens:
            check_mergeable(bundle.manifest, self.merge_tokens)
        if self.calibration is None and self.calibration_texts is not None:
            raise UsageError("--calibration-texts goes with --calibration DIR, which names the photos")
        if self.prune is not None:
            check_prunable(bundle, self.prune)
            if self.calibration is None:
                raise UsageError("--prune needs --calibration DIR: what matters least is measured on photos")
