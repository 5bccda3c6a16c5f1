"""How much memory a conversion takes, beside the size of the checkpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

from seetell.bundle.store import open_bundle
from seetell.modeling import export

# At most so many times the size of a checkpoint in float32, all of the process with torch and OpenVINO.
MOST = 2.5

# VmHWM is the most that was resident at once, mapped files included. It begins anew with the program, which
# what a parent process reads of its child's usage does not.
CONVERT = """
import sys
from pathlib import Path
from seetell.cli.main import run
status = run(["convert", *sys.argv[1:]])
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line for line in lines if line.startswith("VmHWM")).split()[1])
sys.exit(status)
"""


def save_clip(folder: Path) -> None:
    """openai/clip-vit-base-patch32's sizes, seeded weights, and a vocabulary of made-up words."""
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config={"bos_token_id": 49406, "eos_token_id": 49407})).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += [f"word{number}" for number in range(49406 - len(words))]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    settings = {"tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_conversion_takes_little_more_than_the_weights(tmp_path: Path) -> None:
    save_clip(tmp_path / "clip")
    size_bytes = (tmp_path / "clip" / "model.safetensors").stat().st_size
    assert size_bytes > 600_000_000
    source = str(Path(export.__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, str(tmp_path / "clip"), str(tmp_path / "bundle")],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    peak_bytes = int(done.stdout.split()[-1]) * 1024
    assert peak_bytes <= MOST * size_bytes, f"{peak_bytes / size_bytes:.2f} times the checkpoint"
    open_bundle(tmp_path / "bundle").verify()
