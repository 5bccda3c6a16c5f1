"""What the verbs compute, against the formulas written out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from seetell.bundle.tokenizer import Tokenizer
from seetell.core.errors import UsageError
from seetell.runtime.engine import Arrays
from seetell.tasks.model import Model
from seetell.tasks.question_kinds import is_colour
from tests.runtime.toy import ANSWERS, ToyEngine
from tests.tasks.conftest import MakeModel

# Its wording bounds its answer in no way.
QUESTION = "what is this?"


def softmax(values: Any) -> NDArray[np.float64]:
    values = np.asarray(values, np.float64)
    exponents = np.exp(values - values.max())
    return np.asarray(exponents / exponents.sum())


def fused(model: Model, photo: Path, text: str, output: str) -> NDArray[np.float32]:
    """What the fusion encoder gives for [FUSE] text [EOS], straight from the engine."""
    tokenizer = model._context.tokenizer
    ids, mask = tokenizer.encode([text], lead_id=2)
    tokens = model.features(photo).tokens
    return model.engine.run(
        "fusion_encoder",
        {
            "input_ids": ids,
            "attention_mask": mask,
            "image_tokens": tokens,
            "image_mask": np.ones(tokens.shape[:2], np.bool_),
        },
        [output],
    )[output]


# --- ask -------------------------------------------------------------------------------------------------


def test_an_open_question_is_answered_by_the_head_calibrated(
    make_model: MakeModel, photos: list[Path]
) -> None:
    model = make_model(score={"answer_temperature": 2.5})
    expected = softmax(fused(model, photos[0], QUESTION, "answer_logits")[0] / 2.5)
    answer = model.ask(photos[0], QUESTION, top=3)
    assert answer.answer == ANSWERS[expected.argmax()]
    assert [one.confidence for one in answer.alternatives] == pytest.approx(
        sorted(expected)[::-1][:3], abs=1e-5
    )
    assert answer.confidence == answer.alternatives[0].confidence
    assert len(model.ask(photos[0], QUESTION, top=99).alternatives) == len(ANSWERS)


def test_a_closed_list_is_ranked_by_the_decoder(make_model: MakeModel, photos: list[Path]) -> None:
    """softmax over the list of the probability of writing exactly each answer; the head's temperature
    has no part in it."""
    model = make_model(score={"answer_temperature": 2.5})
    given = ["two men", "a dog", "红"]
    tokens = fused(model, photos[0], QUESTION, "fused_tokens")
    decoder = model._context.decoder
    memory = decoder.memory(tokens)
    log_probs = []
    for answer in given:
        ids = [7, *model._context.tokenizer.encode_words(answer)]
        logits, _ = decoder.run(
            np.array([ids]), np.ones((1, len(ids)), np.bool_), memory, np.ones(tokens.shape[:2], np.bool_)
        )
        rows = [np.log(softmax(row)) for row in logits[0]]
        log_probs.append(sum(row[word] for row, word in zip(rows, [*ids[1:], 3], strict=True)))
    expected = dict(zip(given, softmax(log_probs), strict=True))
    found = model.ask(photos[0], QUESTION, answers=given)
    assert {one.answer: one.confidence for one in found.alternatives} == pytest.approx(expected, abs=1e-5)
    assert found.answer == max(expected, key=lambda one: expected[one])
    assert sum(one.confidence for one in found.alternatives) == pytest.approx(1)


def test_the_order_of_the_list_does_not_matter_and_doubles_count_once(
    model: Model, photos: list[Path]
) -> None:
    one = model.ask(photos[0], QUESTION, answers=["yes", "no", "a dog"])
    other = model.ask(photos[0], QUESTION, answers=["a dog", "no", "yes", "no"])
    assert [a.answer for a in one.alternatives] == [a.answer for a in other.alternatives]
    assert one.confidence == pytest.approx(other.confidence, abs=1e-6)


def test_without_a_decoder_the_head_is_held_to_the_list(make_model: MakeModel, photos: list[Path]) -> None:
    model = make_model(without=("text_decoder",), score={"answer_temperature": 2.0})
    logits = fused(model, photos[0], QUESTION, "answer_logits")[0]
    expected = softmax(logits[[1, 0]] / 2.0)
    found = model.ask(photos[0], QUESTION, answers=["No", "yes"])
    assert {one.answer: one.confidence for one in found.alternatives} == pytest.approx(
        {"No": expected[0], "yes": expected[1]}, abs=1e-5
    )
    with pytest.raises(UsageError, match="lacks: a dog"):
        model.ask(photos[0], QUESTION, answers=["yes", "a dog"])


@pytest.mark.parametrize("top", [1, 4])
def test_without_a_head_the_decoder_writes(make_model: MakeModel, photos: list[Path], top: int) -> None:
    model = make_model(answers=())
    answer = model.ask(photos[0], QUESTION, top=top)
    assert 1 <= len(answer.alternatives) <= top
    confidences = [one.confidence for one in answer.alternatives]
    assert confidences == sorted(confidences, reverse=True)
    assert 0 < sum(confidences) <= 1
    assert len({one.answer for one in answer.alternatives}) == len(answer.alternatives)
    # The probability of being written is what ranking the same text gives before its softmax.
    cooler = make_model(answers=(), score={"answer_temperature": 2.0}).ask(photos[0], QUESTION, top=1)
    hotter = make_model(answers=()).ask(photos[0], QUESTION, top=1)
    assert cooler.confidence == pytest.approx(hotter.confidence**0.5, rel=1e-4)


def test_how_many_alternatives_are_asked_for_changes_none_of_them(
    make_model: MakeModel, photos: list[Path], tokenizer: Tokenizer
) -> None:
    """Written answers are searched for with five beams, however few are asked for."""
    for seed in range(12):
        model = make_model(ToyEngine(tokenizer.vocab_size, seed=seed), answers=())
        five = model.ask(photos[0], QUESTION, top=5)
        for top in (1, 2, 3):
            fewer = model.ask(photos[0], QUESTION, top=top)
            assert fewer.alternatives == five.alternatives[:top]
            assert (fewer.answer, fewer.confidence) == (five.answer, five.confidence)


def test_abstaining(make_model: MakeModel, photos: list[Path]) -> None:
    model = make_model(score={"abstain_below": 0.999999})
    unsure = model.ask(photos[0], QUESTION)
    assert unsure.abstained
    assert unsure.answer in ANSWERS, "the best guess is still given"
    assert not model.ask(photos[0], QUESTION, min_confidence=0.0).abstained
    assert not make_model().ask(photos[0], QUESTION).abstained
    assert make_model().ask(photos[0], QUESTION, min_confidence=1.0).abstained


def test_the_fitted_threshold_is_for_questions_without_given_answers(
    make_model: MakeModel, photos: list[Path]
) -> None:
    """Shared among two answers no confidence is below a half, and among twenty nearly every one is."""
    model = make_model(score={"abstain_below": 0.999999})
    assert not model.ask(photos[0], QUESTION, answers=list(ANSWERS)[:2]).abstained
    assert model.ask(photos[0], QUESTION, answers=list(ANSWERS)[:2], min_confidence=1.0).abstained


# --- what a question's wording bounds --------------------------------------------------------------------


class Decided(ToyEngine):
    """Whose head says the same of every photo and question: ``logits`` of its answers."""

    def __init__(self, vocab_size: int, logits: Sequence[float]) -> None:
        super().__init__(vocab_size)
        self.logits = np.array(logits)

    def _fusion_encoder(self, *inputs: Any, **named: Any) -> Arrays:
        found = super()._fusion_encoder(*inputs, **named)
        return {**found, "answer_logits": np.tile(self.logits, (len(found["answer_logits"]), 1))}


def test_yes_or_no_is_chosen_among_the_two(make_model: MakeModel, photos: list[Path]) -> None:
    model = make_model(score={"answer_temperature": 2.5})
    question = "is there a dog?"
    expected = softmax(fused(model, photos[0], question, "answer_logits")[0, :2] / 2.5)
    found = model.ask(photos[0], question, top=99)
    assert {one.answer: one.confidence for one in found.alternatives} == pytest.approx(
        {"yes": expected[0], "no": expected[1]}, abs=1e-5
    )


@pytest.mark.parametrize("without", [(), ("text_decoder",), ("text_decoder", "text_encoder")])
def test_day_or_night_is_never_3(
    make_model: MakeModel, photos: list[Path], tokenizer: Tokenizer, without: tuple[str, ...]
) -> None:
    """The decoder ranks what is offered, else the list holds it, else photo and texts are compared."""
    lists = [("yes", "no", "3", "day", "night"), ("yes", "no", "3", "red", "blue")]
    for answers in lists if "text_encoder" not in without else lists[:1]:
        for seed in range(8):
            engine = ToyEngine(tokenizer.vocab_size, seed=seed, without=without)
            model = make_model(engine, answers=answers)
            for question in ("is it day or night?", "night or day"):
                found = model.ask(photos[seed], question)
                assert sorted(one.answer for one in found.alternatives) == ["day", "night"]
                assert sum(one.confidence for one in found.alternatives) == pytest.approx(1)


def test_what_a_question_offers_is_ranked_by_the_decoder(make_model: MakeModel, photos: list[Path]) -> None:
    model = make_model(score={"answer_temperature": 3.0})
    for question, offered in (("is it red or blue?", ["red", "blue"]), ("是猫还是狗？", ["猫", "狗"])):
        found = model.ask(photos[0], question)
        given = model.ask(photos[0], question, answers=offered)
        assert [one.answer for one in found.alternatives] == [one.answer for one in given.alternatives]
        assert found.confidence == pytest.approx(given.confidence, abs=1e-6)


def test_without_a_decoder_photo_and_texts_are_compared(make_model: MakeModel, photos: list[Path]) -> None:
    model = make_model(without=("text_decoder",), score={"logit_scale": 2.0})
    found = model.ask(photos[0], "is it a cat or a bus?")
    expected = model.classify(photos[0], ["cat", "bus"])
    assert found.answer == expected.label
    assert found.confidence == pytest.approx(expected.probability, abs=1e-6)


def test_a_bound_that_cannot_be_kept_is_none(make_model: MakeModel, photos: list[Path]) -> None:
    """No decoder, no space, no such answers in the list: any answer of the list."""
    model = make_model(without=("text_decoder", "text_encoder"), answers=("cat", "dog", "bus", "car", "1"))
    for question in (
        "is it day or night?",
        "is there a dog?",
        "how many dogs are there?",
        "what colour is it?",
    ):
        assert len(model.ask(photos[0], question, top=99).alternatives) == 5


def test_a_language_the_decoder_was_not_taught_is_not_ranked(
    make_model: MakeModel, photos: list[Path]
) -> None:
    english = make_model(languages=("en",), answers=())
    written = {one.answer for one in english.ask(photos[0], "有狗吗？").alternatives}
    assert written.isdisjoint({"有", "没有"})
    both = make_model(answers=())
    assert {one.answer for one in both.ask(photos[0], "有狗吗？").alternatives} == {"有", "没有"}


def test_numbers_and_colours_of_the_list(make_model: MakeModel, photos: list[Path]) -> None:
    model = make_model(answers=("1", "2", "red", "black and white", "no"))
    count = model.ask(photos[0], "how many dogs are there?")
    assert {one.answer for one in count.alternatives} == {"1", "2"}
    colour = model.ask(photos[0], "what colour is it?")
    assert {one.answer for one in colour.alternatives} == {"red", "black and white"}


def test_without_a_list_the_decoder_ranks_numbers_and_colours(
    make_model: MakeModel, photos: list[Path]
) -> None:
    model = make_model(answers=())
    assert model.ask(photos[0], "how many dogs are there?").answer.isdecimal()
    assert model.ask(photos[0], "有几只狗？").answer.isdecimal()
    assert is_colour(model.ask(photos[0], "what colour is it?").answer, "en")
    assert is_colour(model.ask(photos[0], "这是什么颜色？").answer, "zh")


def test_the_colour_of_what_is_not_there(
    make_model: MakeModel, photos: list[Path], tokenizer: Tokenizer
) -> None:
    # In the order of ANSWERS: yes, no, red, blue, two.
    sure = [0.0, 3.0, 1.0, 0.0, 9.0]
    no, red = softmax(sure[:2])[1], softmax(sure[2:4])[0]
    model = make_model(Decided(tokenizer.vocab_size, sure))
    found = model.ask(photos[0], "what colour is the car?")
    assert (found.answer, found.abstained) == ("there is no car", False)
    assert {one.answer: one.confidence for one in found.alternatives} == pytest.approx(
        {"there is no car": no, "red": (1 - no) * red, "blue": (1 - no) * (1 - red)}
    )
    # Less sure of that, and asked about anything, it answers what was asked.
    unsure = make_model(Decided(tokenizer.vocab_size, [0.0, 1.0, 1.0, 0.0, 9.0]))
    assert unsure.ask(photos[0], "what colour is the car?").answer == "red"
    assert model.ask(photos[0], "what colour is the shape?").answer == "red"
    assert model.ask(photos[0], "what colour is the car?", answers=["red", "blue"]).answer in ("red", "blue")
    chinese = make_model(
        Decided(tokenizer.vocab_size, sure), answers=("有", "没有", "红色", "蓝色", "2"), languages=("zh",)
    )
    assert chinese.ask(photos[0], "车是什么颜色的？").answer == "没有车"


def test_each_kind_has_its_calibration(
    make_model: MakeModel, photos: list[Path], tokenizer: Tokenizer
) -> None:
    score = {
        "answer_temperature": 1.0,
        "abstain_below": 0.999,
        "answer_kinds": {
            "yes_no": {"temperature": 2.0, "abstain_below": 0.6},
            "given": {"temperature": 4.0, "abstain_below": 0.999},
        },
    }
    logits = [1.0, 0.0, 0.0, 0.0, 0.0]
    model = make_model(Decided(tokenizer.vocab_size, logits), score=score)
    asked = model.ask(photos[0], "is there a dog?")
    assert asked.confidence == pytest.approx(softmax(np.array([1.0, 0.0]) / 2)[0])
    assert not asked.abstained
    other = model.ask(photos[0], QUESTION)
    assert other.confidence == pytest.approx(softmax(logits)[0])
    assert other.abstained
    plain = make_model().ask(photos[0], QUESTION, answers=["yes", "no"])
    given = model.ask(photos[0], QUESTION, answers=["yes", "no"])
    odds = [np.log(one.confidence / (1 - one.confidence)) for one in (given, plain)]
    assert odds[0] == pytest.approx(odds[1] / 4, rel=1e-3)
    assert given.abstained
    assert not model.ask(photos[0], QUESTION, answers=["yes", "no"], min_confidence=0.0).abstained


def test_questions_of_all_kinds_side_by_side(make_model: MakeModel, photos: list[Path]) -> None:
    questions = [
        "is there a dog?",
        QUESTION,
        "is it day or night?",
        "what colour is the bus?",
        "有狗吗？",
    ] * 2
    pairs = list(zip(photos, questions, strict=False))
    ways: list[dict[str, Any]] = [{}, {"answers": ()}, {"without": ("text_decoder",)}]
    for changes in ways:
        model = make_model(**changes)
        for (photo, question), found in zip(pairs, model.stream("ask", pairs), strict=True):
            alone = model.ask(photo, question)
            assert found.answer == alone.answer
            assert found.confidence == pytest.approx(alone.confidence, abs=1e-5)


def test_pairs_of_photo_and_question(model: Model, photos: list[Path]) -> None:
    pairs: list[Any] = [(photos[0], "is it red?"), (photos[1], " "), (photos[0], "two men?")]
    first, blank, last = model.stream("ask", pairs)
    assert first.answer == model.ask(photos[0], "is it red?").answer
    assert blank.error.kind == "text"
    assert blank.photo == str(photos[1])
    assert last.confidence == pytest.approx(model.ask(photos[0], "two men?").confidence, abs=1e-5)


# --- match, classify, embed ------------------------------------------------------------------------------


def test_match_with_a_head(model: Model, photos: list[Path]) -> None:
    texts = [f"a dog number {n}" for n in range(70)]  # more than are run together
    found = model.match(photos[0], texts)
    assert [one.text for one in found] == texts
    for one in (found[0], found[69]):
        expected = softmax(fused(model, photos[0], one.text, "match_logits")[0])[1]
        assert one.probability == pytest.approx(expected, abs=1e-4)
        cosine = model.embed_images(photos[0])[0] @ model.embed_texts(one.text)[0]
        assert one.similarity == pytest.approx(float(cosine), abs=1e-5)


def test_match_of_dual_encoders(make_model: MakeModel, photos: list[Path]) -> None:
    without = ("fusion_encoder",)
    plain = make_model(without=without).match(photos[0], ["a dog"])[0]
    assert plain.probability is None
    assert plain.similarity is not None
    score = {"kind": "sigmoid", "logit_scale": 1.5, "logit_bias": -0.7}
    sigmoid = make_model(without=without, score=score).match(photos[0], ["a dog"])[0]
    expected = 1 / (1 + np.exp(-(np.exp(1.5) * plain.similarity - 0.7)))
    assert sigmoid.probability == pytest.approx(expected, abs=1e-6)
    extreme = make_model(without=without, score={"kind": "sigmoid", "logit_scale": 9.0, "logit_bias": -9e4})
    assert extreme.match(photos[0], ["a dog"])[0].probability == 0.0


def test_one_text_given_as_a_text(model: Model, photos: list[Path]) -> None:
    assert [one.text for one in model.match(photos[0], "a dog")] == ["a dog"]


def test_zero_shot_averages_unit_vectors_of_prompts(make_model: MakeModel, photos: list[Path]) -> None:
    model = make_model(score={"logit_scale": 2.0})
    labels = ["dog", "bus", "man"]
    vectors = []
    for label in labels:
        mean = model.embed_texts([f"a photo of a {label}", label]).mean(axis=0)
        vectors.append(mean / np.linalg.norm(mean))
    image = model.embed_images(photos[0])[0]
    expected = softmax(np.exp(2.0) * (np.array(vectors) @ image))
    found = model.classify(photos[0], labels)
    assert {one.label: one.probability for one in found.ranking} == pytest.approx(
        dict(zip(labels, expected, strict=True)), abs=1e-5
    )
    assert found.label == found.ranking[0].label == labels[expected.argmax()]
    assert found.probability == found.ranking[0].probability


def test_chinese_labels_meet_chinese_prompts(model: Model, photos: list[Path]) -> None:
    labels = ["狗", "猫"]
    assert model.classify(photos[0], labels) == model.classify(photos[0], labels, language="zh")
    assert model.classify(photos[0], labels) != model.classify(photos[0], labels, language="en")


def test_label_vectors_are_made_once(make_model: MakeModel, photos: list[Path], tokenizer: Tokenizer) -> None:
    engine = ToyEngine(tokenizer.vocab_size)
    model = make_model(engine)
    first = model.classify(photos, ["dog", "bus"])
    calls = engine.calls["text_encoder"]
    assert model.classify(photos, ["dog", "bus"]) == first
    assert engine.calls["text_encoder"] == calls
    for number in range(20):
        model.classify(photos[0], [f"label {number}"])
    assert len(model._labels._known) <= 8


def test_own_labels(model: Model, photos: list[Path]) -> None:
    found = model.classify(photos[0])
    assert {one.label for one in found.ranking} == {"cat", "dog", "bus"}
    assert sum(one.probability for one in found.ranking) == pytest.approx(1)


def test_embeddings_are_unit_vectors_in_the_order_given(model: Model, photos: list[Path]) -> None:
    texts = ["a dog", "two men ride bikes in the street", "一个男人", "x"] * 40
    embeds = model.embed_texts(texts)
    assert embeds.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeds, axis=1), 1, atol=1e-5)
    for place in (1, 2, 157):
        np.testing.assert_allclose(embeds[place], model.embed_texts(texts[place])[0], atol=1e-5)
    images = model.embed_images(photos)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-5)


def test_features(model: Model, photos: list[Path]) -> None:
    found = model.features(photos)
    assert found.tokens.shape[0] == len(photos)
    assert found.pooled is not None
    np.testing.assert_allclose(found.pooled, model.embed_images(photos), atol=1e-6)
    assert [stage.shape[1:] for stage in found.stages] == [(3, 2, 2), (3, 1, 1)]
    alone = model.features(photos[3])
    np.testing.assert_allclose(found.tokens[3], alone.tokens[0], atol=1e-6)


def test_filling(model: Model, photos: list[Path]) -> None:
    ways = model.fill(photos[0], "a [MASK] on the [MASK]", top=3)
    assert len(ways) == 3
    assert [one.score for one in ways] == sorted((one.score for one in ways), reverse=True)
    for one in ways:
        assert "[MASK]" not in one.text
        assert one.text.startswith("a")
        assert len(one.words) == 2
    chinese = model.fill(photos[0], "一个[MASK]在草地上", top=3)
    assert [one.words for one in chinese] == [
        one.words for one in model.fill(photos[0], "一个[MASK]在草地上", top=3, language="zh")
    ]
