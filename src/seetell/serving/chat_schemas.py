"""What requests for chat completions and their answers look like. Their fields are OpenAI's.

Only what has an effect is bounded: long instructions and earlier turns are let be.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, field_validator
from pydantic_core import PydanticCustomError

from seetell.serving.branches import branch, wrong_shape
from seetell.serving.limits import MOST_BEAMS, MOST_MESSAGES, MOST_PARTS
from seetell.serving.schemas import Name, Usage

_TEXT = '{"type": "text", "text": "..."}'
_PHOTO = '{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,..."}}'
# What other APIs call their parts.
_TEXTS_ELSEWHERE = frozenset({"input_text", "output_text"})
_PHOTOS_ELSEWHERE = frozenset({"image", "input_image", "image_base64", "file"})


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class ImageUrl(BaseModel):
    url: str = Field(min_length=1, description="data:image/jpeg;base64,DATA or an http(s) address.")
    detail: str | None = None


def _address(given: Any) -> Any:
    """Many clients send the address itself."""
    if isinstance(given, str):
        return {"url": given}
    if isinstance(given, dict | ImageUrl):
        return given
    raise wrong_shape(f"a photo is {_PHOTO}")


class ImagePart(BaseModel):
    type: Literal["image_url"]
    image_url: Annotated[ImageUrl, BeforeValidator(_address, json_schema_input_type=str | ImageUrl)]


def _part(given: Any) -> Any:
    if isinstance(given, str):
        raise wrong_shape(f"a text within a list is {_TEXT}")
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "text":
        return TextPart.model_validate
    if kind == "image_url":
        return ImagePart.model_validate
    if isinstance(kind, str) and kind in _TEXTS_ELSEWHERE:
        raise wrong_shape(f"a text is {_TEXT} here")
    if isinstance(kind, str) and kind in _PHOTOS_ELSEWHERE:
        raise wrong_shape(f"a photo is {_PHOTO} here")
    if isinstance(given, dict) and kind is None:
        raise wrong_shape(f"it has no type; a part is {_TEXT} or {_PHOTO}")
    raise wrong_shape(f"a part is {_TEXT} or {_PHOTO}; other kinds are not read")


_PARTS: TypeAdapter[list[TextPart | ImagePart]] = TypeAdapter(
    list[Annotated[TextPart | ImagePart, branch(_part)]]
)


def _content(given: Any) -> Any:
    if given is None or isinstance(given, str):
        return lambda text: text
    if isinstance(given, list):
        return _PARTS.validate_python
    if isinstance(given, dict):
        raise wrong_shape("content is a text or a list of parts; put the part in a list: [{...}]")
    raise wrong_shape(f"content is a text or a list of parts, each {_TEXT} or {_PHOTO}")


class Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[str | list[TextPart | ImagePart] | None, branch(_content)] = None

    @property
    def text(self) -> str:
        """What it says."""
        if isinstance(self.content, list):
            return " ".join(part.text for part in self.content if isinstance(part, TextPart))
        return self.content or ""

    @property
    def photos(self) -> list[str]:
        """The addresses of its photos."""
        parts = self.content if isinstance(self.content, list) else []
        return [part.image_url.url for part in parts if isinstance(part, ImagePart)]


class StreamOptions(BaseModel):
    include_usage: bool | None = None


class ResponseFormat(BaseModel):
    type: str


class ChatRequest(BaseModel):
    """OpenAI's; what concerns sampling has no effect, for the most probable words are written. What changes
    the answer's form and is not to be had (tools, several choices, JSON, log-probabilities) is refused.
    ``beams`` is our own."""

    model_config = ConfigDict(extra="ignore")

    model: Name | None = None
    messages: list[Message] = Field(min_length=1, max_length=MOST_MESSAGES)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    beams: int | None = Field(None, ge=1, le=MOST_BEAMS, description="Of captions; 1 streams every word.")
    n: int | None = None
    tools: list[Any] | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None

    @field_validator("messages", mode="before")
    @classmethod
    def _few_parts(cls, given: Any) -> Any:
        """Reading millions of them would keep everybody else waiting."""
        if isinstance(given, list):
            contents = (one.get("content") for one in given if isinstance(one, dict))
            count = sum(len(content) for content in contents if isinstance(content, list))
            if count > MOST_PARTS:
                raise PydanticCustomError(
                    "too_many_parts",
                    "{count} parts in all messages, more than {most}",
                    {"count": count, "most": MOST_PARTS},
                )
        return given


class ChatMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str


FinishReason = Literal["stop", "length"]


class Choice(BaseModel):
    index: int = 0
    message: ChatMessage
    finish_reason: FinishReason


class ChatUsage(Usage):
    completion_tokens: int


class Completion(BaseModel):
    """OpenAI's, and ``results``: what ``/v1/caption`` or ``/v1/ask`` gives for each photo."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: ChatUsage
    results: list[dict[str, Any]]
