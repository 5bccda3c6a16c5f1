"""``/v1/chat/completions`` for models that describe photos and answer about them.

The photos are those of the last user message that has any; the text is the last user message's. A text that
asks for a description, or none, is answered with a caption, any other as a question about each photo.
Several photos are answered in one line each. A stream gives captions while they are written, as far as they
are certain, and other answers whole; where an unsure caption may be replaced, none of it is certain before it
is whole.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from seetell.core.chinese import has_chinese
from seetell.core.errors import ImageError
from seetell.core.results import Answer, Caption
from seetell.runtime.generation import GenerationOptions
from seetell.serving.batching import Lane
from seetell.serving.chat_schemas import (
    ChatMessage,
    ChatRequest,
    Choice,
    Completion,
    Message,
)
from seetell.serving.lanes import Watched, caption_lane, photo_lane
from seetell.serving.limits import MOST_CHARACTERS, MOST_PHOTOS
from seetell.serving.problems import NO_TEXT, Problem, problem_of
from seetell.serving.state import Serving, current
from seetell.serving.streaming import Growing
from seetell.serving.tokens import chat_usage, finish_reason
from seetell.tasks.model import Model

# What asks for a description rather than for an answer, from the start of the text.
_DESCRIBE = re.compile(
    r"\W*((please|can you|could you)\s+)*(describe|caption|tell me what you see|what do you see\b"
    r"|what(['’]s| is| are)\s+(in|on|shown in)\s+(the|this|that|these|those)\s+(image|photo|picture)s?\W*$"
    r"|what (does|do) (the|this|these) (image|photo|picture)s? show\W*$"
    r"|(请)?(描述|形容|说明)|(这|那)?(张|些|幅)?(图|图片|照片|图像)(里|中|上)?(面)?(有|是)什么\W*$)",
    re.IGNORECASE,
)


def chat_routes(serving: Serving) -> APIRouter:
    """``/v1/chat/completions``."""
    router = APIRouter(prefix="/v1", tags=["OpenAI-compatible"])

    @router.post(
        "/chat/completions", summary="Describe photos, or answer about them", response_model=Completion
    )
    async def chat(request: ChatRequest) -> Any:
        _check(request)
        urls, text = _asked(request.messages)
        photos = [await serving.photo(url, "messages") for url in urls]
        describes = not text.strip() or _DESCRIBE.match(text) is not None
        task = "caption" if describes else "ask"
        language = "zh" if has_chinese(text) else None

        def lane(model: Model) -> Lane:
            if not describes:
                return photo_lane(model, "ask")
            spoken = language if language in model.languages else None
            return caption_lane(model, spoken, _options(request, model))

        items = photos if describes else [(photo, text) for photo in photos]
        head: dict[str, Any] = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": request.model or serving.pool.default,
        }
        if request.stream:
            return await _stream(serving, request, task, lane, items, head, language)
        async with serving.pool.lease(request.model) as model:
            results = await serving.run(task, request.model, lane, items, "messages")
            said = [_said(one, language) for one in results]
            choice = Choice(
                message=ChatMessage(content="\n".join(said)),
                finish_reason=finish_reason(model, results),
            )
            usage = chat_usage(model, [] if describes else [text] * len(photos), said)
        return Completion(**head, choices=[choice], usage=usage, results=[asdict(one) for one in results])

    return router


def _options(request: ChatRequest, model: Model) -> GenerationOptions:
    """Of captions. They are never longer than by the model's own default: clients ask for thousands of
    tokens."""
    usual = model.generation_options().max_tokens
    changes = {"max_tokens": min(request.max_completion_tokens or request.max_tokens or usual, usual)}
    if request.beams is not None:
        changes["beams"] = request.beams
    return model.generation_options(**changes)


async def _stream(
    serving: Serving,
    request: ChatRequest,
    task: str,
    lane: Any,
    items: list[Any],
    head: dict[str, Any],
    language: str | None,
) -> StreamingResponse:
    """The answers as server-sent events. What goes wrong up to the first piece is an ordinary error."""
    note = current.get()
    note.task = task
    questions = [] if task == "caption" else [question for _, question in items]
    counts_tokens = request.stream_options is not None and bool(request.stream_options.include_usage)
    async with AsyncExitStack() as starting:
        model = await starting.enter_async_context(serving.pool.lease(request.model))
        note.model = model.name
        answers = [Growing() for _ in items]
        if task == "caption":
            items = [Watched(photo, answer.tell) for photo, answer in zip(items, answers, strict=True)]
        futures = serving.batcher.admit(lane(model), items)
        for future, answer in zip(futures, answers, strict=True):
            starting.callback(future.cancel)
            starting.callback(answer.leave)
        pieces = _pieces(answers, futures, language)
        starting.push_async_callback(pieces.aclose)
        try:
            first = await anext(pieces)
        except ImageError as error:
            raise problem_of(error, "messages") from error
        stack = starting.pop_all()

    def event(*choices: dict[str, Any], usage: dict[str, int] | None = None) -> str:
        # As OpenAI's: with usage asked for, every chunk has it, and it is null in all but the last.
        told = {"usage": usage} if counts_tokens else {}
        return _event({**head, "object": "chat.completion.chunk", "choices": choices, **told})

    def delta(said: dict[str, Any], finish: str | None = None) -> str:
        return event({"index": 0, "delta": said, "finish_reason": finish})

    async def events() -> AsyncIterator[str]:
        yield delta({"role": "assistant", "content": first})
        try:
            async for piece in pieces:
                yield delta({"content": piece})
        except Exception as error:
            problem = problem_of(error, "messages")
            if problem.status == 500:
                current.get().error = error
            yield _event({"error": problem.detail.model_dump()})
            return
        results = [future.result() for future in futures]
        yield delta({}, finish_reason(model, results))
        if counts_tokens:
            answered = [_said(one, language) for one in results]
            yield event(usage=chat_usage(model, questions, answered).model_dump())
        yield "data: [DONE]\n\n"

    return _Stream(events(), stack)


class _Stream(StreamingResponse):
    """Server-sent events that hold ``held`` until they are sent, or their client is gone."""

    def __init__(self, events: AsyncIterator[str], held: AsyncExitStack) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-store"})
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Not left to the generator: it may be cancelled before it begins, or outside of it, in sending.
        async with self._held:
            await super().__call__(scope, receive, send)


async def _pieces(
    answers: list[Growing], futures: list[asyncio.Future[Any]], language: str | None
) -> AsyncGenerator[str]:
    """What the answers' lines join to; at least one piece."""
    for place, (answer, future) in enumerate(zip(answers, futures, strict=True)):
        # A line begins with its first words: where they fail to come, there is no sign of it.
        before, begun = "\n" if place else "", False
        async with aclosing(answer.pieces(future, lambda result: _said(result, language))) as pieces:
            async for piece in pieces:
                yield piece if begun else before + piece
                begun = True
        if not begun:
            yield before


