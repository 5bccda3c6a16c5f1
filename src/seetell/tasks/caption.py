"""``caption``: a photo described in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from seetell.core.errors import UsageError
from seetell.core.results import Caption
from seetell.runtime.generation import Generated, GenerationOptions, MaskedLanguage, NoRepeat, Watch, generate
from seetell.tasks import ask, embed
from seetell.tasks.context import Context, Seen, at_least_one, checked_text, require, token_outputs
from seetell.tasks.label_vectors import LabelVectors
from seetell.tasks.sureness import Sureness

if TYPE_CHECKING:
    from seetell.bundle.manifest import CaptionConfidence

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
    Where an unsure caption may be replaced, nothing is certain before the end, and it is told an empty text.

    Raises UsageError for an unknown language and options that do not fit this model.
    """

    def __init__(
        self,
        context: Context,
        vectors: LabelVectors,
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
        self._asker = ask.Asker(context) if ask.available(context) else None
        self._of_texts = vectors
        self._fitted = self._confidence()
        self._lengths: tuple[int, ...] = ()
        if options.method == "mask_predict":
            self._lengths = self._candidate_lengths()
        else:
            context.decoder.check_room(len(self._lead), options.max_tokens)

    @property
    def image_outputs(self) -> tuple[str, ...]:
        fitted = ("image_embeds",) if self._choices > 1 or self._fitted is not None else ()
        return (*token_outputs(self._context), *fitted)

    def answer(self, seen: Seen, questions: Sequence[str]) -> list[list[Caption]]:
        captions = [[self._caption(one) for one in texts] for texts in self._written(seen)]
        if self._choices == 1 and self._fitted is None:
            return captions
        fit = self._fit(captions, seen)
        if self._choices > 1:
            captions = [self._fitting_first(*pair)[: self._count] for pair in zip(captions, fit, strict=True)]
        if self._sureness is None:
            return captions
        return self._judged(self._sureness, captions, fit, seen)

    def _judged(
        self, sureness: Sureness, captions: list[list[Caption]], fit: list[dict[str, float]], seen: Seen
    ) -> list[list[Caption]]:
        """The captions with their confidences. fit: as ``_fit`` has it."""
        questions = [[sureness.questions(one) for one in several] for several in captions]
        asked = [(place, text) for place, several in enumerate(questions) for own in several for text in own]
        there = iter(self._asker.there(seen, asked) if self._asker is not None else [None] * len(asked))
        return [
            [
                sureness.judged(one, cosines[one.text], list(islice(there, len(own))), image)
                for one, own in zip(several, asking, strict=True)
            ]
            for several, asking, cosines, image in zip(captions, questions, fit, seen.embeds, strict=True)
        ]

    def _written(self, seen: Seen) -> list[list[Generated]]:
        """For each photo ``count`` texts, or those to choose among."""
        run = self._options.no_repeat
        count = max(self._choices, self._count)
        if self._options.method == "mask_predict":
            return masked_language(self._context, seen).write(
                self._lead,
                self._lengths,
                count=count,
                rule=NoRepeat(run, self._context.spelling) if run else None,
            )
        return generate(
            self._context.decoder,
            seen.tokens,
            seen.mask,
            self._lead,
            self._options,
            count=count,
            choices=self._choices,
            watch=self._watch(seen),
            spelling=self._context.spelling if run else None,
        )

    def _fit(self, captions: list[list[Caption]], seen: Seen) -> list[dict[str, float]]:
        """For each photo the cosine with each of its captions; 0 for a caption without a word, which fits no
        photo, and no photo less than another."""
        texts = [one.text for several in captions for one in several]
        said = {
            text: place for place, text in enumerate(dict.fromkeys(text for text in texts if text.strip()))
        }
        if not said:
            return [{one.text: 0.0 for one in several} for several in captions]
        embeds = embed.text_embeds(self._context, list(said), multiple=_FIT_ROWS)
        return [
            {one.text: float(image @ embeds[said[one.text]]) if one.text in said else 0.0 for one in several}
            for several, image in zip(captions, seen.embeds, strict=True)
        ]

    def _fitting_first(self, several: list[Caption], cosines: dict[str, float]) -> list[Caption]:
        """The captions of a photo, those first that are likely and fit it."""
        weight = self._options.fit_weight
        return sorted(several, key=lambda one: -((one.score or 0.0) + weight * cosines[one.text]))

    def _watch(self, seen: Seen) -> Watch | None:
        tell = self._on_text
        if tell is None:
            return None
        if self._sureness is not None and self._sureness.may_replace:
            # Nothing is certain before the caption is judged; but it may still be nobody's any more.
            return lambda row, ids: tell(seen.places[row], "")
        start_of = self._context.tokenizer.decode_start
        return lambda row, ids: tell(seen.places[row], start_of([*self._prompt, *ids]))

    def _confidence(self) -> CaptionConfidence | None:
        """None where the bundle has none, and for captions of another kind than those it was fitted on: of a
        given beginning, or written by mask-predict, whose log-probabilities are others."""
        fitted = self._context.manifest.score.captions.get(self._language)
        as_fitted = self._options.prompt is None and self._options.method != "mask_predict"
        if fitted is None or not as_fitted or not embeds_both(self._context):
            return None
        if fitted.presence_weight and self._asker is None:
            return None
        return None if fitted.contrast_weight and not self._unsure_texts else fitted

    @property
    def _unsure_texts(self) -> tuple[str, ...]:
        return self._context.manifest.prompts.get("unsure", {}).get(self._language, ())

    # When the first photo has been let in, and not before: a policy may refuse it.
    @cached_property
    def _sureness(self) -> Sureness | None:
        if self._fitted is None:
            return None
        texts = self._unsure_texts
        of_texts = self._of_texts.of(texts, ("{}",)) if texts else np.zeros((0, 0), np.float32)
        scale = self._context.manifest.score.logit_scale
        return Sureness(self._fitted, texts, of_texts, scale, self._language)

    def _caption(self, generated: Generated) -> Caption:
        # Mask-predict is told how long a text is, and fills it.
        writes_on = self._options.method == "autoregressive"
        return Caption(
            text=self._context.tokenizer.decode([*self._prompt, *generated.ids]),
            score=generated.score,
            language=self._language,
            model=self._context.manifest.name,
            precision=self._context.engine.precision,
            cut=writes_on and len(generated.ids) >= self._options.max_tokens,
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
