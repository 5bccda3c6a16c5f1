"""The facade: one model, all its verbs. ``load`` opens one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from seetell.core import settings
from seetell.core.errors import ConversionNeeded, UsageError
from seetell.core.results import Features, Fill
from seetell.media.images import Photo
from seetell.remote.names import is_remote
from seetell.runtime.engine import Engine
from seetell.runtime.generation import GenerationOptions
from seetell.tasks import ask, caption, classify, embed, features, fill, match
from seetell.tasks.answer_ways import chooses
from seetell.tasks.caption import OnText
from seetell.tasks.chat import chatter
from seetell.tasks.chat.talking import Talks
from seetell.tasks.context import Context, checked_texts, listed_texts, require
from seetell.tasks.facade import GENERATION, Facade, listed
from seetell.tasks.fitting import Fitting, fitting_of
from seetell.tasks.label_vectors import LabelVectors
from seetell.tasks.pipeline import First, Pipeline, Plan
from seetell.tasks.policy import Policy, Request
from seetell.tasks.remote import RemoteModel, open_remote

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
    "chat": chatter.available,
}


@overload
def load(
    source: str | Path | None = None,
    *,
    precision: str | None = None,
    device: str | None = None,
    revision: str | None = None,
    offline: bool | None = None,
    policy: Policy | None = None,
    threads: int | None = None,
    streams: int = 1,
    batch_size: int | None = None,
    exact_decode: bool | None = None,
) -> Model: ...
@overload
def load(
    source: str,
    *,
    base_url: str,
    offline: bool | None = None,
    policy: Policy | None = None,
    batch_size: int | None = None,
    photo_px: int | None = None,
    patience_s: float | None = None,
    prices: tuple[float, float] | None = None,
) -> RemoteModel: ...
def load(
    source: str | Path | None = None,
    *,
    precision: str | None = None,
    device: str | None = None,
    revision: str | None = None,
    offline: bool | None = None,
    policy: Policy | None = None,
    threads: int | None = None,
    streams: int = 1,
    batch_size: int | None = None,
    exact_decode: bool | None = None,
    base_url: str | None = None,
    photo_px: int | None = None,
    patience_s: float | None = None,
    prices: tuple[float, float] | None = None,
) -> Model | RemoteModel:
    """Open a model. Graphs are compiled when a verb first needs them.

    What is left out is read from the variable of the command line's option, as ``SEETELL_PRECISION``. A
    public checkpoint is converted the first time, in a process of its own, where the extra ``train`` is
    installed; the conversion is kept in the cache.

    Args:
        source: ``"builtin"`` for the built-in model, a bundle's folder, a public checkpoint, or
            ``"openai:NAME"`` for a model behind a server; None reads ``SEETELL_MODEL``, else the built-in
            one.
        precision: ``auto`` (the default), ``fp32``, ``bf16`` or ``int8``.
        device: ``auto`` (the default), ``cpu`` or ``gpu``.
        revision: of a public checkpoint.
        offline: fetch nothing, and ask no server on another machine.
        policy: sees every input and every result.
        threads: processor threads to use; by default all.
        streams: batches that several callers' threads may run side by side, each on its share of the threads:
            more work is done in all, and one batch alone takes longer.
        batch_size: photos run together; by default 16, or 4 on one thread and with a server.
        exact_decode: decode JPEGs in full before resizing, as the reference processors do; slower.
        base_url: where the server's API is, as in ``http://localhost:8000/v1``. Its key is read from
            ``SEETELL_REMOTE_API_KEY`` or ``OPENAI_API_KEY``. A model there goes by this, ``offline``,
            ``policy``, ``batch_size`` and the three that follow.
        photo_px: the longer edge of a photo as it is sent, at most; by default 1024.
        patience_s: seconds for one photo, with all its retries; by default 120. Its variable is
            ``SEETELL_PATIENCE``.
        prices: of a million tokens read and of a million written, for ``RemoteModel.usage.cost``.

    Raises:
        BundleError: no usable bundle there (BundleNotFound, BundleInvalid, BundleDamaged, ConversionNeeded,
            PickleRefused).
        CheckpointError: a public checkpoint that cannot be converted.
        EngineError: PrecisionUnavailable or DeviceUnavailable.
        UsageError: an argument that cannot be meant.
    """
    from seetell.bundle.store import resolve
    from seetell.runtime.select import choose_engine

    source = settings.model() if source is None else source
    if is_remote(source):
        return open_remote(
            str(source),
            base_url=base_url,
            policy=policy,
            offline=offline,
            batch_size=batch_size,
            photo_px=photo_px,
            patience_s=patience_s,
            prices=prices,
        )
    if base_url is not None:
        raise UsageError(
            f"base_url goes with a model behind a server, openai:NAME, not with {source or 'builtin'}"
        )
    try:
        bundle = resolve(source, revision=revision, offline=offline)
    except ConversionNeeded:
        from seetell.bundle.conversion import resolve_or_convert

        bundle = resolve_or_convert(source, revision=revision, offline=offline)
    threads = settings.threads() if threads is None else threads
    batch_size = settings.batch_size() if batch_size is None else batch_size
    if batch_size is None and threads == 1:
        batch_size = _ONE_THREAD_BATCH_SIZE
    if exact_decode is None:
        exact_decode = settings.exact_decode()
    engine = choose_engine(
        bundle,
        precision=precision or settings.precision() or "auto",
        device=device or settings.device() or "auto",
        threads=threads,
        streams=streams,
    )
    return Model(
        bundle.manifest,
        bundle.tokenizer() if bundle.manifest.text is not None else None,
        engine,
        policy=policy,
        batch_size=batch_size,
        exact_decode=exact_decode,
    )


def identity_of(manifest: Manifest) -> str:
    """The ``identity`` of a bundle's models, which need not be open."""
    files = manifest.files.items()
    parts = sorted((name, record.sha256) for name, record in files if name != "README.md")
    text = json.dumps([manifest.name, manifest.version, parts])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Model(Facade[Plan], Talks):
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
        self._talk = chatter.Chatter(self._context, policy)
        self._pipeline = Pipeline(self._context, policy, self._batch_size, exact_decode)
        self._labels = LabelVectors(self._context)
        self._tasks = frozenset(
            verb
            for verb, available in _AVAILABLE.items()
            if verb in manifest.tasks and available(self._context)
        )

    @property
    def manifest(self) -> Manifest:
        """What the bundle says about itself."""
        return self._context.manifest

    @property
    def tasks(self) -> frozenset[str]:
        """What it can do: the verbs that its bundle names and its graphs allow."""
        return self._tasks

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.manifest.name

    @property
    def identity(self) -> str:
        """A digest of the bundle's files: two models of one identity give the same vectors."""
        return identity_of(self.manifest)

    @property
    def answers_identity(self) -> str:
        """A digest of the whole manifest, which has its files' digests."""
        return hashlib.sha256(self.manifest.model_dump_json().encode()).hexdigest()[:16]

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages it was taught, the default first."""
        return self.manifest.languages

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels it was taught."""
        return self.manifest.labels

    @property
    def image_size(self) -> int | None:
        """The longer edge of a photo as it sees it, in pixels; None for a model without photos."""
        image = self.manifest.image
        return None if image is None else max(image.height, image.width)

    @property
    def context_length(self) -> int | None:
        """How many tokens of a text it reads, marks counted; None for a model without text."""
        return None if self.manifest.text is None else self.manifest.text.context_length

    @property
    def text_marks(self) -> int:
        """How many of :meth:`count_tokens` mark a text's beginning and end."""
        return 1 if self.manifest.text is None or self.manifest.text.bos_id is None else 2

    @property
    def writes_answers(self) -> bool:
        """Whether it writes answers to questions, rather than choosing from a list of its own."""
        return not chooses(self._context)

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

    def __repr__(self) -> str:
        can = ", ".join(sorted(self.tasks))
        return f"<seetell.Model {self.name!r}: {can}; {self.precision} on {self.device}>"

    def close(self) -> None:
        """Free the compiled graphs. The model cannot be used afterwards."""
        self._talk.close()
        self.engine.close()

    def generation_options(self, **changes: Any) -> GenerationOptions:
        """The model's default options for captions, with ``changes``.

        Changing only the method leaves behind defaults that mean nothing to the other one.
        Raises UsageError for unknown names and values that cannot be meant.
        """
        if unknown := sorted(changes.keys() - set(GENERATION)):
            raise UsageError(
                f"unknown generation options: {', '.join(unknown)}; there are: {', '.join(GENERATION)}"
            )
        values: dict[str, Any] = {**self.manifest.generation.model_dump(), **changes}
        if values["method"] == "mask_predict":
            for name in ("beams", "length_penalty", "repetition_penalty"):
                values[name] = changes.get(name, 1)
            values["fit_weight"] = changes.get("fit_weight", 0)
        # Likewise a default minimum must not forbid a shorter maximum.
        if "min_tokens" not in changes:
            values["min_tokens"] = min(values["min_tokens"], values["max_tokens"])
        try:
            return GenerationOptions(**values)
        except TypeError:  # compared with a number
            given = ", ".join(f"{name}={value!r}" for name, value in sorted(changes.items()))
            raise UsageError(f"generation options: {given}: a number is wanted in place of a text") from None

    def embed_images(self, photos: Photo | Sequence[Photo]) -> NDArray[np.float32]:
        """Photos as unit vectors float32[B, S]; one photo gives B = 1."""
        rows = self._listed("embed_images", listed(photos))
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
        return features.stacked(self._listed("features", listed(photos)))

    def fill(self, photo: Photo, text: str, *, top: int = 5, language: str | None = None) -> list[Fill]:
        """The ``top`` best ways to fill the ``[MASK]`` words of ``text``, best first."""
        return list(self._listed("fill", [photo], text=text, top=top, language=language)[0])

    def _chatter(self) -> chatter.Chatter:
        self._check("chat")
        return self._talk

    def _results(self, plan: Plan, items: Iterable[Any]) -> Iterator[Any]:
        return self._pipeline.results(plan, items)

    # --- one plan per verb ------------------------------------------------------------------------------

    def _plan_caption(
        self,
        *,
        language: str | None = None,
        options: GenerationOptions | None = None,
        on_text: OnText | None = None,
        **generation: Any,
    ) -> Plan:
        plan = self._plan_captions(count=1, language=language, options=options, on_text=on_text, **generation)
        return Plan("caption", First(plan.task), plan.texts)

    def _plan_captions(
        self,
        *,
        count: int = 5,
        language: str | None = None,
        options: GenerationOptions | None = None,
        on_text: OnText | None = None,
        **generation: Any,
    ) -> Plan:
        self._check("caption")
        chosen = self._generation(options, generation)
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
