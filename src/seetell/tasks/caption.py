"""``caption``: a photo described in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from seetell.core.errors import UsageError
from seetell.core.results import Caption
from seetell.runtime.generation import Generated, GenerationOptions, MaskedLanguage, NoRepeat, Watch, generate
from seetell.tasks import embed
from seetell.tasks.context import Context, Seen, at_least_one, checked_text, require, token_outputs

OnText = Callable[[int, str], bool]

# Mask-predict has to be told how long a caption is. A model has no length predictor here, so lengths
# that captions usually have are tried, this many of them.
_LENGTHS = 6
_USUAL_WORDS = (6, 20)
# How many different captions several beams have written is chance.
_FIT_ROWS = 8


def available(context: Context) -> bool:
    """Whether the model can describe photos in any way."""
    return context.has("image_encoder", "image_tokens") and (writes(context) or fills(context))


def writes(context: Context) -> bool:
    """Whether it can write word by word."""
    text = context.manifest.text
    return (
        text is not None
        and bool(text.decoder_start_ids)
        and context.has("decoder_memory")
        and context.has("text_decoder", "logits")
    )


def fills(context: Context) -> bool:
    """Whether it can fill masks, and so write with mask-predict."""
    text = context.manifest.text
    return text is not None and text.mask_id is not None and context.has("fusion_encoder", "token_logits")


def embeds_both(context: Context) -> bool:
    """Whether it has a vector for a photo and one for a text, to compare."""
    return embed.available(context) and context.has("text_encoder", "text_embeds")


class Captioner:
    """Captions of one language, ``count`` per photo.

    ``Caption.text`` begins with the prompt; ``Caption.score`` is over what was generated after it.
    ``on_text`` is told, while texts are written left to right, a photo's place and the beginning of its first
    caption that is certain, which only ever grows. Where it answers False, nobody waits for that caption.

    Raises UsageError for an unknown language and options that do not fit this model.
    """

    def __init__(
        self,
        context: Context,
        options: GenerationOptions,
        *,
        language: str | None = None,
        count: int = 1,
        on_text: OnText | None = None,
    ) -> None:
        instead = "use the other method of generation"
        if options.method == "mask_predict":
            require(context, fills(context), "masked-language head for mask_predict", instead)
        else:
            require(context, writes(context), "text decoder for the autoregressive method", instead)
        if options.fit_weight:
            require(
                context, embeds_both(context), "space that photos and texts share", "leave fit_weight at 0"
            )
        self._context = context
        self._options = options
        self._count = at_least_one(count, "count")
        # Of what is written anyway, so that choosing costs no more than reading it.
        self._choices = max(options.beams, count) if options.fit_weight else 1
        self._on_text = on_text
        self._language = context.language(language)
        text = context.text
        starts = text.fill_start_ids if options.method == "mask_predict" else text.decoder_start_ids
        start = starts.get(self._language)
        if start is None and options.method == "mask_predict":
            start = text.bos_id if text.fusion_bos_id is None else text.fusion_bos_id
        if start is None:
            raise UsageError(
                f"{context.manifest.name} writes no captions in {self._language!r}; "
                f"choose from: {', '.join(sorted(starts)) or 'none'}"
            )
        self._prompt = []
        if options.prompt is not None:
            self._prompt = context.tokenizer.encode_words(checked_text(options.prompt, "prompt"))
        self._lead = [start, *self._prompt]
        self._lengths: tuple[int, ...] = ()
        if options.method == "mask_predict":
            self._lengths = self._candidate_lengths()
        else:
            context.decoder.check_room(len(self._lead), options.max_tokens)

    @property
    def image_outputs(self) -> tuple[str, ...]:
        fitted = ("image_embeds",) if self._choices > 1 else ()
        return (*token_outputs(self._context), *fitted)

    def answer(self, seen: Seen, questions: Sequence[str]) -> list[list[Caption]]:
        if self._options.method == "mask_predict":
            run = self._options.no_repeat
            written = masked_language(self._context, seen).write(
                self._lead,
                self._lengths,
                count=self._count,
                rule=NoRepeat(run, self._context.spelling) if run else None,
            )
        else:
            written = generate(
                self._context.decoder,
                seen.tokens,
                seen.mask,
                self._lead,
                self._options,
                count=max(self._choices, self._count),
                choices=self._choices,
                watch=self._watch(seen),
                spelling=self._context.spelling,
            )
        captions = [[self._caption(one) for one in texts] for texts in written]
        if self._choices > 1:
            captions = self._fitting_first(captions, seen)
        return [several[: self._count] for several in captions]

    def _fitting_first(self, captions: list[list[Caption]], seen: Seen) -> list[list[Caption]]:
        """Each photo's captions, those first that are likely and fit it."""
        texts = [one.text for several in captions for one in several]
        # Nothing may have been written; an empty text fits no photo, and no photo less than another.
        said = {
            text: place for place, text in enumerate(dict.fromkeys(text for text in texts if text.strip()))
        }
        if not said:
            return captions
        embeds = embed.text_embeds(self._context, list(said), multiple=_FIT_ROWS)

        def worth(one: Caption, photo: int) -> float:
            cosine = seen.embeds[photo] @ embeds[said[one.text]] if one.text in said else 0.0
            return one.score + self._options.fit_weight * float(cosine)

        return [sorted(several, key=lambda one: -worth(one, photo)) for photo, several in enumerate(captions)]

    def _watch(self, seen: Seen) -> Watch | None:
        tell = self._on_text
        if tell is None:
            return None
        start_of = self._context.tokenizer.decode_start
        return lambda row, ids: tell(seen.places[row], start_of([*self._prompt, *ids]))

    def _caption(self, generated: Generated) -> Caption:
        return Caption(
            text=self._context.tokenizer.decode([*self._prompt, *generated.ids]),
            score=generated.score,
            language=self._language,
            model=self._context.manifest.name,
            precision=self._context.engine.precision,
        )

    def _candidate_lengths(self) -> tuple[int, ...]:
        """Numbers of words to try: evenly spread over the usual ones that the options allow."""
        room = self._context.text.context_length - len(self._lead) - 1
        most = min(self._options.max_tokens, room)
        if most < max(1, self._options.min_tokens):
            raise UsageError(
                f"the prompt of {len(self._lead)} tokens leaves room for {max(room, 0)} words only"
            )
        low = min(most, max(self._options.min_tokens, _USUAL_WORDS[0]))
        high = max(low, min(most, _USUAL_WORDS[1]))
        # At least as many lengths as captions are wanted.
        many = min(high - low + 1, max(_LENGTHS, self._count))
        return tuple(sorted({round(float(one)) for one in np.linspace(low, high, many)}))


def masked_language(context: Context, seen: Seen) -> MaskedLanguage:
    """The masked-language head over the photos of a batch."""
    text = context.text
    if text.mask_id is None:
        raise UsageError(f"{context.manifest.name} has no mask token")
    never = [text.bos_id, text.fusion_bos_id, text.answer_start_id]
    never += [*text.decoder_start_ids.values(), *text.fill_start_ids.values()]
    return MaskedLanguage(
        context.engine,
        seen.tokens,
        seen.mask,
        mask_id=text.mask_id,
        pad_id=text.pad_id,
        eos_id=text.eos_id,
        never=[one for one in never if one is not None],
        context_length=text.context_length,
    )
