"""Photos sent as they are, in a form or alone, are answered as those in JSON; what is wrong says what to
send."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pytest

from seetell.bundle.tokenizer import Tokenizer
from seetell.serving.app import App
from seetell.serving.limits import Limits
from seetell.serving.model_pool import Source
from seetell.serving.uploads import parts_of
from seetell.tasks.model import Model
from tests.runtime.toy import make_manifest
from tests.serving.conftest import Serve, SlowEngine, data_url, jpeg, listening

PHOTO = jpeg(2)
JPEG = {"content-type": "image/jpeg"}


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Model:
    engine = SlowEngine(tokenizer.vocab_size)
    return Model(make_manifest(engine), tokenizer, engine, batch_size=8)


@pytest.fixture(scope="module")
def client(model: Model) -> Iterator[httpx2.Client]:
    """One server for all tests of this file: none of them changes it."""
    app = App([Source("toy", 1, lambda: model)], limits=Limits(drain_s=0, photo_bytes=100_000))
    with listening(app) as address, httpx2.Client(base_url=address, timeout=30) as client:
        while client.get("/ready").status_code != 200:
            time.sleep(0.05)
        yield client


# Of each verb: what is said besides the photo, as JSON, and as the fields of a form or an address.
VERBS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "caption",
        {"language": "zh", "beams": 2, "max_tokens": 5},
        {"language": "zh", "beams": "2", "max_tokens": "5"},
    ),
    (
        "ask",
        {"question": "is there a dog?", "answers": ["yes"]},
        {"question": "is there a dog?", "answers": "yes"},
    ),
    (
        "ask",
        {"question": "有狗吗？", "answers": ["yes", "no"], "min_confidence": 0.5},
        {"question": "有狗吗？", "answers": ["yes", "no"], "min_confidence": "0.5"},
    ),
    ("match", {"texts": ["a dog", "一只狗"]}, {"texts": ["a dog", "一只狗"]}),
    ("classify", {"labels": ["dog", "bus"]}, {"labels": ["dog", "bus"]}),
]


@pytest.mark.parametrize(("verb", "said", "fields"), VERBS)
def test_a_photo_as_it_is_is_answered_as_one_in_json(
    client: httpx2.Client, verb: str, said: dict[str, Any], fields: dict[str, Any]
) -> None:
    address = f"/v1/{verb}"
    want = client.post(address, json={"photo": data_url(PHOTO), **said})
    assert want.status_code == 200
    form = client.post(address, files={"photo": ("dog.png", PHOTO)}, data=fields)
    assert (form.status_code, form.json()) == (200, want.json())
    for kind in ("image/jpeg", "image/png", "application/octet-stream"):
        alone = client.post(address, content=PHOTO, params=fields, headers={"content-type": kind})
        assert (alone.status_code, alone.json()) == (200, want.json())


def test_a_form_may_name_a_photo_instead(client: httpx2.Client, model: Model) -> None:
    got = client.post("/v1/caption", files={"photo": (None, data_url(PHOTO))})
    assert got.json()["text"] == model.caption(PHOTO).text


def test_photos_as_they_are_become_vectors(client: httpx2.Client, model: Model) -> None:
    want = model.embed_images([PHOTO, jpeg(3)])
    files = [("input", ("1.png", PHOTO)), ("input", ("2.png", jpeg(3)))]
    several = client.post("/v1/embeddings", files=files).json()["data"]
    np.testing.assert_allclose([one["embedding"] for one in several], want, atol=1e-6)
    alone = client.post("/v1/embeddings", content=PHOTO, headers=JPEG).json()["data"]
    np.testing.assert_allclose([one["embedding"] for one in alone], want[:1], atol=1e-6)


def test_bytes_that_look_like_a_forms_end_are_a_photos(client: httpx2.Client) -> None:
    """What follows a photo's end is of no matter to it, and the boundary of another form is none."""
    photo = PHOTO + b"\r\n--other\r\n--\r\n\r\n--"
    got = client.post("/v1/caption", files={"photo": ("a.png", photo)})
    assert got.status_code == 200
    body = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n%b\r\n--x--\r\n' % photo
    assert [(part.name, part.data, part.photo) for part in parts_of(body, "x")] == [("photo", photo, True)]


