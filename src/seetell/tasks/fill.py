"""``fill``: the masked words of a text about a photo."""

from __future__ import annotations

from collections.abc import Sequence

from seetell.core.errors import TextError
from seetell.core.results import Fill
from seetell.runtime.generation import Refined
from seetell.tasks.caption import fills, masked_language
from seetell.tasks.context import Context, Seen, at_least_one, checked_text, token_outputs


def available(context: Context) -> bool:
    """Whether the model can fill masks."""
    return context.has("image_encoder", "image_tokens") and fills(context)


class Filler:
    """Fills one text for every photo, in the ``top`` best ways. Each mask stands for one token.

    Raises TextError for a text that is empty, too long or has no mask.
    """

    def __init__(self, context: Context, text: str, *, top: int = 5, language: str | None = None) -> None:
        spec = context.text
        words = context.tokenizer.encode_words(checked_text(text, "text to fill"))
        if spec.mask_id not in words:
            mask = None if spec.mask_id is None else context.tokenizer.token(spec.mask_id)
            raise TextError(f"nothing to fill in {text!r}: write {mask} where a word is missing")
        if len(words) + 2 > spec.context_length:
            raise TextError(
                f"the text to fill has {len(words)} tokens; at most {spec.context_length - 2} fit"
            )
        lead = spec.fill_start_ids.get(context.language(language, [text]))
        if lead is None:
            lead = spec.bos_id if spec.fusion_bos_id is None else spec.fusion_bos_id
        self._context = context
        self._top = at_least_one(top, "top")
        self._row = [*([] if lead is None else [lead]), *words, spec.eos_id]

    @property
    def image_outputs(self) -> tuple[str, ...]:
        return token_outputs(self._context)

    def answer(self, seen: Seen, questions: Sequence[str]) -> list[list[Fill]]:
        filled = masked_language(self._context, seen).fill(self._row, top=self._top)
        return [[self._result(one) for one in ways] for ways in filled]

    def _result(self, refined: Refined) -> Fill:
        tokenizer = self._context.tokenizer
        return Fill(
            text=tokenizer.decode(refined.ids),
            words=tuple(tokenizer.decode([word]) for word in refined.words),
            score=refined.score,
            model=self._context.manifest.name,
            precision=self._context.engine.precision,
        )
