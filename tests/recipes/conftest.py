"""The scripts beside the recipes import one another by name, as when they are run."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "recipes" / "builtin"))
