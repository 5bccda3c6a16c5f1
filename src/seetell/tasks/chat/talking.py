"""The verb ``chat`` as people call it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seetell.core.results import Reply
from seetell.runtime.generation.sampling import ChatOptions
from seetell.tasks.chat.chatter import ChatStream, Chatter


class Talks:
    """What can be talked to. Whoever is one makes the Chatter when it is asked for."""

    def _chatter(self) -> Chatter:
        """Raises TaskUnavailable for a model that cannot be talked to."""
        raise NotImplementedError

    def chat(
        self,
        messages: str | Sequence[Any],
        *,
        max_tokens: int = 200,
        temperature: float = 0.0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
    ) -> Reply:
        """Answer a conversation.

        What an earlier answer's conversation has in common with this one is not read again.

        Args:
            messages: ``{"role": "system" | "user" | "assistant", "content": text}`` in order, the user's
                last; or one text, for a message of the user's.
            max_tokens: of the answer at most.
            temperature: 0 for the likeliest token each time; over 0 tokens are drawn.
            top_p, min_p: draw from the likeliest tokens alone.
            repetition_penalty: over 1 discourages tokens that stand there already.
            seed: to draw the same again.
            stop: texts before the first of which the answer ends.

        Raises UsageError and TextError for what cannot be meant, among them a conversation with more tokens
        than the model reads; TaskUnavailable for a model that cannot be talked to.
        """
        options = _options(max_tokens, temperature, top_p, min_p, repetition_penalty, seed, stop)
        return self._chatter().reply(messages, options)

    def chat_stream(
        self,
        messages: str | Sequence[Any],
        *,
        max_tokens: int = 200,
        temperature: float = 0.0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
    ) -> ChatStream:
        """As :meth:`chat`, in pieces of text as they are written; ``.reply`` of what is returned is there
        afterwards. With a policy, which has to see answers first, it is one piece."""
        options = _options(max_tokens, temperature, top_p, min_p, repetition_penalty, seed, stop)
        return self._chatter().stream(messages, options)

    def chat_tokens(self, messages: str | Sequence[Any]) -> list[int]:
        """The tokens that a conversation becomes, up to where the answer begins. Errors as those of
        :meth:`chat`."""
        return self._chatter().prompt(messages)


def _options(
    max_tokens: int,
    temperature: float,
    top_p: float,
    min_p: float,
    repetition_penalty: float,
    seed: int | None,
    stop: str | Sequence[str],
) -> ChatOptions:
    texts = (stop,) if isinstance(stop, str) else tuple(stop)
    return ChatOptions(max_tokens, temperature, top_p, min_p, repetition_penalty, seed, texts)
