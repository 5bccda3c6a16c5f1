"""A causal language model as the writing loop sees it: rows of tokens, read once, and what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import TextError, UsageError
from seetell.runtime.engine import Engine
from seetell.runtime.states import ROLE, open_state

if TYPE_CHECKING:
    from seetell.bundle.manifest import GraphSpec

# Tokens of a prompt read in one pass. Attention holds its scores whole, which grow with this times all that
# was read before.
_AT_ONCE = 512


class CausalDecoder:
    """The roles ``embed_tokens`` and ``text_decoder`` of one engine.

    Args:
        engine: runs the roles.
        graph: the manifest's entry for ``text_decoder``.
        context_length: how many tokens it reads and writes together.
    """

    def __init__(self, engine: Engine, graph: GraphSpec, *, context_length: int) -> None:
        self.engine = engine
        self.graph = graph
        self.context_length = context_length

    def check_room(self, prompt_tokens: int, max_tokens: int) -> None:
        """Raises TextError for a prompt that leaves no room to write, UsageError where ``max_tokens`` is more
        than there is room for."""
        # The last token written is never read back, hence the one more.
        room = self.context_length - prompt_tokens + 1
        if room < 1:
            raise TextError(
                f"the conversation is {prompt_tokens} tokens long, and the model reads "
                f"{self.context_length}; leave out earlier messages"
            )
        if max_tokens > room:
            raise UsageError(
                f"max_tokens {max_tokens} is more than the {room} there is room for after {prompt_tokens} "
                f"tokens of conversation, with a context of {self.context_length}; ask for fewer, or leave "
                "out earlier messages"
            )

    def reading(self) -> Reading:
        """Nothing read yet. Raises EngineError and BundleInvalid."""
        return Reading(self)


class Reading:
    """What a decoder has read, row by row, side by side. For one thread at a time."""

    def __init__(self, decoder: CausalDecoder) -> None:
        self._decoder = decoder
        self._state = open_state(decoder.engine, decoder.graph)
        # Of one row alone: what it has read and still attends to. None where that is not followed.
        self._ids: list[int] | None = None
        # Which places of the caches are attended to, bool[R, P].
        self._mask = np.zeros((0, 0), np.bool_)
        self._rows: NDArray[np.int64] | None = None

    def prompts(self, prompts: Sequence[Sequence[int]]) -> tuple[NDArray[np.float32], int]:
        """Read texts from their beginnings; of one alone, what it has in common with what was read before
        stays.

        Rows are padded on the left to the longest. Returns the logits float32[R, V] of what follows each, and
        how many tokens did not have to be read again.
        """
        kept = self._keep_common(prompts[0]) if len(prompts) == 1 else 0
        if not kept:
            self._forget(len(prompts))
        width = max(len(prompt) - kept for prompt in prompts)
        ids = np.zeros((len(prompts), width), np.int64)
        mask = np.zeros((len(prompts), width), np.bool_)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) + kept :] = prompt[kept:]
            mask[row, width - len(prompt) + kept :] = True
        for start in range(0, width, _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            logits = self._read(ids[:, part], mask[:, part])
        self._ids = list(prompts[0]) if len(prompts) == 1 else None
        return logits, kept

    def common(self, prompt: Sequence[int]) -> int:
        """With how many tokens that were read this text begins, its last not counted: it is read again, for
        the logits that follow it."""
        count = 0
        for ours, theirs in zip(self._ids or (), prompt[:-1], strict=False):
            if ours != theirs:
                break
            count += 1
        return count

    def next(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read one more token int64[R] of every row. Returns the logits float32[R, V] of what follows."""
        logits = self._read(tokens[:, None], np.ones((len(tokens), 1), np.bool_))
        if self._ids is not None:
            self._ids.append(int(tokens[0]))
        return logits

    def select(self, rows: NDArray[np.intp]) -> None:
        """Go on with these rows alone."""
        self._rows = rows.astype(np.int64)
        self._mask = self._mask[rows]
        self._ids = None

    def _forget(self, rows: int) -> None:
        self._state.clear()
        self._ids = None
        self._mask = np.zeros((rows, 0), np.bool_)
        self._rows = None

    def _keep_common(self, prompt: Sequence[int]) -> int:
        """Attend no more to what the prompt does not begin with; how many tokens stay."""
        common = self.common(prompt)
        places = self._mask.shape[1]
        # What is attended to no more still takes part in every product. Positions count what is attended to.
        if not common or common < places // 2:
            return 0
        alive = np.flatnonzero(self._mask[0])
        self._mask[0, alive[common:]] = False
        return common

    def _read(self, ids: NDArray[np.int64], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Read int64[R, T] on; the logits float32[R, V] that follow the last."""
        beam_idx = np.arange(len(ids), dtype=np.int64) if self._rows is None else self._rows
        self._rows = None
        self._mask = np.concatenate([self._mask, mask], axis=1)
        embeds = self._decoder.engine.run("embed_tokens", {"input_ids": ids}, ["inputs_embeds"])
        logits = self._state.run(
            {
                "inputs_embeds": embeds["inputs_embeds"],
                "attention_mask": self._mask,
                "beam_idx": beam_idx,
                "logit_places": np.array([ids.shape[1] - 1], np.int64),
            }
        )
        return logits[:, 0]


def causal_decoder(engine: Engine, graph: GraphSpec, context_length: int) -> CausalDecoder | None:
    """None for an engine without the roles."""
    if not (engine.outputs("embed_tokens") and "inputs_embeds" in engine.inputs(ROLE)):
        return None
    return CausalDecoder(engine, graph, context_length=context_length)
