"""Writing left to right: greedy and beam search, batched over photos, with cached keys and values.

Semantics are those of ``generate`` in transformers 5 (``early_stopping=False``), to which the tests hold
this file: greedy penalises logits, beam search penalises log-probabilities; a beam ends for good only when
it was among the best ``beams`` of its step; a photo is done when all its beams are finished and the best
running one, at its present length, cannot beat the worst of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.runtime.generation.beams import RULED_OUT, Beams, certain_starts
from seetell.runtime.generation.decoder import Decoding, TextDecoder
from seetell.runtime.generation.options import GenerationOptions
from seetell.runtime.generation.probabilities import Generated, best, log_softmax
from seetell.runtime.generation.said import Said, SaidBeams, Spelling

_ROLE = "text_decoder"

Watch = Callable[[int, tuple[int, ...]], bool]


def generate(
    decoder: TextDecoder,
    memory_tokens: NDArray[np.float32],
    memory_mask: NDArray[np.bool_],
    prompt_ids: Sequence[int],
    options: GenerationOptions,
    *,
    count: int = 1,
    choices: int = 1,
    watch: Watch | None = None,
    spelling: Spelling | None = None,
) -> list[list[Generated]]:
    """Write one text, or the ``count`` best beams, for every memory.

    Args:
        decoder: the text decoder.
        memory_tokens: float32[B, N, D], memory_mask: bool[B, N].
        prompt_ids: the start token and what else each text begins with.
        options: beams are widened to ``count`` where fewer are asked for.
        count: texts per memory, best first.
        choices: of how many of these the caller may take any as the best; ``watch`` is then told less.
        watch: called after every token with each memory whose text is not done yet, and the tokens its best
            text is certain to begin with: no fewer than before, and with beams often fewer than are written.
            Where it answers False nobody waits for that text any more, and what is there is returned.
        spelling: what words tokens spell; ``no_repeat`` needs it.

    Raises UsageError when prompt and ``max_tokens`` exceed the model's context.
    """
    decoder.check_room(len(prompt_ids), options.max_tokens)
    said = None
    if options.no_repeat:
        if spelling is None:
            raise UsageError("no_repeat is a rule about words; say how tokens spell them")
        said = Said.prompt(options.no_repeat, spelling, prompt_ids)
    if memory_tokens.shape[0] == 0:
        return []
    decoding = Decoding(decoder, memory_tokens, memory_mask)
    prompt = np.tile(np.asarray(prompt_ids, np.int64), (decoding.rows, 1))
    beams = max(options.beams, count)
    if beams == 1:
        return [[one] for one in _greedy(decoding, prompt, decoder.eos_id, options, watch, said)]
    watching = None if watch is None else _Watching(watch, min(choices, beams))
    return _beam_search(decoding, prompt, decoder.eos_id, options, beams, count, watching, said)


def _penalise(
    scores: NDArray[np.float64],
    written: NDArray[np.int64],
    step: int,
    eos_id: int,
    options: GenerationOptions,
) -> NDArray[np.float64]:
    """Repetition penalty and minimum length. scores: float64[R, V]; written: int64[R, L], prompt included."""
    if options.repetition_penalty == 1 and step >= options.min_tokens:
        return scores
    scores = scores.copy()
    if options.repetition_penalty != 1:
        seen = np.take_along_axis(scores, written, axis=1)
        seen = np.where(seen < 0, seen * options.repetition_penalty, seen / options.repetition_penalty)
        np.put_along_axis(scores, written, seen, axis=1)
    if step < options.min_tokens:
        scores[:, eos_id] = -np.inf
    return scores


def _greedy(
    decoding: Decoding,
    prompt: NDArray[np.int64],
    eos_id: int,
    options: GenerationOptions,
    watch: Watch | None,
    said: Said | None,
) -> list[Generated]:
    photos, lead = prompt.shape
    texts = [said] * photos
    written = np.concatenate([prompt, np.full((photos, options.max_tokens), eos_id, np.int64)], axis=1)
    log_prob = np.zeros(photos)
    length = np.zeros(photos, np.int64)
    # Photos still being written; row r of the decoding is photo alive[r].
    alive = np.arange(photos)
    running = np.ones(photos, np.bool_)
    logits = decoding.advance(prompt)
    for step in range(options.max_tokens):
        log_probs = log_softmax(logits, _ROLE)
        scores = _penalise(logits.astype(np.float64), written[alive, : lead + step], step, eos_id, options)
        chosen = scores.argmax(axis=1)
        now = running[alive]
        for row in np.flatnonzero(now):
            if (text := texts[alive[row]]) is not None:
                chosen[row], texts[alive[row]] = text.best(scores[row], eos_id)
        written[alive[now], lead + step] = chosen[now]
        log_prob[alive[now]] += log_probs[now.nonzero()[0], chosen[now]]
        length[alive[now]] += 1
        running[alive[now]] = chosen[now] != eos_id
        if watch is not None:
            for photo in alive[now]:
                running[photo] &= watch(int(photo), _ids(written[photo, lead : lead + length[photo]]))
        now = running[alive]
        if not now.any() or step + 1 == options.max_tokens:
            break
        if 2 * now.sum() <= len(alive):
            # Copying the cache costs about a step, so finished rows are left out once they are half.
            decoding.select(now.nonzero()[0])
            alive = alive[now]
        logits = decoding.advance(written[alive, lead + step][:, None])
    return [
        _generated(written[photo, lead : lead + length[photo]], float(log_prob[photo]), eos_id)
        for photo in range(photos)
    ]


def _ids(tokens: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(tokens.tolist())


def _generated(tokens: NDArray[np.int64], log_prob: float, eos_id: int) -> Generated:
    ids = _ids(tokens)
    return Generated(ids[:-1] if ids and ids[-1] == eos_id else ids, log_prob, len(ids))


def _continuations(
    running: Beams,
    logits: NDArray[np.float32],
    prompt: NDArray[np.int64],
    step: int,
    eos_id: int,
    options: GenerationOptions,
    said: SaidBeams | None,
) -> tuple[Beams, NDArray[np.intp], SaidBeams | None]:
    """The best 2K ways to go on from K beams, the beam each came from, intp[B, 2K], and what they say.

    2K, because at most K of them can be [EOS], which leaves K to run on (K * vocabulary must reach that).
    """
    photos, beams = running.scores.shape
    own = log_softmax(logits, _ROLE)
    flat = running.tokens.reshape(photos * beams, -1)[:, :step]
    written = np.concatenate([np.repeat(prompt, beams, axis=0), flat], axis=1)
    steered = _penalise(own, written, step, eos_id, options)
    vocabulary = own.shape[1]
    total = steered.reshape(photos, beams, vocabulary) + running.scores[:, :, None]
    if said is None:
        top = best(total.reshape(photos, -1), 2 * beams)
    else:
        own_end = own[:, eos_id].reshape(photos, beams)
        # A model that gives [EOS] no chance is overruled, too: a text has to end somehow.
        ended = running.scores + np.where(own_end == -np.inf, 0, own_end)
        top, said = said.best(total, ended, eos_id)
    source, token = top // vocabulary, top % vocabulary
    found = running.take(source)
    found.scores = np.take_along_axis(total.reshape(photos, -1), top, axis=1)
    found.log_prob += np.take_along_axis(own.reshape(photos, -1), top, axis=1)
    found.tokens[:, :, step] = token
    found.length[:] = step + 1
    found.ended = (token == eos_id) | (step + 1 == options.max_tokens)
    return found, source, said


def _beam_search(
    decoding: Decoding,
    prompt: NDArray[np.int64],
    eos_id: int,
    options: GenerationOptions,
    beams: int,
    count: int,
    watching: _Watching | None,
    prompt_said: Said | None,
) -> list[list[Generated]]:
    photos = prompt.shape[0]
    said = None if prompt_said is None else SaidBeams.prompts(prompt_said, photos, beams)
    results: list[list[Generated]] = [[] for _ in range(photos)]
    alive = np.arange(photos)
    finished = Beams.empty(photos, beams, options.max_tokens)
    running = Beams.empty(photos, beams, options.max_tokens)
    # All beams start equal; without this the same text would fill every one of them.
    running.scores[:, 0] = 0
    # One pass over the prompt per photo; its beams then share the result.
    logits = decoding.advance(prompt)
    decoding.select(np.repeat(np.arange(photos), beams))
    logits = np.repeat(logits, beams, axis=0)
    for step in range(options.max_tokens):
        found, source, said = _continuations(running, logits, prompt[alive], step, eos_id, options, said)
        going_on = found.scores + found.ended * RULED_OUT
        next_beams = best(going_on, beams)
        running = found.take(next_beams)
        running.scores = np.take_along_axis(going_on, next_beams, axis=1)
        running.ended[:] = False
        if said is not None:
            said = said.take(next_beams)
            running.scores[said.over] = -np.inf

        # Only the best K of a step may finish; the others are there to run on.
        found.ended[:, beams:] = False
        found.scores = found.scores / (step + 1) ** options.length_penalty + ~found.ended * RULED_OUT
        finished = finished.beside(found)
        finished = finished.take(best(finished.scores, beams))

        if step + 1 == options.max_tokens:
            break
        possible = running.scores[:, 0] / (step + 1) ** options.length_penalty
        worst = np.where(finished.ended, finished.scores.min(axis=1, keepdims=True), RULED_OUT).min(axis=1)
        is_open = possible > worst
        if watching is not None:
            is_open &= watching.wanted(alive, is_open, running, finished, step, options)
        beam_idx = (
            np.take_along_axis(source, next_beams, axis=1) + np.arange(len(alive))[:, None] * beams
        ).ravel()
        if not is_open.all():
            for row in np.flatnonzero(~is_open):
                results[alive[row]] = _texts(finished, int(row), eos_id, count) or [
                    _text(
                        running, int(row), 0, eos_id
                    )  # no longer wanted, before any of its texts was finished
                ]
            if not is_open.any():
                return results
            rows = np.repeat(is_open, beams)
            decoding.select(beam_idx[rows])
            alive, finished, running = alive[is_open], finished.photos(is_open), running.photos(is_open)
            said = None if said is None else said.photos(is_open)
            beam_idx = np.arange(len(alive) * beams)
        logits = decoding.advance(running.tokens[:, :, step].reshape(-1, 1), beam_idx.astype(np.int64))
    for place, photo in enumerate(alive):
        results[photo] = _texts(finished, place, eos_id, count)
    return results


@dataclass(frozen=True, slots=True)
class _Watching:
    """Who is told of beams, and of how many best texts any may be taken."""

    watch: Watch
    choices: int

    def wanted(
        self,
        alive: NDArray[np.intp],
        is_open: NDArray[np.bool_],
        running: Beams,
        finished: Beams,
        step: int,
        options: GenerationOptions,
    ) -> NDArray[np.bool_]:
        """What ``watch`` answers about each photo, bool[B]."""
        starts = certain_starts(running, finished, step, options, self.choices)
        if self.choices == 1:
            for row in np.flatnonzero(~is_open):
                starts[row] = finished.tokens[row, 0, : finished.length[row, 0]]
        return np.array(
            [self.watch(int(photo), _ids(start)) for photo, start in zip(alive, starts, strict=True)],
            np.bool_,
        )


def _texts(finished: Beams, row: int, eos_id: int, count: int) -> list[Generated]:
    return [_text(finished, row, beam, eos_id) for beam in range(count) if finished.ended[row, beam]]


def _text(beams: Beams, row: int, beam: int, eos_id: int) -> Generated:
    tokens = beams.tokens[row, beam, : beams.length[row, beam]]
    return _generated(tokens, float(beams.log_prob[row, beam]), eos_id)
