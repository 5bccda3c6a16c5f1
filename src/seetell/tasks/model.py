"""The facade: one model, all its verbs. ``load`` opens one."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from seetell.core import settings
from seetell.core.errors import ConversionNeeded, TaskUnavailable, UsageError
from seetell.core.results import Answer, Caption, Classification, Features, Fill, Match
from seetell.media.images import Photo
from seetell.runtime.engine import Engine
from seetell.runtime.generation import GenerationOptions
from seetell.tasks import ask, caption, classify, embed, features, fill, match
from seetell.tasks.caption import OnText
from seetell.tasks.context import Context, checked_text, checked_texts, listed_texts, require
from seetell.tasks.fitting import Fitting, fitting_of
from seetell.tasks.pipeline import First, Pipeline, Plan
from seetell.tasks.policy import Policy, Request

if TYPE_CHECKING:
    from pathlib import Path

    from seetell.bundle.manifest import Manifest
    from seetell.bundle.tokenizer import Tokenizer

# Photos run together where nobody says how many. On one thread a few are as fast, and need less memory.
BATCH_SIZE, _ONE_THREAD_BATCH_SIZE = 16, 4

_AVAILABLE: dict[str, Callable[[Context], bool]] = {
    "embed": embed.available,
    "embed_texts": embed.embeds_texts_alone,
    "match": match.available,
    "classify": classify.available,
    "caption": caption.available,
    "ask": ask.available,
    "features": features.available,
    "fill": fill.available,
}


def load(
    source: str | Path | None = None,
    *,
    precision: str = "auto",
    device: str = "auto",
    revision: str | None = None,
    offline: bool | None = None,
    policy: Policy | None = None,
    threads: int | None = None,
    streams: int = 1,
    batch_size: int | None = None,
    exact_decode: bool = False,
) -> Model:
    """Open a model. Graphs are compiled when a verb first needs them.

    A public checkpoint is converted the first time, in a process of its own, where the extra ``train`` is
    installed; the conversion is kept in the cache.

    Args:
        source: None or ``"builtin"`` for the built-in model, a bundle's folder, or a public checkpoint.
        precision: ``auto``, ``fp32``, ``bf16`` or ``int8``.
        device: ``auto``, ``cpu`` or ``gpu``.
        revision: of a public checkpoint.
        offline: fetch nothing; None reads ``SEETELL_OFFLINE``.
        policy: sees every input and every result.
        threads: processor threads to use; None reads ``SEETELL_THREADS``, else all.
        streams: batches that several callers' threads may run side by side, each on its share of the threads:
            more work is done in all, and one batch alone takes longer.
        batch_size: photos run together; None for 16, or 4 on one thread.
        exact_decode: decode JPEGs in full before resizing, as the reference processors do; slower.

    Raises:
        BundleError: no usable bundle there (BundleNotFound, BundleInvalid, BundleDamaged, ConversionNeeded,
            PickleRefused).
        CheckpointError: a public checkpoint that cannot be converted.
        EngineError: PrecisionUnavailable or DeviceUnavailable.
        UsageError: an argument that cannot be meant.
    """
    from seetell.bundle.store import resolve
    from seetell.runtime.select import choose_engine

    try:
        bundle = resolve(source, revision=revision, offline=offline)
    except ConversionNeeded:
        from seetell.bundle.conversion import resolve_or_convert

        bundle = resolve_or_convert(source, revision=revision, offline=offline)
    threads = settings.threads() if threads is None else threads
    if batch_size is None and threads == 1:
        batch_size = _ONE_THREAD_BATCH_SIZE
    engine = choose_engine(bundle, precision=precision, device=device, threads=threads, streams=streams)
    return Model(
        bundle.manifest,
        bundle.tokenizer() if bundle.manifest.text is not None else None,
        engine,
        policy=policy,
        batch_size=batch_size,
        exact_decode=exact_decode,
    )


class Model:
    """A model and its verbs. Thread-safe; a context manager; works over any Engine.

    One photo gives one result, a list of photos a list of results; a list raises on its first bad photo,
    ``stream`` gives a Failure in its place. A verb this model cannot do raises TaskUnavailable.

    Args:
        manifest: of the bundle.
        tokenizer: None for a model without text.
        engine: runs the graphs; closed with the model.
        policy: sees every input and every result.
        batch_size: photos run together; None for 16.
        exact_decode: decode JPEGs in full before resizing.
    """

    def __init__(
        self,
        manifest: Manifest,
        tokenizer: Tokenizer | None,
        engine: Engine,
        policy: Policy | None = None,
        batch_size: int | None = None,
        exact_decode: bool = False,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise UsageError(f"batch_size is at least 1, not {batch_size}")
        self._context = Context(manifest, tokenizer, engine)
        self._policy = policy
        self._batch_size = BATCH_SIZE if batch_size is None else batch_size
        self._pipeline = Pipeline(self._context, policy, self._batch_size, exact_decode)
        self._labels = classify.LabelVectors(self._context)
        self.tasks: frozenset[str] = frozenset(
            verb
            for verb, available in _AVAILABLE.items()
            if verb in manifest.tasks and available(self._context)
        )

    @property
    def manifest(self) -> Manifest:
        """What the bundle says about itself."""
        return self._context.manifest

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.manifest.name

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages it was taught, the default first."""
        return self.manifest.languages

    @property
    def engine(self) -> Engine:
        """What runs the graphs."""
        return self._context.engine

    @property
    def precision(self) -> str:
        """``fp32``, ``bf16`` or ``int8``: the one in force."""
        return self.engine.precision

    @property
    def device(self) -> str:
        """``cpu`` or ``gpu``: the one in force."""
        return self.engine.device

    @property
    def batch_size(self) -> int:
        """Photos run together."""
        return self._batch_size

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        can = ", ".join(sorted(self.tasks))
        return f"<seetell.Model {self.name!r}: {can}; {self.precision} on {self.device}>"

    def close(self) -> None:
        """Free the compiled graphs. The model cannot be used afterwards."""
        self.engine.close()

    def generation_options(self, **changes: Any) -> GenerationOptions:
        """The model's default options for captions, with ``changes``.

        Changing only the method leaves behind defaults that mean nothing to the other one.
        Raises UsageError for unknown names and values that cannot be meant.
        """
        known = {field.name for field in fields(GenerationOptions)}
        if unknown := sorted(changes.keys() - known):
            raise UsageError(
                f"unknown generation options: {', '.join(unknown)}; there are: {', '.join(sorted(known))}"
            )
        values: dict[str, Any] = {**self.manifest.generation.model_dump(), **changes}
        if values["method"] == "mask_predict":
            for name in ("beams", "length_penalty", "repetition_penalty"):
                values[name] = changes.get(name, 1)
            values["fit_weight"] = changes.get("fit_weight", 0)
        # Likewise a default minimum must not forbid a shorter maximum.
        if "min_tokens" not in changes:
            values["min_tokens"] = min(values["min_tokens"], values["max_tokens"])
        return GenerationOptions(**values)

    @overload
    def caption(  # type: ignore[overload-overlap]  # a str is one photo, not a sequence of them
        self, photo: Photo, *, language: str | None = None, options: GenerationOptions | None = None
    ) -> Caption: ...
    @overload
    def caption(
        self, photo: Sequence[Photo], *, language: str | None = None, options: GenerationOptions | None = None
    ) -> list[Caption]: ...
    def caption(
        self,
        photo: Photo | Sequence[Photo],
        *,
        language: str | None = None,
        options: GenerationOptions | None = None,
    ) -> Caption | list[Caption]:
        """Describe one photo, or each of a list. ``language`` defaults to the model's first."""
        plan = self._plan_caption(language=language, options=options)
        found: list[Caption] = self._pipeline.listed(plan, _listed(photo))
        return found if _is_list(photo) else found[0]

    def captions(
        self,
        photo: Photo,
        count: int = 5,
        *,
        language: str | None = None,
        options: GenerationOptions | None = None,
    ) -> list[Caption]:
        """Up to ``count`` descriptions of one photo, best first: the best beams, or with mask-predict the
        best lengths."""
        plan = self._plan_captions(count=count, language=language, options=options)
        return list(self._pipeline.listed(plan, [photo])[0])

    @overload
    def ask(  # type: ignore[overload-overlap]  # as above
        self,
        photo: Photo,
        question: str,
        *,
        answers: Sequence[str] | None = None,
        top: int = 5,
        min_confidence: float | None = None,
    ) -> Answer: ...
    @overload
    def ask(
        self,
        photo: Sequence[Photo],
        question: str | Sequence[str],
        *,
        answers: Sequence[str] | None = None,
        top: int = 5,
        min_confidence: float | None = None,
    ) -> list[Answer]: ...
    def ask(
        self,
        photo: Photo | Sequence[Photo],
        question: str | Sequence[str],
        *,
        answers: Sequence[str] | None = None,
        top: int = 5,
        min_confidence: float | None = None,
    ) -> Answer | list[Answer]:
        """Answer a question about a photo; for a list of photos, one question for all or one for each.

        Args:
            photo: one, or a list.
            question: what to ask.
            answers: choose among these only.
            top: how many alternatives to give.
            min_confidence: abstain below it; None for the bundle's own threshold.
        """
        photos = _listed(photo)
        if isinstance(question, list | tuple):
            asked = list(question)
        else:
            asked = [checked_text(question, "question")] * len(photos)
        if len(asked) != len(photos):
            raise UsageError(
                f"{len(photos)} photos but {len(asked)} questions; give one, or one for each photo"
            )
        plan = self._plan_ask(answers=answers, top=top, min_confidence=min_confidence)
        found = self._pipeline.listed(plan, list(zip(photos, asked, strict=True)))
        return found if _is_list(photo) else found[0]

    def match(self, photo: Photo, texts: Sequence[str]) -> list[Match]:
        """How well each text fits the photo, in the order of ``texts``."""
        return list(self._pipeline.listed(self._plan_match(texts=texts), [photo])[0])

    @overload
    def classify(  # type: ignore[overload-overlap]  # as above
        self, photo: Photo, labels: Sequence[str] | None = None, *, language: str | None = None
    ) -> Classification: ...
    @overload
    def classify(
        self, photo: Sequence[Photo], labels: Sequence[str] | None = None, *, language: str | None = None
    ) -> list[Classification]: ...
    def classify(
        self,
        photo: Photo | Sequence[Photo],
        labels: Sequence[str] | None = None,
        *,
        language: str | None = None,
    ) -> Classification | list[Classification]:
        """Choose the label that fits best; without ``labels``, among the model's own."""
        plan = self._plan_classify(labels=labels, language=language)
        found: list[Classification] = self._pipeline.listed(plan, _listed(photo))
        return found if _is_list(photo) else found[0]

    def embed_images(self, photos: Photo | Sequence[Photo]) -> NDArray[np.float32]:
        """Photos as unit vectors float32[B, S]; one photo gives B = 1."""
        plan = self._plan_embed_images()
        rows = self._pipeline.listed(plan, _listed(photos))
        return np.stack(rows) if rows else np.zeros((0, embed.shared_dim(self._context)), np.float32)

    def embed_texts(self, texts: Iterable[str] | str) -> NDArray[np.float32]:
        """Texts as unit vectors float32[B, S], in the space of :meth:`embed_images` where there is that."""
        if "embed_texts" not in self.tasks:
            self._check("embed")
        require(
            self._context,
            self._context.has("text_encoder", "text_embeds"),
            "text encoder",
            "it can embed photos only",
        )
        listed = listed_texts(texts, "text to embed")
        if not listed:
            return np.zeros((0, embed.shared_dim(self._context)), np.float32)
        given = checked_texts(listed, "text to embed")
        request = Request("embed", None, tuple(given))
        if self._policy is not None:
            self._policy.enter(request, None)
        found = embed.text_embeds(self._context, given)
        return found if self._policy is None else self._policy.exit(request, found)

    def fitting(self, text: str, vector: NDArray[np.float32]) -> Fitting | None:
        """What tells how probable it is that a text fits photos, ``vector`` float32[S] being what
        :meth:`embed_texts` gives for it. None where the bundle does not say for texts in its language."""
        language = self._context.language(None, [text])
        return fitting_of(
            self._context, self._labels, self.manifest.score.search.get(language), language, vector
        )

    def count_tokens(self, texts: Iterable[str] | str) -> list[int]:
        """How many tokens :meth:`embed_texts` reads of each text, those that mark its beginning and end
        counted, those beyond the model's context not."""
        return embed.text_tokens(self._context, listed_texts(texts, "text to embed"))

    def features(self, photos: Photo | Sequence[Photo]) -> Features:
        """What the image encoder sees of one photo or several of equal shape."""
        return features.stacked(self._pipeline.listed(self._plan_features(), _listed(photos)))

    def fill(self, photo: Photo, text: str, *, top: int = 5, language: str | None = None) -> list[Fill]:
        """The ``top`` best ways to fill the ``[MASK]`` words of ``text``, best first."""
        return list(self._pipeline.listed(self._plan_fill(text=text, top=top, language=language), [photo])[0])

    def stream(self, verb: str, photos: Iterable[Any], **options: Any) -> Iterator[Any]:
        """One result or Failure per photo, in order, with bounded memory, of any iterable.

        Args:
            verb: ``caption``, ``captions``, ``ask``, ``match``, ``classify``, ``embed_images``, ``features``
                or ``fill``; gives what the method gives for one photo (``embed_images``: float32[S]).
            photos: photos; for ``ask`` without ``question``, (photo, question) pairs.
            options: the method's other arguments. ``caption`` has one more here, ``on_text``: it is called
                while captions are written, after every token, with a photo's place among ``photos`` and the
                beginning of its caption that is certain, which only ever grows (with beams it is what they
                all have in common), and returns whether anybody still waits for that caption. The beginning
                is empty until the end where an unsure caption may be replaced by one that says less. It is
                not called for mask-predict, nor for a model with a policy, which has to see captions first.

        Raises UsageError for an unknown verb or option, and for one photo, at once, before anything is read.
        """
        builder = getattr(self, f"_plan_{verb}", None) if verb.isidentifier() else None
        if builder is None:
            verbs = sorted(name[6:] for name in dir(self) if name.startswith("_plan_"))
            raise UsageError(f"nothing to stream is called {verb!r}; choose from: {', '.join(verbs)}")
        if isinstance(photos, str | bytes | os.PathLike) or not isinstance(photos, Iterable):
            # A path would be taken apart into its letters.
            raise UsageError(
                f"{verb}: stream takes several photos, not one {type(photos).__name__}; put it in a list"
            )
        items: Iterable[Any] = photos
        if verb == "ask" and "question" in options:
            question = checked_text(options.pop("question"), "question")
            items = ((photo, question) for photo in photos)
        try:
            inspect.signature(builder).bind(**options)
        except TypeError as error:
            raise UsageError(f"{verb}: {error}") from error
        return self._pipeline.results(builder(**options), items)

    # --- one plan per verb ------------------------------------------------------------------------------

    def _plan_caption(
        self,
        *,
        language: str | None = None,
        options: GenerationOptions | None = None,
        on_text: OnText | None = None,
    ) -> Plan:
        plan = self._plan_captions(count=1, language=language, options=options, on_text=on_text)
        return Plan("caption", First(plan.task), plan.texts)

    def _plan_captions(
        self,
        *,
        count: int = 5,
        language: str | None = None,
        options: GenerationOptions | None = None,
        on_text: OnText | None = None,
    ) -> Plan:
        self._check("caption")
        chosen = self.generation_options() if options is None else options
        if not isinstance(chosen, GenerationOptions):
            raise UsageError(
                f"options is a GenerationOptions, not {type(chosen).__name__}; "
                "Model.generation_options(beams=...) makes one"
            )
        if self._policy is not None:
            on_text = None
        task = caption.Captioner(
            self._context, self._labels, chosen, language=language, count=count, on_text=on_text
        )
        return Plan("caption", task, () if chosen.prompt is None else (chosen.prompt,))

    def _plan_ask(
        self,
        *,
        answers: Sequence[str] | None = None,
        top: int = 5,
        min_confidence: float | None = None,
    ) -> Plan:
        self._check("ask")
        task = ask.Asker(self._context, answers=answers, top=top, min_confidence=min_confidence)
        return Plan("ask", task, asks=True)

    def _plan_match(self, *, texts: Sequence[str]) -> Plan:
        self._check("match")
        task = match.Matcher(self._context, texts)
        return Plan("match", task, task.texts)

    def _plan_classify(self, *, labels: Sequence[str] | None = None, language: str | None = None) -> Plan:
        self._check("classify")
        task = classify.Classifier(self._context, self._labels, labels, language=language)
        return Plan("classify", task, task.texts)

    def _plan_embed_images(self) -> Plan:
        self._check("embed")
        return Plan("embed", embed.ImageEmbedder())

    def _plan_features(self) -> Plan:
        self._check("features")
        return Plan("features", features.FeatureReader(self._context))

    def _plan_fill(self, *, text: str, top: int = 5, language: str | None = None) -> Plan:
        self._check("fill")
        return Plan("fill", fill.Filler(self._context, text, top=top, language=language), (text,))

    def _check(self, verb: str) -> None:
        if verb not in self.tasks:
            can = ", ".join(sorted(self.tasks)) or "nothing"
            raise TaskUnavailable(f"{self.name} cannot {verb}; it can: {can}")


def _is_list(photos: Any) -> bool:
    return isinstance(photos, list | tuple)


def _listed(photos: Any) -> list[Any]:
    return list(photos) if _is_list(photos) else [photos]
