"""How many tokens were read and written, and whether the answer ended at its limit."""

from __future__ import annotations

from collections.abc import Sequence

from seetell.core.results import Answer, Caption
from seetell.serving.chat_schemas import ChatUsage, FinishReason
from seetell.tasks.answer_ways import MOST_TOKENS
from seetell.tasks.api import AnyModel


def chat_usage(model: AnyModel, questions: Sequence[str], answers: Sequence[str]) -> ChatUsage:
    """Tokens of the questions as they are read, once for each photo, and of the answers as the model's
    tokenizer has them; photos have none."""
    asked = sum(model.count_tokens([text for text in questions if text.strip()]))
    answered = sum(_lengths(model, answers))
    return ChatUsage(prompt_tokens=asked, completion_tokens=answered, total_tokens=asked + answered)


def finish_reason(model: AnyModel, results: Sequence[Answer | Caption]) -> FinishReason:
    """``length`` where one of them was cut."""
    answers = [one.answer for one in results if isinstance(one, Answer)]
    captions = [one for one in results if isinstance(one, Caption)]
    # What is said in place of an unsure caption is whole, and so is what is chosen from a list.
    cut = any(one.cut and one.text == one.written for one in captions)
    return "length" if cut or (model.writes_answers and _full(model, answers)) else "stop"


def _full(model: AnyModel, answers: Sequence[str]) -> bool:
    """Whether one has as many tokens as an answer that is written may have, and so no end."""
    return any(length >= MOST_TOKENS for length in _lengths(model, answers))


def _lengths(model: AnyModel, texts: Sequence[str]) -> list[int]:
    """Tokens of what was written: a bound on them counts no mark at the beginning."""
    return [
        count - model.text_marks for count in model.count_tokens([text for text in texts if text.strip()])
    ]
