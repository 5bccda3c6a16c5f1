"""Answers written token by token: several at once, each until it ends, is stopped or is long enough."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seetell.runtime.generation.causal import Reading
from seetell.runtime.generation.sampling import ChatOptions, Sampler, log_prob
from seetell.runtime.generation.stops import shown

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Spelt:
    """From tokens to text. whole: of a finished answer. start: its beginning that stays, whatever follows."""

    whole: Callable[[Sequence[int]], str]
    start: Callable[[Sequence[int]], str]


class Writing:
    """One answer while it is written, and when it is.

    Attributes:
        ids: its tokens, without one that ends it.
        log_probs: the model's own log-probability of each, and of the one that ends it where there is one.
        ended_by: the token that ended it, None where none did.
        finish_reason: ``stop`` where a token or a text ended it, ``length`` where it was long enough.
        running: whether it goes on.
        reused: tokens of its prompt that had been read before.
    """

    def __init__(self, prompt: Sequence[int], options: ChatOptions, spelt: Spelt) -> None:
        self.ids: list[int] = []
        self.log_probs: list[float] = []
        self.ended_by: int | None = None
        self.finish_reason: FinishReason = "length"
        self.running = True
        self.reused = 0
        self._seen = list(prompt)
        self._options = options
        self._spelt = spelt
        self._sampler = Sampler(options)

    def add(self, logits: NDArray[np.float32], stop_ids: Collection[int]) -> None:
        """Choose the next token by logits float32[V]."""
        token = self._sampler.choose(logits, np.array(self._seen, np.int64))
        self.log_probs.append(log_prob(logits, token))
        if token in stop_ids:
            self.ended_by, self.finish_reason, self.running = token, "stop", False
            return
        self.ids.append(token)
        self._seen.append(token)
        if self._options.stop and shown(self._spelt.start(self.ids), self._options.stop).stopped:
            self.finish_reason, self.running = "stop", False
        elif len(self.ids) == self._options.max_tokens:
            self.running = False

    def text(self) -> str:
        """What is certain of it: all once it is finished."""
        if self.running:
            return shown(self._spelt.start(self.ids), self._options.stop).text
        whole = self._spelt.whole(self.ids)
        places = [place for one in self._options.stop if (place := whole.find(one)) >= 0]
        if not places:
            return whole
        # A stop may be complete only with the last token there was room for.
        self.finish_reason = "stop"
        return whole[: min(places)].rstrip()


def write(
    reading: Reading,
    prompts: Sequence[Sequence[int]],
    stop_ids: Collection[int],
    options: ChatOptions,
    spelt: Spelt,
) -> Iterator[list[Writing]]:
    """Write an answer to every prompt; the same list is given after every token.

    Args:
        reading: reads the prompts; of one alone it may have read the beginning.
        prompts: tokens, at least one each.
        stop_ids: tokens that end an answer.
        options: of each answer; with a seed the same prompt gets the same answer whatever is beside it.
        spelt: by the tokenizer.
    """
    answers = [Writing(prompt, options, spelt) for prompt in prompts]
    logits, reused = reading.prompts(prompts)
    if len(answers) == 1:
        answers[0].reused = reused
    running = answers
    while True:
        for answer, scores in zip(running, logits, strict=True):
            answer.add(scores, stop_ids)
        yield answers
        keep = np.flatnonzero([answer.running for answer in running])
        if not len(keep):
            return
        if len(keep) < len(running):
            reading.select(keep)
            running = [running[place] for place in keep]
        logits = reading.next(np.array([answer.ids[-1] for answer in running], np.int64))
