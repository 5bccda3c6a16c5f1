"""What a chat completion says: its text, whether it was cut, and how probable its words were."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seetell.core.errors import RemoteError

# Models that think first write this down where their server does not take it away.
_THOUGHT = re.compile(r"^\s*<think>.*?(</think>|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Said:
    """text: on one line, not empty. cut: it ended at the limit of tokens. log_probs: of its tokens, natural
    log, None where the server does not tell them."""

    text: str
    cut: bool
    log_probs: tuple[float, ...] | None

    @property
    def probability(self) -> float | None:
        """That the model writes exactly this."""
        return None if self.log_probs is None else min(1.0, math.exp(sum(self.log_probs)))

    @property
    def score(self) -> float | None:
        """The mean log-probability of a token."""
        return None if self.log_probs is None else sum(self.log_probs) / len(self.log_probs)


def read_answer(document: Mapping[str, Any], where: str) -> Said:
    """The answer of a completion. ``where`` begins messages.

    Raises RemoteError: ``declined`` where the model would not answer, ``bad_answer`` where there is none.
    """
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise RemoteError("bad_answer", f"{where} sent no answer in its answer")
    ended = choice.get("finish_reason")
    written = _text(message.get("content"))
    thought = _THOUGHT.match(written)
    text = " ".join((written[thought.end() :] if thought else written).split())
    if not text and (message.get("refusal") or ended == "content_filter"):
        raise RemoteError("declined", f"{where}: the model would not answer")
    if not text and ended == "length":
        raise RemoteError(
            "bad_answer", f"{where}: the limit of tokens was reached before an answer; allow more"
        )
    if not text:
        raise RemoteError("bad_answer", f"{where} sent an empty answer")
    # Of a thought, too, there are log-probabilities, and they are none of the answer's.
    log_probs = None if thought else _log_probs(choice.get("logprobs"))
    return Said(text, ended == "length", log_probs)


def _text(content: Any) -> str:
    """A text, or the texts of a list of parts."""
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _log_probs(found: Any) -> tuple[float, ...] | None:
    tokens = found.get("content") if isinstance(found, dict) else None
    if not isinstance(tokens, list) or not tokens:
        return None
    values = [one.get("logprob") if isinstance(one, dict) else None for one in tokens]
    known = tuple(float(one) for one in values if isinstance(one, int | float) and math.isfinite(one))
    return known if len(known) == len(tokens) else None


def read_tokens(document: Mapping[str, Any]) -> tuple[int, int] | None:
    """Tokens read and written, as the server counted them; None where it does not say."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return None
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    read, written = (one if isinstance(one, int) and one >= 0 else None for one in counts)
    return None if read is None or written is None else (read, written)
