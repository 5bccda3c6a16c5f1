"""How fast an index in memory answers, beside a scan with numpy, and whether it finds the same photos.

    python benchmarks/index_speed.py PHOTOS [--model BUNDLE] [--rows 100000] [--queries 64] [--rounds 9]

The rows are the vectors of PHOTOS and perturbed copies of them up to `--rows`; the queries are captions of
everyday words and other perturbed copies. Prints one JSON object: milliseconds of one query alone with its
text embedded (`search_p50_ms`) and of the scan by itself, queries per second with `--queries` at once for
seetell and for numpy (`queries @ vectors.T`, then argpartition), taken in turn, and recall@10 against a
scan at full precision. numpy takes as many threads as OMP_NUM_THREADS says, all if it says nothing; seetell
as many as `--threads`. `--shared-dim 512` turns the vectors into that many dimensions, which leaves every
cosine as it is and costs what a model of that size costs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import seetell
from seetell.media.images import list_photos
from seetell.search.checking import WORDS
from seetell.search.scan import VectorScan

K = 10
# A copy's distance from its original, as a photo of the same thing has: a cosine of about 0.8.
PERTURBED = 0.75
AT_ONCE = 8192


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def perturbed(rows: NDArray[np.float32], count: int, draw: np.random.Generator) -> NDArray[np.float32]:
    """``count`` copies of the rows, moved by noise as varied, dimension by dimension, as the rows are."""
    spread = rows.std(axis=0)
    base = rows[draw.integers(0, len(rows), count)]
    return unit(base + PERTURBED * spread * draw.standard_normal(base.shape, dtype=np.float32))


def widening(narrow: int, wide: int, draw: np.random.Generator) -> NDArray[np.float32]:
    """float32[narrow, wide] that keeps every dot product: its rows are of length 1 and at right angles."""
    if wide == narrow:
        return np.eye(narrow, dtype=np.float32)
    turned, _ = np.linalg.qr(draw.standard_normal((wide, narrow)))
    return np.ascontiguousarray(turned.T, np.float32)


def numpy_scan(queries: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.intp]:
    """The places of the K best rows for each query, best first: int64[Q, K]."""
    scores = queries @ vectors.T
    best = np.argpartition(scores, -K, axis=1)[:, -K:]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
    return np.take_along_axis(best, order, axis=1)


def timed_ms(what: Callable[[], object]) -> float:
    started = time.perf_counter()
    what()
    return 1000 * (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photos")
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--limit", type=int, default=2000, help="Photos to embed.")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--shared-dim", type=int)
    settings = parser.parse_args()

    model = seetell.load(settings.model, threads=settings.threads)
    paths = list(list_photos([settings.photos]))[: settings.limit]
    real = np.stack([one for one in model.stream("embed_images", paths) if isinstance(one, np.ndarray)])
    draw = np.random.default_rng(0)
    wider = widening(real.shape[1], settings.shared_dim or real.shape[1], draw)
    real = real @ wider
    vectors = np.empty((settings.rows, real.shape[1]), np.float32)
    vectors[: len(real)] = real[: settings.rows]
    for first in range(len(real), settings.rows, AT_ONCE):
        count = min(AT_ONCE, settings.rows - first)
        vectors[first : first + count] = perturbed(real, count, draw)

    started = time.perf_counter()
    scan = VectorScan(vectors.shape[1], settings.threads)
    for first in range(0, len(vectors), AT_ONCE):
        some = vectors[first : first + AT_ONCE]
        scan.put(np.arange(first, first + len(some)), some)
    filled_s = time.perf_counter() - started

    texts = [WORDS[number % len(WORDS)] for number in range(settings.queries // 2)]
    embeds = model.embed_texts(texts) @ wider
    by_text = unit(embeds + 0.1 * draw.standard_normal((len(texts), real.shape[1]), np.float32))
    queries = np.concatenate([by_text, perturbed(real, settings.queries - len(texts), draw)])
    exact = [set(found.ids.tolist()) for found in scan.exact(queries, K)]

    def recall(found: list[list[int]]) -> float:
        return float(np.mean([len(right & set(one)) / K for right, one in zip(exact, found, strict=True)]))

    def searched() -> list[list[int]]:
        return [found.ids.tolist() for found in scan.search(queries, K)]

    ours, theirs, one_text, one_vector = [], [], [], []
    for number in range(settings.rounds + 1):
        spent = (timed_ms(searched), timed_ms(lambda: numpy_scan(queries, vectors)))
        for turn in range(10):
            text = WORDS[(10 * number + turn) % len(WORDS)]
            row = queries[turn % len(queries)][None]
            text_ms = timed_ms(lambda text=text: scan.search(model.embed_texts([text]) @ wider, K))
            vector_ms = timed_ms(lambda row=row: scan.search(row, K))
            if number:  # the first round warms everything up
                one_text.append(text_ms)
                one_vector.append(vector_ms)
        if number:
            ours.append(spent[0])
            theirs.append(spent[1])
    report = {
        "rows": len(vectors),
        "real_rows": min(len(real), settings.rows),
        "shared_dim": int(vectors.shape[1]),
        "model": model.name,
        "queries_at_once": len(queries),
        "recall_at_10": round(recall(searched()), 4),
        "recall_at_10_by_text": round(
            float(
                np.mean(
                    [
                        len(right & set(one)) / K
                        for right, one in list(zip(exact, searched(), strict=True))[: len(texts)]
                    ]
                )
            ),
            4,
        ),
        "numpy_recall_at_10": round(recall(numpy_scan(queries, vectors).tolist()), 4),
        "search_p50_ms": round(statistics.median(one_text), 2),
        "scan_p50_ms": round(statistics.median(one_vector), 2),
        "qps": round(1000 * len(queries) / statistics.median(ours), 1),
        "numpy_qps": round(1000 * len(queries) / statistics.median(theirs), 1),
        "times_numpy": round(statistics.median(theirs) / statistics.median(ours), 2),
        "filled_s": round(filled_s, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "rounds": settings.rounds,
        "processors": os.cpu_count(),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
