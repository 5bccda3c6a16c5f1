"""One conversation of ``seetell chat``: what was said, and how answers are shown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from seetell.cli.output import Output, write_text
from seetell.core.lines import printable

if TYPE_CHECKING:
    from seetell.tasks.model import Model


class Talk:
    """A conversation on the command line: what was said, and how answers are shown.

    Args:
        model: to talk to.
        out: of the command.
        settings: of ``Model.chat``.
        system: the first message, None for the model's own.
        logprobs: whether lines of JSON have those.
    """

    def __init__(
        self,
        model: Model,
        out: Output,
        settings: dict[str, Any],
        system: str | None,
        *,
        logprobs: bool = False,
    ) -> None:
        self._model = model
        self._out = out
        self._settings = settings
        self._logprobs = logprobs
        self.messages: list[dict[str, str]] = []
        self.begin(system)

    def begin(self, system: str | None) -> None:
        """Forget what was said."""
        self._system = system
        self.messages = [] if system is None else [{"role": "system", "content": system}]

    def again(self) -> None:
        """Forget what was said, but for how to answer."""
        self.begin(self._system)

    def say(self, text: str) -> None:
        """One turn: the answer to ``text`` is printed and remembered. Raises what ``Model.chat`` raises."""
        asked = [*self.messages, {"role": "user", "content": text}]
        stream = self._model.chat_stream(asked, **self._settings)
        began, first = time.perf_counter(), None
        written: list[str] = []
        try:
            for piece in stream:
                first = time.perf_counter() if first is None else first
                written.append(piece)
                if not self._out.json:
                    show(piece)
        finally:
            stream.close()
            # What was said before Ctrl-C was said.
            self.messages = [*asked, {"role": "assistant", "content": "".join(written)}]
            if not self._out.json:
                show("\n")
        self._told(stream.reply, began, first or time.perf_counter())

    def _told(self, reply: Any, began: float, first: float) -> None:
        from dataclasses import asdict

        if self._out.json:
            fields = asdict(reply)
            if not self._logprobs:
                del fields["logprobs"]
            self._out.result(fields)
        took = time.perf_counter() - first
        speed = f", {(reply.completion_tokens - 1) / took:.1f} tokens/s" if took > 0 else ""
        cut = "; cut off at --max-tokens" if reply.finish_reason == "length" else ""
        self._out.note(
            f"{reply.prompt_tokens} tokens read ({reply.reused_tokens} of them before), first words after "
            f"{first - began:.1f} s, {reply.completion_tokens} written{speed}{cut}"
        )


def show(text: str) -> None:
    """Write a piece of an answer as it is, but for what a terminal would obey."""
    lines = text.replace("\t", "    ").split("\n")
    write_text("\n".join(printable(line) for line in lines))
