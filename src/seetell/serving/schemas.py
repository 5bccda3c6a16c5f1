"""What requests look like. Unknown fields are refused, types are not converted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from seetell.serving.limits import MOST_BEAMS, MOST_CHARACTERS, MOST_TEXTS, MOST_TOKENS

# At least one character that is no space: an empty text would fail in the model, with those of others.
Text = Annotated[str, StringConstraints(min_length=1, max_length=MOST_CHARACTERS, pattern=r"\S")]
Texts = Annotated[list[Text], Field(min_length=1, max_length=MOST_TEXTS)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Request(BaseModel):
    """What every request may say."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    model: Name | None = Field(None, description="One of GET /v1/models; by default its first.")

    @model_validator(mode="before")
    @classmethod
    def _null_is_left_out(cls, given: Any) -> Any:
        """Many clients send null for what their users did not set."""
        if not isinstance(given, dict):
            return given
        return {
            name: value for name, value in given.items() if value is not None or name not in cls.model_fields
        }


class Usage(BaseModel):
    """prompt_tokens: what the model read of the texts; photos have none. total_tokens: all that count."""

    prompt_tokens: int
    total_tokens: int


class PhotoRequest(Request):
    photo: str = Field(
        min_length=1, description="data:image/jpeg;base64,DATA or an http(s) address.", repr=False
    )


class CaptionRequest(PhotoRequest):
    language: Name | None = Field(None, description="By default the model's first.")
    method: Literal["autoregressive", "mask_predict"] | None = None
    beams: int | None = Field(None, ge=1, le=MOST_BEAMS)
    max_tokens: int | None = Field(None, ge=1, le=MOST_TOKENS)
    prompt: Text | None = Field(None, description="What the caption begins with.")


class AskRequest(PhotoRequest):
    question: Text
    answers: Texts | None = Field(None, description="Choose among these only.")
    top: int = Field(
        5,
        ge=1,
        le=100,
        description=f"How many alternatives to give; at most {MOST_BEAMS} where the model writes them.",
    )
    min_confidence: float | None = Field(None, ge=0, le=1, description="Abstain below it.")


class MatchRequest(PhotoRequest):
    texts: Texts


class ClassifyRequest(PhotoRequest):
    labels: Texts | None = Field(None, description="By default the model's own.")
    language: Name | None = None
