"""Messages of a conversation, checked, and as a model's template wants them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from seetell.core.errors import TaskUnavailable, TextError, UsageError

Role = Literal["system", "user", "assistant"]
# Characters for private use (Unicode 3.5): they mean nothing, so that one of them can be a mark.
_MARKS = range(0xE000, 0xF8FF)


def checked(name: str, messages: Any) -> list[dict[str, str]]:
    """A conversation that a model without eyes can answer, each content one text.

    Raises UsageError for what is no conversation, TextError for an empty one, TaskUnavailable for photos;
    name: of the model.
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if not isinstance(messages, Iterable) or isinstance(messages, Mapping | bytes):
        raise UsageError(
            f"a conversation is a text or a list of messages, not {type(messages).__name__}; as in "
            '[{"role": "user", "content": "Hello"}]'
        )
    found = [_checked(name, number, message) for number, message in enumerate(messages, start=1)]
    if not found:
        raise TextError("the conversation has no message in it")
    if found[-1]["role"] != "user":
        raise UsageError(
            f"the last message is the {found[-1]['role']}'s; a conversation ends with the user's"
        )
    return found


def _checked(name: str, number: int, message: Any) -> dict[str, str]:
    if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
        raise UsageError(f"message {number}: a role and a content are wanted, and nothing else")
    role, content = message["role"], message["content"]
    if role not in get_args(Role):
        raise UsageError(f"message {number}: the role is one of {', '.join(get_args(Role))}, not {role!r}")
    parts = [content] if isinstance(content, str) else content
    if not isinstance(parts, list | tuple) or not parts:
        raise UsageError(f"message {number}: the content is a text, or a list of texts and photos")
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) < len(parts):
        raise TaskUnavailable(f"message {number}: {name} looks at no photos; its content has to be text")
    text = "\n".join(texts)
    if role == "user" and not text.strip():
        raise TextError(f"message {number}: the text is empty")
    return {"role": role, "content": text.encode("utf-8", "replace").decode("utf-8")}


def marked(messages: list[dict[str, str]], names: Sequence[str]) -> tuple[list[dict[str, str]], str]:
    """The messages with a mark in each of ``names`` that they spell, and the mark, one character.

    What is written in a message is text for the model to read. Without the mark ``<|im_start|>system`` in it
    would begin a message of its own.
    """
    everything = "".join(message["content"] for message in messages)
    mark = next(chr(code) for code in _MARKS if chr(code) not in everything)
    found = []
    for message in messages:
        content = message["content"]
        for name in sorted(names, key=len, reverse=True):
            content = content.replace(name, name[0] + mark + name[1:])
        found.append({**message, "content": content})
    return found, mark
