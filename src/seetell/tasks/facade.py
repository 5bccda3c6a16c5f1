"""The verbs as people call them, whatever runs them: one photo gives one result, a list of photos a list."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any, Generic, Self, TypeVar, overload

from seetell.core.errors import TaskUnavailable, UsageError
from seetell.core.results import Answer, Caption, Classification, Failure, Match
from seetell.media.images import Photo
from seetell.runtime.generation import GenerationOptions
from seetell.tasks.context import checked_text

P = TypeVar("P")

VERBS = ("ask", "caption", "captions", "classify", "embed_images", "features", "fill", "match")
GENERATION = tuple(field.name for field in fields(GenerationOptions))


class Facade(Generic[P]):
    """Verbs over plans. A verb is a method ``_plan_VERB(**options) -> P``, which raises what is wrong with
    its options before anything is read, and ``_results`` runs its plan. One that is not there cannot be done.

    A list raises on its first bad photo, :meth:`stream` gives a Failure in its place.
    """

    @property
    def name(self) -> str:
        """What results call it."""
        raise NotImplementedError

    @property
    def tasks(self) -> frozenset[str]:
        """What it can do."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what it holds."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def generation_options(self, **changes: Any) -> GenerationOptions:
        """Its default options for captions, with ``changes``."""
        raise NotImplementedError

    def _results(self, plan: P, items: Iterable[Any]) -> Iterator[Any]:
        """One result or Failure per item, in order."""
        raise NotImplementedError

    @overload
    def caption(
        self,
        photo: Photo,
        *,
        language: str | None = None,
        options: GenerationOptions | None = None,
        **generation: Any,
    ) -> Caption: ...
    @overload
    def caption(
        self,
        photo: Sequence[Photo],
        *,
        language: str | None = None,
        options: GenerationOptions | None = None,
        **generation: Any,
    ) -> list[Caption]: ...
    def caption(self, photo: Any, **options: Any) -> Any:
        """Describe one photo, or each of a list.

        Args:
            photo: one, or a list.
            language: defaults to the model's first.
            options: of generation, as ``generation_options`` gives them.
            generation: or some of them by name, as in ``beams=3, max_tokens=20``; the others are the model's.
        """
        found = self._listed("caption", listed(photo), **options)
        return found if is_list(photo) else found[0]

    def captions(
        self,
        photo: Photo,
        count: int = 5,
        *,
        language: str | None = None,
        options: GenerationOptions | None = None,
        **generation: Any,
    ) -> list[Caption]:
        """Up to ``count`` descriptions of one photo, best first: the best beams, or with mask-predict the
        best lengths. Other arguments as for :meth:`caption`."""
        given = {"count": count, "language": language, "options": options, **generation}
        return list(self._listed("captions", [photo], **given)[0])

    @overload
    def ask(  # type: ignore[overload-overlap]  # a str is one photo, not a sequence of them
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
    def ask(self, photo: Any, question: Any, **options: Any) -> Any:
        """Answer a question about a photo; for a list of photos, one question for all or one for each.

        Args:
            photo: one, or a list.
            question: what to ask.
            answers: choose among these only.
            top: how many alternatives to give.
            min_confidence: abstain below it; None for the model's own threshold.
        """
        photos = listed(photo)
        if isinstance(question, list | tuple):
            asked = list(question)
        else:
            asked = [checked_text(question, "question")] * len(photos)
        if len(asked) != len(photos):
            raise UsageError(
                f"{len(photos)} photos but {len(asked)} questions; give one, or one for each photo"
            )
        found = self._listed("ask", list(zip(photos, asked, strict=True)), **options)
        return found if is_list(photo) else found[0]

    def match(self, photo: Photo, texts: Sequence[str]) -> list[Match]:
        """How well each text fits the photo, in the order of ``texts``."""
        return list(self._listed("match", [photo], texts=texts)[0])

    @overload
    def classify(  # type: ignore[overload-overlap]  # as above
        self, photo: Photo, labels: Sequence[str] | None = None, *, language: str | None = None
    ) -> Classification: ...
    @overload
    def classify(
        self, photo: Sequence[Photo], labels: Sequence[str] | None = None, *, language: str | None = None
    ) -> list[Classification]: ...
    def classify(self, photo: Any, labels: Any = None, *, language: str | None = None) -> Any:
        """Choose the label that fits best; without ``labels``, among the model's own."""
        found = self._listed("classify", listed(photo), labels=labels, language=language)
        return found if is_list(photo) else found[0]

    def stream(self, verb: str, photos: Iterable[Any], **options: Any) -> Iterator[Any]:
        """One result or Failure per photo, in order, with bounded memory, of any iterable.

        Args:
            verb: ``caption``, ``captions``, ``ask``, ``match``, ``classify``, ``embed_images``, ``features``
                or ``fill``; gives what the method gives for one photo (``embed_images``: float32[S]).
            photos: photos; for ``ask`` without ``question``, (photo, question) pairs.
            options: the method's other arguments. ``caption`` of a model of this machine has one more here,
                ``on_text``: it is called while captions are written, after every token, with a photo's place
                among ``photos`` and the beginning of its caption that is certain, which only ever grows (with
                beams it is what they all have in common), and returns whether anybody still waits for that
                caption. The beginning is empty until the end where an unsure caption may be replaced by one
                that says less. It is not called for mask-predict, nor for a model with a policy, which has to
                see captions first.

        Raises UsageError for an unknown verb or option, and for one photo, at once, before anything is read.
        """
        return self._begun(verb, photos, options)

    def _begun(self, verb: str, photos: Iterable[Any], options: dict[str, Any]) -> Iterator[Any]:
        """As :meth:`stream`, for the verbs here: who puts another in its place means calls of it alone."""
        if verb not in VERBS:
            raise UsageError(f"nothing to stream is called {verb!r}; choose from: {', '.join(VERBS)}")
        builder = getattr(self, f"_plan_{verb}", None)
        if builder is None:
            raise self._cannot(verb)
        if isinstance(photos, str | bytes | os.PathLike) or not isinstance(photos, Iterable):
            # A path would be taken apart into its letters.
            raise UsageError(
                f"{verb}: stream takes several photos, not one {type(photos).__name__}; put it in a list"
            )
        items: Iterable[Any] = photos
        if verb == "ask" and "question" in options:
            question = checked_text(options.pop("question"), "question")
            items = ((photo, question) for photo in photos)
        _check_options(verb, builder, options)
        return self._results(builder(**options), items)

    def _listed(self, verb: str, items: list[Any], **options: Any) -> list[Any]:
        """One result per item. Raises the error of the first that fails."""
        results = []
        for result in self._begun(verb, items, options):
            if isinstance(result, Failure):
                raise result.error
            results.append(result)
        return results

    def _generation(self, options: GenerationOptions | None, changes: dict[str, Any]) -> GenerationOptions:
        """The options of a call that may name some of them. Raises UsageError."""
        if options is None:
            return self.generation_options(**changes)
        if changes:
            raise UsageError(f"give options, or {', '.join(sorted(changes))} by name, not both")
        if not isinstance(options, GenerationOptions):
            raise UsageError(
                f"options is a GenerationOptions, not {type(options).__name__}; "
                "Model.generation_options(beams=...) makes one"
            )
        return options

    def _cannot(self, verb: str) -> TaskUnavailable:
        can = ", ".join(sorted(self.tasks)) or "nothing"
        return TaskUnavailable(f"{self.name} cannot {verb.removesuffix('_images')}; it can: {can}")

    def _check(self, verb: str) -> None:
        if verb not in self.tasks:
            raise self._cannot(verb)


def _check_options(verb: str, builder: Any, options: dict[str, Any]) -> None:
    """Raises UsageError for an option that the verb has not, listing those it has, and for one that is
    missing."""
    parameters = inspect.signature(builder).parameters.values()
    named = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
    generates = any(one.kind is one.VAR_KEYWORD for one in parameters)
    known = [*named, *(GENERATION if generates else ())]
    if unknown := sorted(options.keys() - set(known)):
        raise UsageError(
            f"{verb}: no option is called {', '.join(unknown)}; there are: {', '.join(known) or 'none'}"
        )
    missing = [one.name for one in parameters if one.default is one.empty and one.name in named]
    if missing := [name for name in missing if name not in options]:
        raise UsageError(f"{verb}: missing {', '.join(missing)}")


def is_list(photos: Any) -> bool:
    """Whether several are meant."""
    return isinstance(photos, list | tuple)


def listed(photos: Any) -> list[Any]:
    """The photos of a call that takes one or several."""
    return list(photos) if is_list(photos) else [photos]
