"""Whether a checkpoint's output matrix is its input embedding."""

from __future__ import annotations

import torch

from seetell.modeling.checkpoints.source import CheckpointFolder


def is_tied(folder: CheckpointFolder, embedding: str, output: str) -> bool:
    """Whether the weights called ``embedding`` and ``output`` are one: a file has one of them, or both alike.

    The weights decide and not ``tie_word_embeddings``, whose default was another in transformers 4 than it is
    in 5 for some models. transformers 5 decides so as well.
    """
    if not {embedding, output} <= folder.weight_names().keys():
        return True
    # Tables build models on torch's meta device, where nothing can be compared.
    with torch.device("cpu"):
        return torch.equal(folder.tensor(embedding), folder.tensor(output))
