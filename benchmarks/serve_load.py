"""How a server holds up: many clients at once, mixed requests, beside the same work in batches without one.

    python benchmarks/serve_load.py PHOTOS [--clients 64] [--seconds 60] [--warm-up 60] [--model BUNDLE]

PHOTOS is a folder. Clients ask for captions, answers, text and photo embeddings and searches in turn, over
kept connections, each the next as soon as it has its answer; 429 is waited out as Retry-After says. Prints
one JSON object:

requests_per_s          answered, of all clients together
engine_requests_per_s   the same mix of work through the facade in batches, in its own process, without HTTP:
                        before the server runs and after it, and the mean of the two
ratio                   the one by that mean
p50_ms, p99_ms          per task and over all, from sending to the whole answer, without waiting after 429
refused, failed         429s; anything else that is no 200 (must be 0)
memory_mb               resident memory of the server, at ten times of the measured ones, and the most

Before that they do the same unmeasured: graphs are made ready for each size of batch when it first comes,
which takes time once, and memory for good. The clients run in one process of their own beside the server, on
the same processors: what they take, the server lacks. `client_cpu_s` says how much it was. Linux only (reads
/proc).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import collections
import itertools
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

import seetell
from seetell.media.images import list_photos

QUESTIONS = ("what is this?", "is there a dog?", "how many people are there?", "what colour is it?")
TEXTS = ("a dog on the grass", "two people at a table", "a red car", "children playing", "a boat on water")
# One round of a client, in this order: as much of each.
MIX = ("caption", "ask", "embed_text", "embed_photo", "search")
# The longest list of photos the work without a server is measured over, a multiple of every batch size.
MOST_PHOTOS = 320


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photos")
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--warm-up", type=float, default=60, help="Seconds of the same, unmeasured.")
    settings = parser.parse_args()
    paths = list(itertools.islice(list_photos([settings.photos]), MOST_PHOTOS))
    if not paths:
        sys.exit(f"{settings.photos}: no photos")

    with tempfile.TemporaryDirectory() as folder:
        index = f"{folder}/photos.index"
        context = multiprocessing.get_context("spawn")
        # Each in a process of its own, so that none finds the other's memory or threads.
        alone = (settings.model, settings.precision, paths)
        with context.Pool(1) as pool:
            before = pool.apply(batched_throughput, (*alone, index))
        with serving(settings, index) as (process, address), context.Pool(1) as pool:
            pool.apply(clients, (address, settings.clients, settings.warm_up, paths))
            memory = pool.apply_async(clients, (address, settings.clients, settings.seconds, paths))
            resident = watched(process.pid, memory)
            measured = memory.get()
        with context.Pool(1) as pool:
            after = pool.apply(batched_throughput, (*alone, f"{folder}/again.index"))
    rates = [one["engine_requests_per_s"] for one in (before, after)]
    engine = {"mean": round(statistics.mean(rates), 1), "before": rates[0], "after": rates[1]}
    report = {
        **measured,
        "engine_requests_per_s": engine,
        "ratio": round(measured["requests_per_s"] / engine["mean"], 3),
        "precision": before["precision"],
        "memory_mb": resident,
        "processors": os.cpu_count(),
    }
    report["model"] = settings.model
    print(json.dumps(report, indent=1))


def batched_throughput(model: str, precision: str, paths: list[Path], index: str) -> dict[str, Any]:
    """Requests a second of the same mix done in batches, and an index for the server to search."""
    loaded = seetell.load(model, precision=precision)
    photos = [path.read_bytes() for path in paths]
    found = seetell.PhotoIndex(index, loaded)
    found.add(paths)
    texts = [TEXTS[place % len(TEXTS)] for place in range(len(photos))]
    asked = [(photo, QUESTIONS[place % len(QUESTIONS)]) for place, photo in enumerate(photos)]

    def once() -> None:
        collections.deque(loaded.stream("caption", photos), maxlen=0)
        collections.deque(loaded.stream("ask", asked), maxlen=0)
        collections.deque(loaded.stream("embed_images", photos), maxlen=0)
        for first in range(0, len(texts), 64):
            loaded.embed_texts(texts[first : first + 64])
            found.search_many(texts[first : first + 64], k=10)

    once()
    spent = []
    for _ in range(3):
        started = time.perf_counter()
        once()
        spent.append(time.perf_counter() - started)
    rate = len(MIX) * len(photos) / statistics.median(spent)
    return {"engine_requests_per_s": round(rate, 1), "precision": loaded.precision}


class serving:
    """``seetell serve`` on a free port: the process and its address, once it is ready."""

    def __init__(self, settings: argparse.Namespace, index: str) -> None:
        self._command = [
            *(sys.executable, "-m", "seetell.cli.main", "serve", "--port", "0", "--json"),
            *("--model", settings.model, "--precision", settings.precision, "--index", index),
        ]

    def __enter__(self) -> tuple[subprocess.Popen[str], str]:
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=self._log, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            sys.exit(self._log.read())
        address = json.loads(line)["address"]
        while httpx2.get(f"{address}/ready").status_code != 200:
            time.sleep(0.1)
        return self._process, address

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)


def watched(pid: int, running: Any) -> dict[str, Any]:
    """Resident megabytes while ``running``."""
    seen = []
    while not running.ready():
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        seen.append(int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)
        time.sleep(0.2)
    tenths = [round(seen[place * (len(seen) - 1) // 9]) for place in range(10)]
    return {"tenths": tenths, "most": round(max(seen))}


def clients(address: str, count: int, seconds: float, paths: list[Path]) -> dict[str, Any]:
    """What ``count`` clients saw in so many seconds."""
    return asyncio.run(_clients(address, count, seconds, paths))


async def _clients(address: str, count: int, seconds: float, paths: list[Path]) -> dict[str, Any]:
    photos = ["data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode() for path in paths]
    bodies = {task: [_body(task, photo, place) for place, photo in enumerate(photos)] for task in MIX}
    took: dict[str, list[float]] = {task: [] for task in MIX}
    statuses: collections.Counter[int] = collections.Counter()
    limits = httpx2.Limits(max_connections=count, max_keepalive_connections=count)
    async with httpx2.AsyncClient(base_url=address, timeout=120, limits=limits) as http:
        until = time.perf_counter() + seconds

        async def one(number: int) -> None:
            for task, place in _turns(number, len(photos)):
                if time.perf_counter() >= until:
                    return
                path, body = bodies[task][place]
                while True:
                    sent = time.perf_counter()
                    answer = await http.post(path, content=body, headers={"content-type": "application/json"})
                    statuses[answer.status_code] += 1
                    if answer.status_code != 429:
                        break
                    await asyncio.sleep(int(answer.headers["retry-after"]))
                took[task].append(time.perf_counter() - sent)

        started, began_cpu_s = time.perf_counter(), time.process_time()
        await asyncio.gather(*(one(number) for number in range(count)))
        spent_s = time.perf_counter() - started
    every = [one for some in took.values() for one in some]
    return {
        "clients": count,
        "seconds": round(spent_s, 1),
        "requests": sum(statuses.values()) - statuses[429],
        "requests_per_s": round(statuses[200] / spent_s, 1),
        "refused": statuses[429],
        "failed": sum(number for status, number in statuses.items() if status not in (200, 429)),
        "p50_ms": _percentiles(took, every, 50),
        "p99_ms": _percentiles(took, every, 99),
        "client_cpu_s": round(time.process_time() - began_cpu_s, 1),
    }


def _turns(number: int, photos: int) -> Iterator[tuple[str, int]]:
    """Which task with which photo, for client ``number``: each begins elsewhere."""
    for turn in itertools.count(number):
        yield MIX[turn % len(MIX)], (turn * 7) % photos


def _body(task: str, photo: str, place: int) -> tuple[str, bytes]:
    question, text = QUESTIONS[place % len(QUESTIONS)], TEXTS[place % len(TEXTS)]
    path, fields = {
        "caption": ("/v1/caption", {"photo": photo}),
        "ask": ("/v1/ask", {"photo": photo, "question": question}),
        "embed_text": ("/v1/embeddings", {"input": text, "encoding_format": "base64"}),
        "embed_photo": (
            "/v1/embeddings",
            {"input": photo, "modality": "image", "encoding_format": "base64"},
        ),
        "search": ("/v1/search", {"text": text, "k": 10}),
    }[task]
    return path, json.dumps(fields).encode()


def _percentiles(took: dict[str, list[float]], every: list[float], which: float) -> dict[str, float]:
    rows = {**took, "all": every}
    return {task: round(1000 * float(np.percentile(row, which)), 1) for task, row in rows.items() if row}


if __name__ == "__main__":
    main()
