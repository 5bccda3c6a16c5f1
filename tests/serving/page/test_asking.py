"""Questions on the page: with answers to choose from, yes or no, and in Chinese."""

from __future__ import annotations

import json

import pytest

from seetell.bundle.tokenizer import Tokenizer
from seetell.serving.model_pool import Source
from seetell.tasks.model import Model
from tests.runtime.toy import make_manifest
from tests.serving.conftest import SlowEngine, jpeg
from tests.serving.page.conftest import Open, Visit, playwright

expect = playwright.expect


def opened(visit: Open, **options: object) -> Visit:
    seen = visit(**options)
    seen.drop(("1.png", jpeg(1)))
    expect(seen.page.locator(".details h2")).to_have_text("1.png")
    return seen


def ask(seen: Visit, question: str, label: str = "Question about this photo") -> None:
    seen.page.get_by_label(label).fill(question)
    seen.page.keyboard.press("Enter")


@pytest.mark.parametrize(
    ("question", "choice", "these", "answers"),
    [
        ("is there a dog?", "Yes or no", None, ["yes", "no"]),
        ("有狗吗？", "Yes or no", None, ["有", "没有"]),
        ("这是狗吗？", "Yes or no", None, ["是", "不是"]),
        ("what is it?", "One of these", " cat, a dog ,, cat，公交车", ["cat", "a dog", "公交车"]),
        ("有几只狗？", "Any answer", None, None),
    ],
)
def test_answers_to_choose_from(
    visit: Open, model: Model, question: str, choice: str, these: str | None, answers: list[str] | None
) -> None:
    seen = opened(visit)
    page = seen.page
    asked: list[dict[str, object]] = []
    page.on("request", lambda one: "/v1/ask" in one.url and asked.append(json.loads(one.post_data)))
    page.get_by_label("Answer", exact=True).select_option(choice)
    if these is not None:
        page.get_by_label("One of these").fill(these)
    ask(seen, question)
    want = model.ask(jpeg(1), question, answers=answers, top=3)
    told = page.locator(".answers li").first
    said = f"Not sure. Perhaps: {want.answer}" if want.abstained else want.answer
    expect(told.locator(".told")).to_have_text(f"{said} {round(100 * want.confidence)}% confident")
    assert asked[0].get("answers") == answers
    if answers is not None:
        expect(told.locator(".asked")).to_have_text(f"{question} ({', '.join(answers)})")


def test_no_answers_to_choose_from_are_asked_for(visit: Open) -> None:
    seen = opened(visit)
    seen.page.get_by_label("Answer", exact=True).select_option("One of these")
    ask(seen, "what is it?")
    expect(seen.page.get_by_text("Write the answers to choose from, with commas between.")).to_be_visible()
    assert not [url for url in seen.requests if "/v1/ask" in url]


def test_a_model_that_was_taught_no_chinese_is_not_asked_in_it(visit: Open, tokenizer: Tokenizer) -> None:
    engine = SlowEngine(tokenizer.vocab_size)
    english = Model(make_manifest(engine, languages=("en",)), tokenizer, engine)
    seen = opened(visit, server={"sources": [Source("toy", 1, lambda: english)]}, locale="zh-CN")
    page = seen.page
    label = "关于这张照片的问题"
    expect(page.get_by_label(label)).to_have_attribute("placeholder", "what is in the picture?")
    ask(seen, "有狗吗？", label)
    expect(page.get_by_text("toy 没有学过中文，请用英文提问。")).to_be_visible()
    assert not [url for url in seen.requests if "/v1/ask" in url]
    ask(seen, "is there a dog?", label)
    expect(page.locator(".answers strong")).to_be_visible()
    expect(page.get_by_text("没有学过中文")).to_have_count(0)


def test_a_model_that_was_taught_chinese_is_asked_in_it(visit: Open, model: Model) -> None:
    seen = opened(visit, locale="zh-CN")
    question = seen.page.get_by_label("关于这张照片的问题")
    expect(question).to_have_attribute("placeholder", "照片里有几个人？")
    ask(seen, "照片里有几个人？", "关于这张照片的问题")
    answer = model.ask(jpeg(1), "照片里有几个人？", top=3).answer
    expect(seen.page.locator(".answers li")).to_contain_text(answer)
