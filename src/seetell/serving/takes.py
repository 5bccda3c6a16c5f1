"""What each address takes, for those who send it: an example of it, the fields that a form may have, and the
words for what is missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from seetell.serving.chat_schemas import ChatRequest
from seetell.serving.openai_api import EmbeddingsRequest
from seetell.serving.photo_index_api import IndexRequest, SearchRequest
from seetell.serving.problems import Problem
from seetell.serving.schemas import AskRequest, CaptionRequest, ClassifyRequest, MatchRequest

# A red disc: a whole photo, and short enough to be read over in an example.
EXAMPLE_PHOTO = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAADAAAAAwAQMAAABtzGvEAAAABlBMVEX////cHh7/Hx2WAAAAaUlEQVR42p3PwQ3C"
    "MBSD4S8vSO2REboJYfOMwAgdIccKVQ0HhCI4IIEvln/7Yv7W1MDlILOmVEOiYOq9CTOzeK7DmZOwEAMW0kggq0jv8JtlCtfPrtJHWjmExj7g"
    "xibcuQmd+no0/v2mB9mQFkejAk+3AAAAAElFTkSuQmCC"
)
_SHORT = "data:image/jpeg;base64,..."


@dataclass(frozen=True)
class Takes:
    """What an address takes. example: of all fields that most requests have. photo_field: where a photo
    stands; None where it cannot be sent as it is. more: what a photo sent as it is says besides."""

    model: type[BaseModel]
    example: dict[str, Any]
    photo_field: str | None = None
    more: dict[str, Any] | None = None

    @property
    def names(self) -> list[str]:
        return list(self.model.model_fields)

    @property
    def short(self) -> str:
        """The example as one line, its photo shortened."""
        return json.dumps(self.example, ensure_ascii=False).replace(EXAMPLE_PHOTO, _SHORT)

    def sends(self, field: str) -> str:
        """How the example says ``field``; empty where it does not."""
        if field not in self.example:
            return ""
        value = json.dumps(self.example[field], ensure_ascii=False).replace(EXAMPLE_PHOTO, _SHORT)
        return f'"{field}": {value}'

    def gathered(self, said: Sequence[tuple[str, str]], *, photo: bool) -> dict[str, Any]:
        """The JSON that the fields of a form stand for; photo: one is among them. Raises Problem for a field
        given twice."""
        given: dict[str, Any] = dict((self.more or {}) if photo else {})
        several: dict[str, list[str]] = {}
        for name, value in said:
            several.setdefault(name, []).append(value)
        for name, values in several.items():
            kinds = self._kinds.get(name, {"string"})
            if "array" in kinds and ("string" not in kinds or len(values) > 1):
                given[name] = values
            elif len(values) > 1:
                param = name[:200]
                raise Problem(422, f"{param}: it is given {len(values)} times; send it once", param=param)
            else:
                given[name] = values[0] if "string" in kinds else _plain(values[0])
        return given

    @cached_property
    def form(self) -> dict[str, Any]:
        """The schema of the form: that of the JSON, with the photo as a file."""
        schema = self.model.model_json_schema()
        properties = dict(schema["properties"])
        if self.photo_field is not None:
            file = {"type": "string", "format": "binary", "description": "The photo, as a file."}
            properties[self.photo_field] = file
        required = schema.get("required", [])
        return {"type": "object", "properties": properties, **({"required": required} if required else {})}

    @cached_property
    def _kinds(self) -> dict[str, set[str]]:
        """The types of JSON that each field may have."""
        return {
            name: {one["type"] for one in (schema, *schema.get("anyOf", ())) if "type" in one}
            for name, schema in self.model.model_json_schema()["properties"].items()
        }


def _plain(text: str) -> Any:
    """A number or a truth value as JSON writes it; the text itself where it is neither, to be refused."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


_DESCRIBE = [
    {"type": "text", "text": "Describe this photo."},
    {"type": "image_url", "image_url": EXAMPLE_PHOTO},
]
TAKES: dict[str, Takes] = {
    "/v1/caption": Takes(CaptionRequest, {"photo": EXAMPLE_PHOTO, "language": "en"}, "photo"),
    "/v1/ask": Takes(AskRequest, {"photo": EXAMPLE_PHOTO, "question": "what colour is the circle?"}, "photo"),
    "/v1/match": Takes(
        MatchRequest, {"photo": EXAMPLE_PHOTO, "texts": ["a red circle", "a blue square"]}, "photo"
    ),
    "/v1/classify": Takes(ClassifyRequest, {"photo": EXAMPLE_PHOTO, "labels": ["circle", "square"]}, "photo"),
    "/v1/search": Takes(SearchRequest, {"text": "a dog on the beach -people", "k": 5}, "photo"),
    "/v1/index": Takes(IndexRequest, {}),
    "/v1/embeddings": Takes(
        EmbeddingsRequest, {"input": ["a dog", "一只狗"]}, "input", more={"modality": "image"}
    ),
    "/v1/chat/completions": Takes(ChatRequest, {"messages": [{"role": "user", "content": _DESCRIBE}]}),
}


def describe(document: dict[str, Any]) -> None:
    """Add the examples, and what else than JSON is taken, to an OpenAPI document."""
    for path, takes in TAKES.items():
        content = document["paths"][path]["post"]["requestBody"]["content"]
        content["application/json"]["example"] = takes.example
        if takes.photo_field is not None:
            content["multipart/form-data"] = {"schema": takes.form}
            content["image/*"] = {"schema": {"type": "string", "format": "binary"}}