FORM = {"content-type": "multipart/form-data; boundary=x"}
TEXT = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
FILE = b'--x\r\nContent-Disposition: form-data; name="%b"; filename="a"\r\n\r\n%b\r\n'
WRONG: list[tuple[bytes, dict[str, str], int, str | None, str]] = [
    (b"", JPEG, 400, "photo", "there are no bytes"),
    (b"no photo", JPEG, 400, "photo", "not an image"),
    (PHOTO[:60], JPEG, 400, "photo", "cut off"),
    (PHOTO + b"\0" * 100_000, JPEG, 413, "photo", "more than the 100,000 bytes"),
    (FILE % (b"photo", PHOTO), FORM, 422, None, "the form is not whole: its last boundary is missing"),
    (
        b"--x--\r\n",
        {"content-type": "multipart/form-data"},
        422,
        None,
        "the form's Content-Type has no boundary",
    ),
    (b"--x\r\n\r\nno name\r\n--x--", FORM, 422, None, "a part of the form has no name"),
    (b"--x--\r\n", FORM, 422, "photo", 'photo: it is missing; send "photo": "data:image/jpeg;base64,..."'),
    (FILE % (b"photo", PHOTO) * 2 + b"--x--", FORM, 422, "photo", "photo: it is given 2 times; send it once"),
    (
        TEXT % (b"photo", PHOTO) + b"--x--",
        FORM,
        422,
        "photo",
        "photo: it is no text in UTF-8; send a photo as a file that is called photo",
    ),
    (
        FILE % (b"photo", PHOTO) + TEXT % (b"beams", b"many") + b"--x--",
        FORM,
        422,
        "beams",
        "beams: Input should be a valid integer",
    ),
    (FILE % (b"image", PHOTO) + b"--x--", FORM, 422, "image", "send a photo as a file that is called photo"),
    (TEXT % (b"a", b"") * 600 + b"--x--", FORM, 422, None, "the form has more than 512 parts"),
]


@pytest.mark.parametrize(("body", "headers", "status", "param", "message"), WRONG)
def test_what_is_wrong_with_it_is_said(
    client: httpx2.Client, body: bytes, headers: dict[str, str], status: int, param: str | None, message: str
) -> None:
    answer = client.post("/v1/caption", content=body, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param), error
    assert message in error["message"]


@pytest.mark.parametrize(
    ("path", "given", "message"),
    [
        ("caption", {}, 'photo: it is missing; send "photo": "data:image/jpeg;base64,..."'),
        (
            "caption",
            {"photo": 5},
            'photo: Input should be a valid string; send "photo": "data:image/jpeg;base64,..."',
        ),
        ("ask", {"photo": "x"}, 'question: it is missing; send "question": "what colour is the circle?"'),
        (
            "match",
            {"photo": "x", "texts": "a dog"},
            'texts: Input should be a valid list; send "texts": ["a red circle", "a blue square"]',
        ),
        (
            "classify",
            {"image": "x", "photo": "x"},
            "image: there is no such field; there are model, photo, labels, language",
        ),
        ("match", 5, "the body: it is to be a JSON object, {...}; send {"),
        (
            "chat/completions",
            {},
            'messages: it is missing; send "messages": [{"role": "user", "content": [{"type"',
        ),
    ],
)
def test_what_to_send_is_said(client: httpx2.Client, path: str, given: Any, message: str) -> None:
    answer = client.post(f"/v1/{path}", json=given)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith(message)


def test_a_body_of_another_kind_is_told_the_three(client: httpx2.Client) -> None:
    answer = client.post("/v1/embeddings", content=b"a dog", headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    assert answer.json()["error"]["message"].endswith(
        "or a form (multipart/form-data) with the photo as its file input; or the photo alone, with its own "
        "type as image/jpeg"
    )


def test_what_is_asked_about_no_photo_takes_none(client: httpx2.Client) -> None:
    files = {"folders": ("a.png", PHOTO)}
    for path in ("/v1/index", "/v1/chat/completions"):
        assert client.post(path, files=files).status_code == 415


def test_web_pages_of_others_send_no_forms(client: httpx2.Client, serve: Serve, tokenizer: Tokenizer) -> None:
    """A browser asks nobody before it sends a form; before JSON and photos it does."""

    def status(client: httpx2.Client, origin: str) -> int:
        return client.post("/v1/caption", files={"photo": PHOTO}, headers={"origin": origin}).status_code

    own = str(client.base_url).rstrip("/")
    assert [status(client, one) for one in (own, "https://evil.example", "null")] == [200, 403, 403]
    assert status(client, own.replace("127.0.0.1", "localhost")) == 403

    def other() -> Model:
        engine = SlowEngine(tokenizer.vocab_size)
        return Model(make_manifest(engine), tokenizer, engine)

    named = serve(sources=[Source("toy", 1, other)], origins=["https://app.example"])
    assert [status(named, one) for one in ("https://app.example", "https://evil.example")] == [200, 403]
    assert status(serve(sources=[Source("toy", 1, other)], origins=["*"]), "https://evil.example") == 200


def test_every_example_is_answered(client: httpx2.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    tried = []
    for path, methods in paths.items():
        body = methods.get("post", {}).get("requestBody", {}).get("content", {})
        if not body:
            continue
        answer = client.post(path, json=body["application/json"]["example"])
        # This server has no index.
        assert answer.status_code == (404 if path in ("/v1/search", "/v1/index") else 200), (
            path,
            answer.text,
        )
        tried.append(path)
        assert ("multipart/form-data" in body) == (path not in ("/v1/index", "/v1/chat/completions"))
    assert len(tried) == 8
