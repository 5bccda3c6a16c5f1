"""``embed``: photos and texts as unit vectors in one space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seetell.tasks.context import TEXT_ROWS, Context, Seen, checked_text, unit


def available(context: Context) -> bool:
    """Whether the model has a vector for a photo."""
    return context.has("image_encoder", "image_embeds")


def embeds_texts_alone(context: Context) -> bool:
    """Whether the model has a vector for a text and looks at no photos."""
    return context.has("text_encoder", "text_embeds") and not context.has("image_encoder")


class ImageEmbedder:
    """float32[S] per photo."""

    image_outputs = ("image_embeds",)

    def answer(self, seen: Seen, questions: Sequence[str]) -> list[NDArray[np.float32]]:
        return list(seen.embeds)


def text_embeds(context: Context, texts: Sequence[str], multiple: int = 1) -> NDArray[np.float32]:
    """Unit vectors float32[len(texts), S] of one or more texts. Raises TextError for an empty text.

    ``multiple``: rows are filled up to a multiple of so many. An engine makes a graph ready for every number
    of rows that it has not met; where that number depends on chance, few numbers cost less than few rows.
    """
    given = [checked_text(text, "text to embed") for text in texts]
    # Texts of like length run together, so that little is padding.
    order = sorted(range(len(given)), key=lambda place: len(given[place]))
    parts = []
    for first in range(0, len(order), TEXT_ROWS):
        chunk = [given[place] for place in order[first : first + TEXT_ROWS]]
        filled = chunk + chunk[-1:] * (-len(chunk) % multiple)
        ids, mask = context.tokenizer.encode(filled, lead_id=context.text.bos_id)
        found = context.run("text_encoder", {"input_ids": ids, "attention_mask": mask}, ["text_embeds"])
        parts.append(unit(found["text_embeds"])[: len(chunk)])
    embeds = np.concatenate(parts)
    result = np.empty_like(embeds)
    result[order] = embeds
    return result


def text_tokens(context: Context, texts: Sequence[str]) -> list[int]:
    """How many tokens of each text the text encoder reads. Raises TextError for an empty text."""
    given = [checked_text(text, "text to embed") for text in texts]
    _, mask = context.tokenizer.encode(given, lead_id=context.text.bos_id)
    return [int(count) for count in mask.sum(axis=1)]


def shared_dim(context: Context) -> int:
    """S as the manifest gives it; 0 where it leaves the axis open."""
    for role, name in (("image_encoder", "image_embeds"), ("text_encoder", "text_embeds")):
        for graph_role, graph in context.manifest.graphs.items():
            if graph_role == role and name in graph.outputs:
                size = graph.outputs[name].axes[-1]
                return size if isinstance(size, int) else 0
    return 0
