"""A model that is talked to: one prompt from a conversation, one answer, whole or as it is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from seetell.core.errors import EngineError
from seetell.core.results import Reply, TokenLogProb
from seetell.runtime.generation.causal import CausalDecoder, Reading, causal_decoder
from seetell.runtime.generation.sampling import ChatOptions
from seetell.runtime.generation.writing import Spelt, Writing, write
from seetell.tasks.chat.messages import checked, marked
from seetell.tasks.chat.template import TemplateRenderer
from seetell.tasks.context import Context, require
from seetell.tasks.policy import Policy, Request

# Conversations whose beginnings stay read; what is kept of each grows with its length.
_KEPT = 4


def available(context: Context) -> bool:
    """Whether a model with these graphs can be talked to."""
    return context.manifest.chat is not None and context.has("embed_tokens") and context.has("text_decoder")


class Chatter:
    """Conversations with one model, possibly several at once, from several threads."""

    def __init__(self, context: Context, policy: Policy | None) -> None:
        self._context = context
        self._policy = policy
        self._lock = threading.Lock()
        self._idle: list[Reading] = []
        self._renderer: TemplateRenderer | None = None

    def reply(self, messages: Any, options: ChatOptions) -> Reply:
        """One answer. Errors as those of :meth:`stream`."""
        stream = self.stream(messages, options)
        for _ in stream:
            pass
        return stream.reply

    def stream(self, messages: Any, options: ChatOptions) -> ChatStream:
        """An answer as it is written. What is wrong with the call is said at once.

        Raises UsageError, TextError, TaskUnavailable, BundleInvalid and MissingExtra.
        """
        chat = self._context.manifest.chat
        require(self._context, chat is not None, "chat template", "it cannot be talked to")
        assert chat is not None
        found = checked(self._context.manifest.name, messages)
        request = Request("chat", None, tuple(message["content"] for message in found))
        if self._policy is not None:
            self._policy.enter(request, None)
        ids = self._prompt(found)
        decoder = self._decoder()
        decoder.check_room(len(ids), options.max_tokens)
        return ChatStream(self._answers(decoder, ids, options), request, self._policy)

    def prompt(self, messages: Any) -> list[int]:
        """The tokens of a conversation, up to where the answer begins. Errors as those of :meth:`stream`."""
        return self._prompt(checked(self._context.manifest.name, messages))

    def close(self) -> None:
        """Let go of what was read and of the process that renders the template."""
        with self._lock:
            self._idle.clear()
            renderer, self._renderer = self._renderer, None
        if renderer is not None:
            renderer.close()

    def _prompt(self, messages: list[dict[str, str]]) -> list[int]:
        """The tokens of a conversation, up to where the answer begins."""
        tokenizer = self._context.tokenizer
        ready, mark = marked(messages, tokenizer.special_names())
        text = self._rendering().render([dict(one) for one in ready], marker=mark)
        return tokenizer.encode_named(text, mark)

    def _rendering(self) -> TemplateRenderer:
        with self._lock:
            if self._renderer is None:
                chat = self._context.manifest.chat
                assert chat is not None
                self._renderer = TemplateRenderer(self._context.manifest.name, chat.template, chat.tokens)
            return self._renderer

    def _decoder(self) -> CausalDecoder:
        graph = self._context.manifest.graphs.get("text_decoder")
        decoder = (
            None
            if graph is None
            else causal_decoder(self._context.engine, graph, self._context.text.context_length)
        )
        require(self._context, decoder is not None, "language model", "it cannot be talked to")
        assert decoder is not None
        return decoder

    def _answers(
        self, decoder: CausalDecoder, ids: list[int], options: ChatOptions
    ) -> Iterator[tuple[str, Reply | None]]:
        """What is certain of the answer after every token; at last the whole of it."""
        tokenizer = self._context.tokenizer
        spelt = Spelt(tokenizer.decode, tokenizer.decode_start)
        chat = self._context.manifest.chat
        assert chat is not None
        with self._reading(decoder, ids) as reading:
            answer: Writing | None = None
            for (answer,) in write(reading, [ids], chat.stop_ids, options, spelt):
                if answer.running:
                    yield answer.text(), None
        assert answer is not None
        reply = self._reply(answer, len(ids))
        yield reply.text, reply

    def _reply(self, answer: Writing, prompt_tokens: int) -> Reply:
        tokenizer = self._context.tokenizer
        text = answer.text()  # before the reason, which it may settle
        written = answer.ids if answer.ended_by is None else [*answer.ids, answer.ended_by]
        names = [tokenizer.token(token) or "" for token in written]
        return Reply(
            text=text,
            finish_reason=answer.finish_reason,
            prompt_tokens=prompt_tokens,
            completion_tokens=len(answer.log_probs),
            reused_tokens=answer.reused,
            logprobs=tuple(map(TokenLogProb, names, answer.log_probs)),
            model=self._context.manifest.name,
            precision=self._context.engine.precision,
        )

    @contextmanager
    def _reading(self, decoder: CausalDecoder, ids: list[int]) -> Iterator[Reading]:
        """The one idle reading that has most of the prompt read, or a new one; nobody else holds it."""
        with self._lock:
            best = max(self._idle, key=lambda one: one.common(ids), default=None)
            if best is not None and (best.common(ids) or len(self._idle) >= _KEPT):
                self._idle.remove(best)
            else:
                best = None
        reading = decoder.reading() if best is None else best
        try:
            yield reading
        except EngineError:
            raise  # what the reading holds by now nobody knows
        except BaseException:
            self._put_back(reading)
            raise
        self._put_back(reading)

    def _put_back(self, reading: Reading) -> None:
        with self._lock:
            if len(self._idle) < _KEPT:
                self._idle.append(reading)


class ChatStream:
    """Pieces of an answer as they are written; together they are its text. ``reply`` is there afterwards."""

    def __init__(
        self, answers: Iterator[tuple[str, Reply | None]], request: Request, policy: Policy | None
    ) -> None:
        self._answers = answers
        self._request = request
        self._policy = policy
        self._shown = 0
        self._reply: Reply | None = None

    @property
    def reply(self) -> Reply:
        """The whole answer. Raises AttributeError before it is written."""
        if self._reply is None:
            raise AttributeError("the answer is not written yet; go through the stream first")
        return self._reply

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while True:
            text, reply = next(self._answers)
            if reply is not None:
                # A policy sees an answer before anybody else does.
                if self._policy is not None:
                    reply = self._policy.exit(self._request, reply)
                self._reply, text = reply, reply.text
            elif self._policy is not None:
                continue
            piece, self._shown = text[self._shown :], max(self._shown, len(text))
            if piece:
                return piece

    def close(self) -> None:
        """Write no further."""
        close = getattr(self._answers, "close", None)
        if close is not None:
            close()
