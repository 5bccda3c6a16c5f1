"""The page as it leaves the server: one file, whose policy lets nothing else in or out."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image

from seetell.bundle.tokenizer import Tokenizer
from seetell.search.photo_index import PhotoIndex
from seetell.serving.model_pool import Source
from seetell.serving.page_routes import content_security_policy
from seetell.serving.photo_index_api import ServedIndex
from seetell.tasks.model import Model
from tests.runtime.toy import ToyEngine, make_manifest
from tests.serving.conftest import Serve, data_url, jpeg

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "src" / "seetell" / "serving" / "page"
WEB = ROOT / "web"


def test_the_page_comes_whole_and_packed(client: httpx2.Client) -> None:
    got = client.get("/")
    assert got.status_code == 200 and got.headers["content-type"] == "text/html; charset=utf-8"
    assert got.content == (BUILT / "index.html").read_bytes()
    assert got.headers["content-encoding"] == "gzip"
    plain = client.get("/", headers={"accept-encoding": "identity"})
    assert plain.content == got.content and "content-encoding" not in plain.headers
    again = client.get("/", headers={"if-none-match": got.headers["etag"]})
    assert again.status_code == 304 and again.content == b""


def test_nothing_but_the_page_itself_may_run(client: httpx2.Client) -> None:
    got = client.get("/")
    policy = dict(part.split(" ", 1) for part in got.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'" and policy["connect-src"] == "'self'"
    assert policy["img-src"] == "blob: data:" and policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in str(policy) and "http" not in str(policy)
    script = re.search(r"<script\b[^>]*>(.*?)</script>", got.text, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert policy["script-src"] == f"'sha256-{digest}'"


def test_every_inline_part_is_named_by_its_hash() -> None:
    policy = content_security_policy("<script>a</script><p>b</p><script type=x>c</script><style>d</style>")
    want = [base64.b64encode(hashlib.sha256(part).digest()).decode() for part in (b"a", b"c", b"d")]
    assert f"script-src 'sha256-{want[0]}' 'sha256-{want[1]}'; style-src 'sha256-{want[2]}'" in policy


def test_the_page_names_no_other_host() -> None:
    html = (BUILT / "index.html").read_text(encoding="utf-8")
    hosts = set(re.findall(r"https?://([^/'\"\s)]+)", html))
    assert hosts <= {"www.w3.org"}  # the names of SVG and MathML, which nobody asks for
    assert len(html) < 100_000
    assert [file.name for file in BUILT.iterdir()] == ["index.html"]


def test_the_page_is_open_and_what_it_asks_is_behind_the_key(serve: Serve, model: Model) -> None:
    client = serve(keys=["open-sesame"])
    assert client.get("/").status_code == 200
    assert client.get("/v1/page").status_code == 401
    got = client.get("/v1/page", headers={"authorization": "Bearer open-sesame"}).json()
    assert got["model"] == model.name and got["tasks"] == sorted(model.tasks)
    assert got["languages"] == list(model.languages) and got["photo_bytes"] == 20 * 1024 * 1024


def test_the_lock_file_names_no_host() -> None:
    """Each machine uses its own registry. ``npm pkg`` writes addresses of sponsors, which are taken out."""
    text = (WEB / "package-lock.json").read_text(encoding="utf-8")
    assert "://" not in text
    packages = json.loads(text)["packages"]
    assert all("integrity" in package for name, package in packages.items() if name)


@pytest.mark.slow
def test_the_committed_page_is_that_of_the_sources(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None or not (WEB / "node_modules").is_dir():
        pytest.skip("needs node, and `npm ci` in web/")
    command = ["npx", "--no-install", "vite", "build", "--outDir", str(tmp_path)]
    subprocess.run(command, cwd=WEB, check=True, capture_output=True)
    assert (tmp_path / "index.html").read_bytes() == (BUILT / "index.html").read_bytes()


@pytest.mark.parametrize(
    ("path", "edge", "status"),
    [
        ("{folder}/in.png", 64, 200),
        ("{folder}/out.png", 64, 404),
        ("{folder}/../{name}/in.png", 64, 404),
        ("/etc/passwd", 64, 404),
        ("x' OR '1' = '1", 64, 404),
        ("\0", 64, 404),
        ("{folder}/in.png", 100_000, 422),
    ],
)
def test_only_photos_of_the_index_are_shown(
    serve: Serve, model: Model, tmp_path: Path, path: str, edge: int, status: int
) -> None:
    for name in ("in.png", "out.png"):
        (tmp_path / name).write_bytes(jpeg(1, (300, 200)))
    place = tmp_path / "photos.index"
    PhotoIndex(place, model).add(tmp_path / "in.png")
    client = serve(index=ServedIndex(place))
    path = path.format(folder=tmp_path, name=tmp_path.name)
    got = client.get("/v1/page/photo", params={"path": path, "edge": edge})
    assert got.status_code == status
    if status == 200:
        picture = Image.open(io.BytesIO(got.content))
        assert picture.format == "JPEG" and picture.size == (64, 43)


def test_a_server_without_an_index_shows_no_photo(client: httpx2.Client) -> None:
    assert client.get("/v1/page").json()["index"] is None
    assert client.get("/v1/page/photo", params={"path": "/etc/passwd"}).status_code == 404


def test_the_page_is_told_what_to_send_and_has_samples(client: httpx2.Client, model: Model) -> None:
    told = client.get("/v1/page").json()
    assert model.manifest.image is not None
    assert told["image_size"] == model.manifest.image.height
    assert told["files"] and told["samples"] == [
        "astronaut.jpg",
        "camera.jpg",
        "chelsea.jpg",
        "coffee.jpg",
        "rocket.jpg",
    ]
    kept = Image.open(ROOT / "src" / "seetell" / "samples" / "coffee.jpg")
    for edge, size in ((None, kept.size), (160, (160, round(160 * kept.height / kept.width)))):
        asked = {"name": "coffee.jpg", **({} if edge is None else {"edge": str(edge)})}
        got = client.get("/v1/page/sample", params=asked)
        assert got.headers["content-type"] == "image/jpeg"
        picture = Image.open(io.BytesIO(got.content))
        assert picture.size == size
        near = np.asarray(picture, int) - np.asarray(kept.convert("RGB").resize(size), int)
        assert np.abs(near).mean() < 6
    for other in ("README.md", "../samples/coffee.jpg", "/etc/passwd", ""):
        assert client.get("/v1/page/sample", params={"name": other}).status_code == 404


def test_the_page_of_the_api_runs_nothing_but_its_own(client: httpx2.Client) -> None:
    got = client.get("/docs")
    policy = dict(part.split(" ", 1) for part in got.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'" and policy["connect-src"] == "'self'"
    script = re.search(r"<script>(.*?)</script>", got.text, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert policy["script-src"] == f"'sha256-{digest}'"


def test_all_of_a_photo_is_told_at_once(client: httpx2.Client, model: Model) -> None:
    got = client.post("/v1/page/read", json={"photo": data_url(jpeg(1)), "language": "zh"})
    assert got.status_code == 200
    assert got.json()["caption"]["text"] == model.caption(jpeg(1), language="zh").text
    vector = np.frombuffer(base64.b64decode(got.json()["vector"]), "<f4")
    np.testing.assert_allclose(vector, model.embed_images([jpeg(1)])[0], atol=1e-6)
    broken = client.post("/v1/page/read", json={"photo": data_url(jpeg(1)[:40])})
    assert (broken.status_code, broken.json()["error"]["type"]) == (400, "truncated")


def test_of_a_model_that_only_embeds_there_is_no_caption(serve: Serve, tokenizer: Tokenizer) -> None:
    engine = ToyEngine(tokenizer.vocab_size, without=("text_decoder", "decoder_memory", "fusion_encoder"))
    embeds = Model(make_manifest(engine, answers=()), tokenizer, engine)
    client = serve(sources=[Source("embeds", 1, lambda: embeds)])
    got = client.post("/v1/page/read", json={"photo": data_url(jpeg(1))}).json()
    assert got["caption"] is None and got["vector"]
