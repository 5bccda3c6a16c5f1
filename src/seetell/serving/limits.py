"""What a server allows: sizes, counts and times, all in one place. docs/serve.md explains each."""

from __future__ import annotations

from dataclasses import dataclass

MiB = 1024 * 1024

# Bounds of the request format itself, seen in the OpenAPI document. They keep one request's work small.
MOST_TEXTS = 256
MOST_CHARACTERS = 4000
MOST_BEAMS = 10
MOST_TOKENS = 256
MOST_PHOTOS = 64
MOST_HITS = 1000
# Vectors of texts are small work, and OpenAI's clients send so many at once.
MOST_TEXTS_TO_EMBED = 2048
# Earlier turns have no effect; these keep reading them from taking long.
MOST_MESSAGES = 16_384
MOST_PARTS = 16_384


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server allows before it says no.

    Args:
        body_bytes: the largest request body; as much may be fetched for one request.
        bodies_bytes: of all bodies and fetched photos held at the same time; more is answered with 429.
        photo_bytes: the largest photo, decoded from base64 or fetched.
        requests: answered at the same time; more is answered with 429.
        queue: photos and texts waiting for the model; more is answered with 429.
        max_wait_s: how long the first of a batch waits for others.
        deadline_s: from a request's body to its answer; 504 afterwards.
        head_timeout_s: for a request's head to arrive, or the first on a connection to begin.
        body_timeout_s: for a body to arrive; 408 afterwards.
        fetch_timeout_s: for a photo's address, redirects and all.
        fetches: addresses fetched at the same time; others wait.
        held_bytes: of all photos that are held for the page; those used least recently make room.
        held_s: how long after its last use a photo of the page is held.
        drain_s: how long new requests are still taken after SIGTERM, while ``/ready`` already says no.
    """

    body_bytes: int = 32 * MiB
    bodies_bytes: int = 512 * MiB
    photo_bytes: int = 20 * MiB
    requests: int = 512
    queue: int = 512
    max_wait_s: float = 0.005
    deadline_s: float = 30.0
    head_timeout_s: float = 20.0
    body_timeout_s: float = 30.0
    fetch_timeout_s: float = 10.0
    fetches: int = 16
    held_bytes: int = 128 * MiB
    held_s: float = 30 * 60.0
    drain_s: float = 1.0
