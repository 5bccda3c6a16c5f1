"""A model behind an OpenAI-compatible server, with the verbs of one on this machine.

Photos leave this machine: each is sent to the server that was named, made smaller and without what its file
says of place, time and camera. A policy sees it before that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seetell.core import settings
from seetell.core.errors import InputError, RemoteError, TaskUnavailable, UsageError
from seetell.core.results import Alternative, Answer, Caption, Classification, Failure, RankedLabel
from seetell.media.images import Photo, decode_photo, photo_name
from seetell.remote.answers import Said
from seetell.remote.client import Client
from seetell.remote.key import Key
from seetell.remote.names import DEFAULT_PATIENCE_S, DEFAULT_PX, PREFIX
from seetell.remote.ordered import in_order
from seetell.remote.photos import data_url
from seetell.remote.prompts import PROMPTS, chosen, with_choices
from seetell.remote.usage import Meter, Usage, checked_prices
from seetell.runtime.generation import GenerationOptions
from seetell.tasks.context import (
    at_least_one,
    checked_chance,
    checked_text,
    checked_texts,
    distinct_labels,
    language_of,
    photo_and_question,
)
from seetell.tasks.facade import Facade
from seetell.tasks.fitting import Fitting
from seetell.tasks.pipeline import held
from seetell.tasks.policy import Policy, Request

REMOTE = "remote"

# Photos asked about at once: servers of one's own answer few side by side, and others limit a client's rate.
_AT_ONCE = 4
# Against answers that never end. Models that think first need room for that too.
_MAX_TOKENS = 1000
_GENERATION = ("max_tokens",)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A verb set up for one call. prompt: from a question, empty where there is none, to how to answer, and
    what is asked. result: of what was said. texts: what the policy is told besides."""

    verb: str
    prompt: Callable[[str], tuple[str, str]]
    result: Callable[[Said], Any]
    texts: tuple[str, ...] = ()
    asks: bool = False
    max_tokens: int = _MAX_TOKENS


@dataclass(frozen=True, slots=True)
class _Ended:
    """A photo that got no answer for a reason that holds for all."""

    failure: Failure