def _event(fields: dict[str, Any]) -> str:
    return f"data: {json.dumps(fields, ensure_ascii=False, allow_nan=False)}\n\n"


def _check(request: ChatRequest) -> None:
    """Raises Problem for what cannot be honoured and would change the answer's form."""
    refused = {
        "n": request.n not in (None, 1),
        "tools": bool(request.tools),
        "logprobs": bool(request.logprobs),
        "response_format": request.response_format is not None and request.response_format.type != "text",
    }
    for param, wrong in refused.items():
        if wrong:
            raise Problem(400, f"{param} is not to be had from this model; leave it out", param=param)


def _asked(messages: list[Message]) -> tuple[list[str], str]:
    """The photos' addresses and the text. Raises Problem where there is no photo, or too much of either."""
    users = [(place, message) for place, message in enumerate(messages) if message.role == "user"]
    text = ""
    if users:
        place, last = users[-1]
        text = last.text
        if len(text) > MOST_CHARACTERS:
            raise Problem(
                422,
                f"the last text has {len(text):,} characters, more than {MOST_CHARACTERS:,}",
                param=f"messages.{place}.content",
            )
        if not _is_text(text):
            raise Problem(422, f"the last text: {NO_TEXT}", param=f"messages.{place}.content")
    for place, message in reversed(users):
        if photos := message.photos:
            if len(photos) > MOST_PHOTOS:
                raise Problem(
                    422,
                    f"{len(photos)} photos, more than the {MOST_PHOTOS} of a request; send several requests",
                    param=f"messages.{place}.content",
                )
            return photos, text
    raise Problem(
        400,
        "no photo: this model speaks about photos, so send one as an image_url part of a user message",
        param="messages",
    )


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _said(result: Answer | Caption, language: str | None) -> str:
    if isinstance(result, Caption):
        text, unsure, language = result.text, result.unsure, result.language
    else:
        text, unsure = result.answer, result.abstained
    if not unsure:
        return text
    return f"我不确定，也许是{text}" if language == "zh" else f"I am not sure; perhaps {text}"
