"""A server on a free port, with the toy model behind it, and photos as requests carry them."""

from __future__ import annotations

import base64
import io
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from seetell.bundle.tokenizer import Tokenizer
from seetell.serving.app import App
from seetell.serving.limits import Limits
from seetell.serving.model_pool import Source
from seetell.serving.server import Server
from seetell.tasks.model import Model
from tests.runtime.toy import ToyEngine, make_manifest, make_tokenizer

QUICK = {"drain_s": 0.0}


def jpeg(seed: int = 0, size: tuple[int, int] = (32, 24)) -> bytes:
    """A small photo; no two seeds alike."""
    draw = np.random.default_rng(seed)
    patches = draw.integers(0, 256, size=(2, 2, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(patches).resize(size, Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def data_url(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


class SlowEngine(ToyEngine):
    """Waits for ``go`` before it looks at photos, and for ``steps`` before each token, where there is one; or
    fails with ``error``."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        self.go = threading.Event()
        self.go.set()
        self.began = threading.Event()
        self.steps: threading.Semaphore | None = None
        self.error: Exception | None = None

    def run(self, role: str, *given: Any, **more: Any) -> Any:
        if self.error is not None:
            raise self.error
        if role == "image_encoder":
            self.began.set()
            assert self.go.wait(30)
        if role == "text_decoder" and self.steps is not None:
            assert self.steps.acquire(timeout=30)
        return super().run(role, *given, **more)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return make_tokenizer()


@pytest.fixture
def engine(tokenizer: Tokenizer) -> SlowEngine:
    return SlowEngine(tokenizer.vocab_size)


@pytest.fixture
def model(engine: SlowEngine, tokenizer: Tokenizer) -> Model:
    return Model(make_manifest(engine), tokenizer, engine, batch_size=8)


@contextmanager
def listening(app: App, port: int = 0) -> Iterator[str]:
    """The address of ``app`` behind a real socket, once it listens; port: 0 for a free one."""
    addresses: queue.Queue[str] = queue.Queue()
    server = Server(app, host="127.0.0.1", port=port, started=addresses.put)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield addresses.get(timeout=30)
    finally:
        server.handle_exit(signal.SIGTERM, None)
        thread.join(30)
        assert not thread.is_alive()


Serve = Callable[..., httpx2.Client]


@pytest.fixture
def serve(model: Model) -> Iterator[Serve]:
    """``serve(limits=None, sources=None, **options of App)``: a client of a ready server."""
    with ExitStack() as stack:

        def start(
            *, limits: dict[str, Any] | None = None, sources: list[Source] | None = None, **options: Any
        ) -> httpx2.Client:
            app = App(
                sources or [Source("toy", 1, lambda: model)],
                limits=Limits(**QUICK | (limits or {})),
                **options,
            )
            address = stack.enter_context(listening(app))
            client = stack.enter_context(httpx2.Client(base_url=address, timeout=30))
            for _ in range(600):
                if client.get("/ready").status_code == 200:
                    return client
                threading.Event().wait(0.05)
            raise AssertionError(client.get("/ready").text)

        yield start


@pytest.fixture
def client(serve: Serve) -> httpx2.Client:
    return serve()