class RemoteModel(Facade[_Plan]):
    """A model behind a server; ``load("openai:NAME", base_url=...)`` gives one. Thread-safe.

    It can caption, ask, and classify by labels given to it. Its probabilities are those of its own words
    where the server tells them, and None where it does not.

    Args:
        source: ``openai:NAME``.
        client: of its server.
        meter: counts what is asked.
        policy: sees every photo before it is sent and every result.
        batch_size: photos asked about at once; None for 4.
        photo_px: the longer edge of a photo as it is sent, at most.
    """

    def __init__(
        self,
        source: str,
        client: Client,
        meter: Meter,
        *,
        policy: Policy | None = None,
        batch_size: int | None = None,
        photo_px: int = DEFAULT_PX,
    ) -> None:
        self._name = source
        self._served = source.removeprefix(PREFIX)
        if not self._served.strip():
            raise UsageError(
                f"{source}: which model? Give its name as its server knows it, as in openai:NAME"
            )
        self._client = client
        self._meter = meter
        self._policy = policy
        self._batch_size = _AT_ONCE if batch_size is None else at_least_one(batch_size, "batch_size")
        self._photo_px = at_least_one(photo_px, "photo_px")

    # --- what it is -------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """``openai:NAME``."""
        return self._name

    @property
    def identity(self) -> str:
        """Its name and its server's address: what is behind them is not known."""
        return f"{self._name} at {self._client.base_url}"

    @property
    def answers_identity(self) -> str:
        """As :attr:`identity`."""
        return self.identity

    @property
    def precision(self) -> str:
        """``remote``."""
        return REMOTE

    @property
    def device(self) -> str:
        """``remote``."""
        return REMOTE

    @property
    def batch_size(self) -> int:
        """Photos asked about at once."""
        return self._batch_size

    @property
    def tasks(self) -> frozenset[str]:
        """``ask``, ``caption`` and ``classify``."""
        return frozenset({"ask", "caption", "classify"})

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages it is asked in."""
        return tuple(PROMPTS)

    @property
    def labels(self) -> tuple[str, ...]:
        """None of its own."""
        return ()

    @property
    def image_size(self) -> int | None:
        """None: its server does not say."""
        return None

    @property
    def context_length(self) -> int | None:
        """None: its server does not say."""
        return None

    @property
    def text_marks(self) -> int:
        """0."""
        return 0

    @property
    def writes_answers(self) -> bool:
        """True."""
        return True

    @property
    def usage(self) -> Usage:
        """What was asked of it so far."""
        return self._meter.usage

    def __repr__(self) -> str:
        return f"<seetell.RemoteModel {self.identity}: {', '.join(sorted(self.tasks))}>"

    def close(self) -> None:
        """Nothing is held."""

    # --- what it cannot do ------------------------------------------------------------------------------

    def embed_images(self, photos: Photo | Sequence[Photo]) -> NDArray[np.float32]:
        """Raises TaskUnavailable."""
        raise self._cannot("embed")

    def embed_texts(self, texts: Iterable[str] | str) -> NDArray[np.float32]:
        """Raises TaskUnavailable."""
        raise self._cannot("embed")

    def fitting(self, text: str, vector: NDArray[np.float32]) -> Fitting | None:
        """Raises TaskUnavailable."""
        raise self._cannot("embed")

    def count_tokens(self, texts: Iterable[str] | str) -> list[int]:
        """Raises TaskUnavailable."""
        raise TaskUnavailable(f"{self._name}: its server counts tokens; `usage` has them")

    # --- verbs ------------------------------------------------------------------------------------------

    def generation_options(self, **changes: Any) -> GenerationOptions:
        """Its options for captions. Raises UsageError for any but ``max_tokens``."""
        if unknown := sorted(changes.keys() - set(_GENERATION)):
            raise UsageError(
                f"{self._name} has no generation options {', '.join(unknown)}; there are: "
                f"{', '.join(_GENERATION)}"
            )
        return GenerationOptions(**{"max_tokens": _MAX_TOKENS, **changes})

    def _plan_caption(
        self, *, language: str | None = None, options: GenerationOptions | None = None, **generation: Any
    ) -> _Plan:
        chosen_options = self._generation(options, generation)
        usual = asdict(GenerationOptions())
        self.generation_options(
            **{name: value for name, value in asdict(chosen_options).items() if value != usual[name]}
        )
        spoken = language_of(self._name, self.languages, language)

        def result(said: Said) -> Caption:
            return Caption(said.text, said.score, spoken, self._name, REMOTE, cut=said.cut)

        return _Plan(
            "caption",
            lambda _: ("", PROMPTS[spoken].caption),
            result,
            max_tokens=chosen_options.max_tokens,
        )

    def _plan_captions(
        self,
        *,
        count: int = 5,
        language: str | None = None,
        options: GenerationOptions | None = None,
        **generation: Any,
    ) -> _Plan:
        if at_least_one(count, "count") > 1:
            raise UsageError(f"{self._name} writes one caption for a photo, not {count}")
        plan = self._plan_caption(language=language, options=options, **generation)
        return _Plan(plan.verb, plan.prompt, lambda said: [plan.result(said)], max_tokens=plan.max_tokens)

    def _plan_ask(
        self,
        *,
        answers: Sequence[str] | None = None,
        top: int = 5,
        min_confidence: float | None = None,
    ) -> _Plan:
        at_least_one(top, "top")
        least = checked_chance(min_confidence, "min_confidence")
        choices = None if answers is None else tuple(dict.fromkeys(checked_texts(answers, "answer")))

        def prompt(question: str) -> tuple[str, str]:
            prompts = PROMPTS[language_of(self._name, self.languages, None, [question])]
            return prompts.ask if choices is None else with_choices(prompts.answers, choices), question

        def result(said: Said) -> Answer:
            if choices is None:
                text, confidence = said.text.rstrip(".。") or said.text, said.probability
            else:
                text, confidence = self._choice(said, choices)
            alternatives = () if confidence is None else (Alternative(text, confidence),)
            unsure = least is not None and confidence is not None and confidence < least
            return Answer(text, confidence, alternatives, unsure, self._name, REMOTE)

        return _Plan("ask", prompt, result, asks=True)

    def _plan_classify(self, *, labels: Sequence[str] | None = None, language: str | None = None) -> _Plan:
        if labels is None:
            raise TaskUnavailable(f"{self._name} has no labels of its own; give the labels to choose from")
        choices = distinct_labels(labels)
        prompts = PROMPTS[language_of(self._name, self.languages, language, choices)]

        def result(said: Said) -> Classification:
            label, probability = self._choice(said, choices)
            ranking = (RankedLabel(label, probability),)
            return Classification(label, probability, ranking, self._name, REMOTE)

        return _Plan("classify", lambda _: ("", with_choices(prompts.classify, choices)), result, choices)

    def _choice(self, said: Said, choices: Sequence[str]) -> tuple[str, float | None]:
        """Which was said and how probable that was. Raises RemoteError where it was none of them."""
        found, exact = chosen(said.text, choices)
        if found is None:
            words = f"{self._name} said {said.text[:80]!r}, which is none of the choices, or several"
            raise RemoteError("bad_answer", words)
        return found, said.probability if exact else None

    # --- running ----------------------------------------------------------------------------------------

    def _results(self, plan: _Plan, items: Iterable[Any]) -> Iterator[Any]:
        ended: list[RemoteError] = []

        def asked() -> Iterator[tuple[Any, Any]]:
            for item in items:
                if ended:
                    return
                kept = held(item)
                yield photo_and_question(kept) if plan.asks else (kept, "")

        def work(item: tuple[Any, Any], stop: threading.Event) -> Any:
            photo, question = item
            try:
                if ended:
                    raise ended[0]
                return self._one(plan, photo, question, stop)
            except InputError as error:
                return Failure(photo_name(photo), error)
            except RemoteError as error:
                failure = Failure(photo_name(photo), error)
                if not error.ends:
                    return failure
                ended.append(error)
                return _Ended(failure)

        # What ends it all is told once, and not for each photo that was asked about at the time. But if one
        # of them was answered after all, it keeps its place.
        waiting: list[Failure] = []
        for found in in_order(asked(), work, self._batch_size):
            if isinstance(found, _Ended):
                waiting.append(found.failure)
                continue
            yield from waiting
            waiting.clear()
            yield found
        if ended:
            raise ended[0]

    def _one(self, plan: _Plan, photo: Any, question: Any, stop: threading.Event) -> Any:
        texts = (checked_text(question, "question"),) if plan.asks else plan.texts
        request = Request(plan.verb, photo, texts)
        pixels = decode_photo(photo, min_size=(self._photo_px, self._photo_px)).pixels
        if self._policy is not None:
            self._policy.enter(request, pixels)
        rule, text = plan.prompt(question)
        content = [
            # First: some servers' models answer worse where the photo comes after the words.
            {"type": "image_url", "image_url": {"url": data_url(pixels, self._photo_px)}},
            {"type": "text", "text": text},
        ]
        messages: list[dict[str, Any]] = [{"role": "system", "content": rule}] if rule else []
        fields = {
            "model": self._served,
            "messages": [*messages, {"role": "user", "content": content}],
            "max_tokens": plan.max_tokens,
            "temperature": 0,
            "logprobs": True,
        }
        result = plan.result(self._client.complete(fields, stop))
        return result if self._policy is None else self._policy.exit(request, result)


def open_remote(
    source: str,
    *,
    base_url: str | None = None,
    policy: Policy | None = None,
    offline: bool | None = None,
    batch_size: int | None = None,
    photo_px: int | None = None,
    patience_s: float | None = None,
    prices: tuple[float, float] | None = None,
) -> RemoteModel:
    """A model behind a server. Nothing is sent yet. Arguments as for ``load``; raises UsageError."""
    base_url = settings.base_url() if base_url is None else base_url
    batch_size = settings.batch_size() if batch_size is None else batch_size
    photo_px = (settings.photo_px() or DEFAULT_PX) if photo_px is None else photo_px
    patience_s = (settings.patience_s() or DEFAULT_PATIENCE_S) if patience_s is None else patience_s
    if not base_url:
        raise UsageError(
            f"{source}: where is its server? Give its address, as in --base-url http://localhost:8000/v1 "
            "(base_url= in Python)"
        )
    if not patience_s > 0:
        raise UsageError(f"patience_s is a number of seconds over 0, not {patience_s!r}")
    meter = Meter(checked_prices(settings.prices() if prices is None else prices))
    client = Client(base_url, Key.from_environment(), meter, patience_s=patience_s)
    if (settings.offline() if offline is None else offline) and not client.is_local:
        raise UsageError(f"{source}: {client.base_url} is not this machine, and SEETELL_OFFLINE is set")
    return RemoteModel(source, client, meter, policy=policy, batch_size=batch_size, photo_px=photo_px)
