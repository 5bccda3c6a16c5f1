"""The facade: one and many, streams, languages, texts that are no texts, tasks a model lacks."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import seetell
from seetell.bundle.store import builtin_folder
from seetell.bundle.tokenizer import Tokenizer
from seetell.core.errors import (
    BundleNotFound,
    EngineError,
    ImageError,
    SeetellError,
    TaskUnavailable,
    TextError,
    UsageError,
)
from seetell.core.results import Caption, Failure
from seetell.media.images import Photo
from seetell.runtime.generation import GenerationOptions
from seetell.tasks.model import Model, load
from tests.runtime.toy import CONTEXT, DIM, ToyEngine
from tests.tasks.conftest import MakeModel

# verb of stream, its options, and the same asked of one photo
CALLS: list[tuple[str, dict[str, Any], Any]] = [
    ("caption", {"language": "zh"}, lambda m, p: m.caption(p, language="zh")),
    ("captions", {"count": 3}, lambda m, p: m.captions(p, 3)),
    ("ask", {"question": "is there a dog?"}, lambda m, p: m.ask(p, "is there a dog?")),
    ("match", {"texts": ["a dog", "a bus"]}, lambda m, p: m.match(p, ["a dog", "a bus"])),
    ("classify", {"labels": ["dog", "bus"]}, lambda m, p: m.classify(p, ["dog", "bus"])),
    ("classify", {}, lambda m, p: m.classify(p)),
    ("embed_images", {}, lambda m, p: m.embed_images(p)[0]),
    ("features", {}, lambda m, p: m.features(p)),
    ("fill", {"text": "a [MASK] on the grass"}, lambda m, p: m.fill(p, "a [MASK] on the grass")),
]


def same(one: Any, other: Any) -> None:
    """Equal, floats nearly."""
    assert type(one) is type(other)
    if dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same(a, b)
    elif isinstance(one, np.ndarray):
        np.testing.assert_allclose(one, other, atol=1e-5)
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-5)
    else:
        assert one == other


def test_tokens_are_counted_as_they_are_read(model: Model, tokenizer: Tokenizer) -> None:
    words = len(tokenizer.encode_words("a dog"))
    assert model.count_tokens("a dog") == [words + 2]
    assert model.count_tokens(["a", "a dog", "a dog " * 100]) == [3, words + 2, CONTEXT]
    with pytest.raises(TextError, match="empty"):
        model.count_tokens(["a", " "])


def test_the_tasks_of_a_whole_model(model: Model) -> None:
    assert model.tasks == {"embed", "match", "classify", "caption", "ask", "features", "fill"}
    assert (model.name, model.precision, model.device) == ("toy", "fp32", "cpu")
    assert model.languages == ("en", "zh")
    assert "toy" in repr(model)


@pytest.mark.parametrize(("verb", "options", "single"), CALLS, ids=lambda v: v if isinstance(v, str) else "")
def test_streamed_in_batches_is_one_by_one(
    make_model: MakeModel, photos: list[Path], verb: str, options: dict[str, Any], single: Any
) -> None:
    model = make_model(batch_size=5)
    streamed = list(model.stream(verb, iter(photos), **options))
    assert len(streamed) == len(photos)
    for photo, result in zip(photos, streamed, strict=True):
        same(result, single(model, photo))


def test_one_gives_one_and_a_list_gives_a_list(model: Model, photos: list[Path]) -> None:
    assert isinstance(model.caption(photos[0]), Caption)
    assert [one.text for one in model.caption(photos)] == [model.caption(photo).text for photo in photos]
    assert [one.label for one in model.classify(photos, ["dog", "bus"])] == [
        model.classify(photo, ["dog", "bus"]).label for photo in photos
    ]
    assert model.caption([]) == model.classify([], ["dog"]) == model.ask([], "what?") == []
    assert model.embed_images([]).shape == model.embed_texts([]).shape == (0, DIM)
    assert model.embed_images(photos[0]).shape == (1, DIM)
    assert model.embed_texts("one text").shape == (1, DIM)
    assert model.count_tokens([]) == []


def test_every_kind_of_photo(model: Model, photos: list[Path]) -> None:
    pixels = np.asarray(Image.open(photos[0]))
    kinds: list[Photo] = [photos[0], str(photos[0]), photos[0].read_bytes(), Image.open(photos[0]), pixels]
    assert len({model.caption(kind).text for kind in kinds}) == 1
    assert len({one.text for one in model.caption(kinds)}) == 1


def test_captions_tell_photos_and_languages_apart(model: Model, photos: list[Path]) -> None:
    english, chinese = model.caption(photos, language="en"), model.caption(photos, language="zh")
    assert len({one.text for one in english}) > 3
    assert [one.text for one in english] != [one.text for one in chinese]
    assert {one.language for one in chinese} == {"zh"}
    assert model.caption(photos[0]).language == "en"
    assert {(one.model, one.precision) for one in english} == {("toy", "fp32")}
    assert all(one.score < 0 for one in english)


def test_a_list_raises_on_its_first_bad_photo_and_a_stream_goes_on(
    make_model: MakeModel, photos: list[Path], tmp_path: Path
) -> None:
    model = make_model(batch_size=3)
    broken = tmp_path / "broken.jpg"
    broken.write_text("no photo")
    mixed: list[Any] = [*photos[:2], broken, photos[2], tmp_path / "missing.png", *photos[3:], b""]
    with pytest.raises(ImageError, match="broken"):
        model.caption(mixed)
    results = list(model.stream("caption", mixed))
    assert len(results) == len(mixed)
    failed = [place for place, one in enumerate(results) if isinstance(one, Failure)]
    assert failed == [2, 4, len(mixed) - 1]
    assert results[2].photo == str(broken)
    assert [results[place].error.kind for place in failed] == ["not_an_image", "missing", "empty"]
    good = [one.text for one in results if isinstance(one, Caption)]
    assert good == [one.text for one in model.caption(photos)]


def test_nothing_but_bad_photos(model: Model, tmp_path: Path) -> None:
    results = list(model.stream("caption", (tmp_path / f"{n}.jpg" for n in range(50))))
    assert len(results) == 50
    assert all(isinstance(one, Failure) for one in results)
    assert list(model.stream("caption", [])) == []


def test_an_endless_stream_is_answered_as_it_comes(make_model: MakeModel, photos: list[Path]) -> None:
    stream = make_model(batch_size=2).stream("embed_images", itertools.cycle(photos))
    assert len(list(itertools.islice(stream, 30))) == 30


def test_a_stream_refuses_what_it_does_not_know_before_reading(model: Model) -> None:
    def never() -> Any:
        raise AssertionError("read")
        yield

    for verb, options, word in (
        ("describe", {}, "caption"),
        ("__init__", {}, "caption"),
        ("caption", {"beems": 3}, "beems; there are: language, options, on_text, method, beams"),
        ("caption", {"beams": 0}, "beams is a whole number of at least 1"),
        ("captions", {"beams": 3, "options": GenerationOptions()}, "not both"),
        ("classify", {"beams": 3}, "beams; there are: labels, language$"),
        ("match", {}, "texts"),
        ("caption", {"language": "fr"}, "en, zh"),
    ):
        with pytest.raises(UsageError, match=word):
            model.stream(verb, never(), **options)


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda m, p: m.caption(p, language="fr"), UsageError, "'fr'.*en, zh"),
        (lambda m, p: m.captions(p, 0), UsageError, "count"),
        (lambda m, p: m.ask(p, ""), TextError, "question is empty"),
        (lambda m, p: m.ask(p, " \n"), TextError, "question is empty"),
        (lambda m, p: m.ask(p, "what?", answers=[]), UsageError, "at least one answer"),
        (lambda m, p: m.ask(p, "what?", answers=["yes", ""]), TextError, "answer is empty"),
        (lambda m, p: m.ask(p, "what?", top=0), UsageError, "top"),
        (lambda m, p: m.ask(p, "what?", min_confidence=1.5), UsageError, "min_confidence"),
        (lambda m, p: m.ask([p, p], ["what?"]), UsageError, "2 photos but 1 questions"),
        (lambda m, p: m.match(p, []), UsageError, "at least one text"),
        (lambda m, p: m.match(p, ["a", "\t"]), TextError, "empty"),
        (lambda m, p: m.match(p, ["a", 3]), TextError, "int"),
        (lambda m, p: m.classify(p, []), UsageError, "at least one label"),
        (lambda m, p: m.classify(p, ["dog", "cat", "dog"]), UsageError, "twice: dog"),
        (lambda m, p: m.embed_texts(["a", " "]), TextError, "empty"),
        (lambda m, p: m.fill(p, "no gap here"), TextError, r"\[MASK\]"),
        (lambda m, p: m.fill(p, "[MASK] " * 60), TextError, "tokens"),
        (lambda m, p: m.fill(p, "a [MASK]", top=0), UsageError, "top"),
        (lambda m, p: m.features([]), UsageError, "at least one photo"),
        (lambda m, p: m.generation_options(beam=3), UsageError, "beam; there are: method, beams"),
        (lambda m, p: m.caption(p, beam=3), UsageError, "beam; there are: .*beams, max_tokens"),
        (lambda m, p: m.captions(p, 2, beams=0), UsageError, "beams is a whole number"),
        (lambda m, p: m.caption(p, length_penalty="long"), UsageError, "length_penalty='long'"),
    ],
)
def test_calls_that_cannot_be_meant(
    model: Model, photos: list[Path], call: Any, error: type[Exception], word: str
) -> None:
    with pytest.raises(error, match=word) as caught:
        call(model, photos[0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("without", "left"),
    [
        (("fusion_encoder",), {"embed", "match", "classify", "caption", "features"}),
        (("text_encoder",), {"embed", "match", "classify", "caption", "ask", "features", "fill"}),
        (("text_decoder", "token_logits"), {"embed", "match", "classify", "ask", "features"}),
        (("image_encoder",), set()),
        (
            ("text_encoder", "fusion_encoder", "decoder_memory", "text_decoder", "label_logits"),
            {"embed", "features"},
        ),
    ],
)
def test_tasks_follow_from_the_roles(make_model: MakeModel, without: tuple[str, ...], left: set[str]) -> None:
    model = make_model(without=without)
    assert model.tasks == left
    calls: dict[str, Any] = {
        "caption": lambda: model.caption("p.jpg"),
        "ask": lambda: model.ask("p.jpg", "what?"),
        "match": lambda: model.match("p.jpg", ["a"]),
        "classify": lambda: model.classify("p.jpg", ["a"]),
        "embed": lambda: model.embed_images("p.jpg"),
        "features": lambda: model.features("p.jpg"),
        "fill": lambda: model.fill("p.jpg", "[MASK]"),
    }
    for verb in set(calls) - left:
        with pytest.raises(TaskUnavailable, match=f"toy cannot {verb}; it can: ") as caught:
            calls[verb]()
        assert all(one in str(caught.value) for one in left)


def test_a_task_the_manifest_does_not_name_is_not_offered(make_model: MakeModel) -> None:
    """A head nobody trained may still be in a graph."""
    assert make_model(tasks=("caption",)).tasks == {"caption"}


def test_partial_abilities(make_model: MakeModel, photos: list[Path]) -> None:
    without_texts = make_model(without=("text_encoder",))
    with pytest.raises(TaskUnavailable, match="text encoder"):
        without_texts.embed_texts(["a"])
    with pytest.raises(TaskUnavailable, match="space"):
        without_texts.classify(photos[0], ["dog"])
    assert without_texts.classify(photos[0]).label in ("cat", "dog", "bus")
    assert without_texts.match(photos[0], ["a"])[0].similarity is None
    without_labels = make_model(labels=())
    with pytest.raises(TaskUnavailable, match="labels of its own"):
        without_labels.classify(photos[0])
    without_decoder = make_model(without=("text_decoder",))
    with pytest.raises(TaskUnavailable, match="autoregressive"):
        without_decoder.caption(photos[0])
    options = without_decoder.generation_options(method="mask_predict")
    assert without_decoder.caption(photos[0], options=options).text


def test_only_the_outputs_a_verb_needs_are_asked_for(
    make_model: MakeModel, photos: list[Path], tokenizer: Tokenizer
) -> None:
    engine = ToyEngine(tokenizer.vocab_size)
    model = make_model(engine)
    model.embed_images(photos[0])
    model.classify(photos[0])
    model.match(photos[0], ["a"])
    model.caption(photos[0])
    asked = [set(outputs) for role, outputs in engine.asked if role == "image_encoder"]
    assert asked == [
        {"image_embeds"},
        {"label_logits"},
        {"image_tokens", "image_mask", "image_embeds"},
        {"image_tokens", "image_mask"},
    ]


def test_a_photo_asked_about_often_is_looked_at_once(
    make_model: MakeModel, photos: list[Path], tokenizer: Tokenizer
) -> None:
    engine = ToyEngine(tokenizer.vocab_size)
    model = make_model(engine)
    questions = ["is there a dog?", "is it red?", "two men?"]
    asked = [photo for photo in photos[:2] for _ in questions]
    together = model.ask(asked, questions * 2)
    assert [count for role, count in engine.rows if role == "image_encoder"] == [2]
    for photo, question, answer in zip(asked, questions * 2, together, strict=True):
        same(answer, model.ask(photo, question))


def test_generation_defaults_come_from_the_bundle(make_model: MakeModel, photos: list[Path]) -> None:
    model = make_model(generation={"beams": 3, "max_tokens": 7, "min_tokens": 4, "length_penalty": 0.5})
    assert model.generation_options() == GenerationOptions(
        beams=3, max_tokens=7, min_tokens=4, length_penalty=0.5
    )
    same(model.caption(photos[0]), model.caption(photos[0], options=model.generation_options()))
    assert model.generation_options(method="mask_predict").beams == 1
    assert model.generation_options(max_tokens=2).min_tokens == 2
    with pytest.raises(UsageError):
        model.generation_options(min_tokens=9)


def test_generation_options_by_name(model: Model, photos: list[Path]) -> None:
    changes = {"beams": 3, "max_tokens": 4}
    options = model.generation_options(**changes)
    expected = model.caption(photos, options=options)
    assert model.caption(photos, **changes) == expected
    assert list(model.stream("caption", photos, **changes)) == expected
    assert model.captions(photos[0], 3, **changes) == model.captions(photos[0], 3, options=options)
    assert model.caption(photos[0], max_tokens=1).cut


def test_a_caption_begins_with_its_prompt(model: Model, photos: list[Path], tokenizer: Tokenizer) -> None:
    for method in ("autoregressive", "mask_predict"):
        options = GenerationOptions(method=method, prompt="two men", max_tokens=8)  # type: ignore[arg-type]  # a Literal
        assert model.caption(photos[0], options=options).text.startswith("two men")
    with pytest.raises(TextError, match="prompt is empty"):
        model.caption(photos[0], options=GenerationOptions(prompt=" "))
    with pytest.raises(UsageError, match="room"):
        model.caption(photos[0], options=GenerationOptions(prompt="dog " * 20, max_tokens=30))


@pytest.mark.parametrize("method", ["autoregressive", "mask_predict"])
def test_several_captions_best_first(model: Model, photos: list[Path], method: Any) -> None:
    options = GenerationOptions(method=method, max_tokens=12, length_penalty=1.0)
    found = model.captions(photos[0], 4, options=options)
    assert len(found) == 4
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert len({one.text for one in found}) > 1


def test_mask_predict_takes_few_passes(
    make_model: MakeModel, photos: list[Path], tokenizer: Tokenizer
) -> None:
    engine = ToyEngine(tokenizer.vocab_size)
    make_model(engine).caption(photos[0], options=GenerationOptions(method="mask_predict", max_tokens=12))
    assert engine.calls["fusion_encoder"] <= 4
    assert engine.calls["text_decoder"] == 0


def test_many_threads_share_a_model(make_model: MakeModel, photos: list[Path]) -> None:
    model = make_model(batch_size=2)
    alone = [model.caption(photo).text for photo in photos]
    answers = [model.ask(photo, "is it red?").answer for photo in photos]
    labels = [model.classify(photo, ["dog", "bus", "red"]).label for photo in photos]
    with ThreadPoolExecutor(8) as pool:
        streams = [
            pool.submit(lambda: [one.text for one in model.stream("caption", photos)]) for _ in range(3)
        ]
        asked = list(pool.map(lambda photo: model.ask(photo, "is it red?").answer, photos))
        named = list(pool.map(lambda photo: model.classify(photo, ["dog", "bus", "red"]).label, photos))
        assert all(stream.result() == alone for stream in streams)
    assert (asked, named) == (answers, labels)


def test_closing(make_model: MakeModel, photos: list[Path], tokenizer: Tokenizer) -> None:
    engine = ToyEngine(tokenizer.vocab_size)
    with make_model(engine) as model:
        model.caption(photos[0])
    assert engine.closed
    with pytest.raises(EngineError):
        model.caption(photos[0])


def test_loading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFound):
        load(tmp_path / "nowhere")


def test_the_variable_names_the_model_where_nobody_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEETELL_MODEL", str(tmp_path / "of-the-variable"))
    with pytest.raises(BundleNotFound, match="of-the-variable"):
        load()
    with pytest.raises(BundleNotFound, match="of-the-caller"):
        load(tmp_path / "of-the-caller")
    with load("builtin") as builtin:
        name = builtin.name
    for text in ("builtin", str(builtin_folder()), ""):
        monkeypatch.setenv("SEETELL_MODEL", text)
        with load() as model:
            assert model.name == name


def test_variables_say_how_a_model_is_opened_where_the_caller_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SEETELL_PRECISION", "fp32")
    monkeypatch.setenv("SEETELL_BATCH_SIZE", "3")
    with load("builtin") as model:
        assert (model.precision, model.batch_size) == ("fp32", 3)
    with load("builtin", precision="int8", batch_size=5) as model:
        assert (model.precision, model.batch_size) == ("int8", 5)
    for name, value in (("PRECISION", "fp31"), ("DEVICE", "toaster"), ("EXACT_DECODE", "perhaps")):
        with monkeypatch.context() as only, pytest.raises(SeetellError, match=value):
            only.setenv(f"SEETELL_{name}", value)
            load("builtin")


def test_jpegs_are_decoded_in_full_where_the_variable_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    photo = tmp_path / "large.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (1200, 1600, 3), np.uint8)
    Image.fromarray(pixels).save(photo)

    def vector(exact_decode: bool | None) -> list[float]:
        with load("builtin", precision="fp32", exact_decode=exact_decode) as model:
            found: list[float] = model.embed_images(photo)[0].tolist()
            return found

    monkeypatch.setenv("SEETELL_EXACT_DECODE", "1")
    in_full, quick = vector(True), vector(False)
    assert in_full != quick and vector(None) == in_full


def test_what_lies_beside_the_files_changes_answers_and_not_vectors(make_model: MakeModel) -> None:
    plain, prompted = make_model(), make_model(prompts={"classify": {"en": ["a photo of a {}"]}})
    assert plain.identity == prompted.identity
    assert plain.answers_identity != prompted.answers_identity
    assert make_model().answers_identity == plain.answers_identity


def test_a_batch_size_that_cannot_be_meant(make_model: MakeModel) -> None:
    with pytest.raises(UsageError, match="batch_size"):
        make_model(batch_size=0)


def _calls_that_cannot_be_meant() -> list[Any]:
    options = {"beams": 2}
    return [
        pytest.param(lambda m, p: m.ask(p, None), TextError, "question", id="ask None"),
        pytest.param(lambda m, p: m.ask([p], 3), TextError, "question", id="ask a number"),
        pytest.param(lambda m, p: m.ask(p, "what?", top="3"), UsageError, "top", id="top text"),
        pytest.param(lambda m, p: m.ask(p, "what?", top=1.5), UsageError, "top", id="top half"),
        pytest.param(
            lambda m, p: m.ask(p, "what?", min_confidence="x"), UsageError, "min_confidence", id="confidence"
        ),
        pytest.param(lambda m, p: m.captions(p, "2"), UsageError, "count", id="count text"),
        pytest.param(lambda m, p: m.fill(p, "a [MASK]", top=None), UsageError, "top", id="fill top"),
        pytest.param(lambda m, p: m.caption(p, options=options), UsageError, "GenerationOptions", id="dict"),
        pytest.param(lambda m, p: m.match(p, None), UsageError, "text to match", id="match None"),
        pytest.param(lambda m, p: m.classify(p, 3), UsageError, "label", id="classify a number"),
        pytest.param(lambda m, p: m.embed_texts(None), UsageError, "text to embed", id="embed None"),
        pytest.param(lambda m, p: m.stream("caption", str(p)), UsageError, "list", id="stream a path"),
        pytest.param(lambda m, p: m.stream("caption", p), UsageError, "list", id="stream a Path"),
        pytest.param(lambda m, p: m.stream("caption", b"x"), UsageError, "list", id="stream bytes"),
        pytest.param(lambda m, p: m.stream("caption", 3), UsageError, "list", id="stream a number"),
        pytest.param(lambda m, p: list(m.stream("ask", [p])), UsageError, "pairs", id="no pair"),
        pytest.param(
            lambda m, p: list(m.stream("ask", [(p, "a?"), (p, "a?", 1)])), UsageError, "pairs", id="triple"
        ),
    ]


@pytest.mark.parametrize(("call", "kind", "word"), _calls_that_cannot_be_meant())
def test_wrong_types_are_told_in_words(
    model: Model, photos: list[Path], call: Any, kind: type[Exception], word: str
) -> None:
    with pytest.raises(kind, match=word):
        call(model, photos[0])


def test_numbers_of_numpy_and_any_iterable_of_texts_will_do(model: Model, photos: list[Path]) -> None:
    assert len(model.captions(photos[0], np.int64(2))) == 2
    texts = ["a dog", "a bus"]
    np.testing.assert_array_equal(model.embed_texts(text for text in texts), model.embed_texts(texts))


@pytest.mark.parametrize(("threads", "given", "expected"), [(1, None, 4), (1, 16, 16), (2, None, 16)])
def test_on_one_thread_fewer_photos_are_run_together(threads: int, given: int | None, expected: int) -> None:
    with seetell.load(threads=threads, batch_size=given) as model:
        assert model.batch_size == expected


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_one_array_filled_again_is_another_photo(make_model: MakeModel, batch_size: int) -> None:
    """As a video reader gives its frames, ahead of what is read of them."""
    draw = np.random.default_rng(3)
    frames = [draw.integers(0, 256, (24, 24, 3), dtype=np.uint8) for _ in range(3)]
    model = make_model(batch_size=batch_size)
    buffer = np.zeros((24, 24, 3), np.uint8)

    def refilled(question: str = "") -> Iterator[Any]:
        for frame in frames:
            buffer[:] = frame
            yield (buffer, question) if question else buffer

    expected = np.concatenate([model.embed_images(frame) for frame in frames])
    np.testing.assert_allclose(np.stack(list(model.stream("embed_images", refilled()))), expected, atol=1e-6)
    asked = "is there a dog?"
    assert list(model.stream("ask", refilled(asked))) == [model.ask(frame, asked) for frame in frames]


def test_a_file_written_again_is_another_photo(make_model: MakeModel, tmp_path: Path) -> None:
    """As a camera's latest picture is."""
    draw = np.random.default_rng(4)
    latest = tmp_path / "latest.png"
    engine = ToyEngine()
    model = make_model(engine, batch_size=4)
    expected = []

    def taken() -> Iterator[Path]:
        for number in range(4):
            if number != 2:
                picture = Image.fromarray(draw.integers(0, 256, (24, 24, 3), dtype=np.uint8))
                # Not in place: what is read meanwhile is one or the other.
                picture.save(tmp_path / "next.png")
                (tmp_path / "next.png").replace(latest)
            expected.append(make_model().embed_images(latest)[0])
            yield latest
            # Until it has been read.
            time.sleep(0.2)

    found = list(model.stream("embed_images", taken()))
    np.testing.assert_allclose(np.stack(found), np.stack(expected), atol=1e-6)
    assert engine.rows == [("image_encoder", 3)], "what did not change is looked at once"
