"""Where models and objectives meet: every loss can be learned, what is missing skipped, padding inert."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from seetell.learning.batch import Batch, Captions, Labels, Names, Questions, Tags
from seetell.learning.objectives.captioning import next_token_labels
from seetell.learning.objectives.contrastive import contrastive_loss
from seetell.learning.objectives.matching import mine_pairs
from seetell.learning.objectives.self_critical import CaptionReward
from seetell.learning.objectives.weighting import FixedWeights
from seetell.learning.training.objective_spec import ObjectiveName, ObjectiveSpec
from seetell.learning.training.step import JointStep, LeadIds
from seetell.modeling.models.config import UnifiedConfig
from seetell.modeling.models.unified import EncodedText, UnifiedModel

STEP = "seetell.learning.training.step"
PAD, CLS, FUSE, EOS, MASK, ANSWER = 0, 1, 2, 3, 4, 7
LEADS = LeadIds(
    fuse=FUSE,
    mask=MASK,
    first_word=10,
    decoder_start={"en": 5, "zh": 6},
    fill_start={"en": 8, "zh": 9},
    end=EOS,
)
ALL: tuple[ObjectiveName, ...] = (
    "contrastive",
    "matching",
    "masked_language",
    "captioning",
    "answer_list",
    "answer_text",
    "answer_tags",
    "labels",
    "label_names",
    "caption_words",
)
VIT = {"kind": "vit", "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
RESNET = {"kind": "resnet", "depths": (1, 1), "channels": (8, 16), "stem_channels": 8}
HYBRID = {**RESNET, "kind": "hybrid", "embed_dim": 16, "depth": 1, "num_heads": 2}


@pytest.fixture(autouse=True)
def _one_thread_and_seed() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def _step(
    names: Sequence[ObjectiveName] = ALL,
    image: dict[str, object] = VIT,
    fusion: str = "cross_attention",
    *,
    learned_weights: bool = False,
    share: float = 1.0,
    reward: CaptionReward | None = None,
) -> JointStep:
    config = UnifiedConfig.model_validate(
        {
            "image": image,
            "text": {"vocab_size": 30, "context_length": 16, "embed_dim": 16, "depth": 1, "num_heads": 2},
            "fusion": {"kind": fusion, "depth": 1, "num_heads": 2},
            "image_size": (24, 24),
            "shared_dim": 16,
            "num_answers": 4,
            "num_labels": 3,
        }
    )
    objectives = [ObjectiveSpec(name=name, share=share) for name in names]
    return JointStep(UnifiedModel(config), objectives, LEADS, learned_weights=learned_weights, reward=reward)


def _rows(lead: int, *texts: Sequence[int]) -> tuple[Tensor, Tensor]:
    width = max(map(len, texts)) + 2
    rows = [[lead, *text, EOS] + [PAD] * (width - len(text) - 2) for text in texts]
    ids = torch.tensor(rows)
    return ids, ids != PAD


def _captions() -> Captions:
    ids, mask = _rows(CLS, (10, 11, 12), (13, 14), (15, 11, 16), (17,), (18, 19, 20, 21), (22, 23))
    index = torch.tensor([0, 1, 2, 3, 0, 2])
    return Captions(ids, mask, index, ("en", "en", "en", "en", "zh", "zh"))


def _questions() -> Questions:
    ids, mask = _rows(CLS, (24, 25), (24, 26, 27), (28,))
    answer_ids, answer_mask = _rows(ANSWER, (10,), (13, 14), (12,))
    return Questions(ids, mask, torch.tensor([0, 1, 3]), answer_ids, answer_mask, torch.tensor([2, -100, 0]))


def _names() -> tuple[Names, ...]:
    """Two sources: of three labels and of two."""
    ids, mask = _rows(CLS, (10, 20), (10, 21, 22), (10, 23))
    two_ids, two_mask = _rows(CLS, (24,), (25, 26))
    return (
        Names(torch.tensor([1, 2]), torch.tensor([2, 0]), ids, mask),
        Names(torch.tensor([3]), torch.tensor([1]), two_ids, two_mask),
    )


def _batch() -> Batch:
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randn(4, 3, 24, 24, generator=generator)
    labels = Labels(torch.tensor([1, 2, 3]), torch.tensor([0, 2, 1]))
    target = torch.tensor([[0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    tags = Tags(torch.tensor([0, 3]), target)
    return Batch(("a", "b", "c", "d"), pixels, _captions(), _questions(), labels, tags, _names())


def _overfit(step: JointStep, batch: Batch, steps: int) -> tuple[dict[str, float], dict[str, float]]:
    optimizer = torch.optim.AdamW(step.parameters(), lr=5e-3, weight_decay=0.0)
    step.train()
    history: list[dict[str, float]] = []
    for _ in range(steps):
        losses = step(batch)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        history.append({name: float(loss.detach()) for name, loss in losses.items()})
    # Matching and masked language draw anew at each step; the mean of a few says where they are.
    return history[0], {name: sum(one[name] for one in history[-5:]) / 5 for name in history[0]}


@pytest.mark.parametrize("name", ALL)
def test_each_objective_alone_can_be_overfitted(name: ObjectiveName) -> None:
    first, last = _overfit(_step([name]), _batch(), 50)
    assert set(first) == {"loss", name}
    assert last[name] < 0.5 * first[name]


def test_language_weights_make_a_weighted_mean_of_the_languages() -> None:
    batch = _batch()

    def loss(**weights: float) -> float:
        torch.manual_seed(0)
        step = _step(["contrastive"]).eval()
        spec = ObjectiveSpec(name="contrastive", language_weights=weights)
        step.objectives = {"contrastive": spec}
        return float(step(batch)["contrastive"])

    even, tiny = loss(), 1e-9
    english, chinese = loss(zh=tiny), loss(en=tiny)
    assert english != pytest.approx(chinese, abs=1e-3)
    assert even == pytest.approx((english + chinese) / 2, abs=1e-5)
    assert loss(en=1.0, zh=3.0) == pytest.approx((english + 3 * chinese) / 4, abs=1e-5)


def test_texts_encoded_in_parts_by_length_are_the_texts_encoded_together() -> None:
    step = _step(["contrastive"]).eval()
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(1, 14, (23,), generator=generator).tolist()
    texts = [torch.randint(10, 30, (length,), generator=generator).tolist() for length in lengths]
    ids, mask = _rows(CLS, *texts)
    together = step.model.encode_text(ids, mask).embeds
    torch.testing.assert_close(step._text_embeds(ids, mask), together, atol=1e-6, rtol=0)
    for few in (1, 2, 5):
        one = step._text_embeds(ids[:few], mask[:few])
        torch.testing.assert_close(one, together[:few], atol=1e-6, rtol=0)


def _reward(**captions: dict[str, list[str]]) -> CaptionReward:
    """Word 12 is called l12; Chinese ones are single characters."""
    return CaptionReward(captions, lambda ids: " ".join(f"l{one}" for one in ids))


PEOPLE = {"a": ["l10 l11 l12"], "b": ["l13 l14"], "c": ["l15 l11 l16"], "d": ["l17"]}


def test_drawn_captions_come_to_be_what_people_say() -> None:
    reward = _reward(en=PEOPLE)
    step = _step(["self_critical"], reward=reward)
    batch = dataclasses.replace(_batch(), questions=None, labels=None, tags=None, names=())

    def mean_reward() -> float:
        image = step.model.encode_image(batch.pixel_values)
        rows = torch.arange(4).repeat_interleave(20)
        memory = [(keys[rows], values[rows]) for keys, values in step.model.memory(image.tokens)]
        ids, mask = step._drawn(torch.full((80,), 5), memory, image.mask[rows])
        said = [
            [word for word in row[kept].tolist() if word >= 10] for row, kept in zip(ids, mask, strict=True)
        ]
        return sum(reward("abcd"[place // 20], "en", one) for place, one in enumerate(said)) / 80

    before = mean_reward()
    first, _ = _overfit(step, batch, 80)
    assert set(first) == {"loss", "self_critical"}
    assert mean_reward() > 2 * before > 0


@pytest.mark.parametrize("fusion", ["cross_attention", "gated"])
def test_words_are_drawn_from_what_the_decoder_says_of_the_whole_prefix(
    fusion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = _step(["self_critical"], fusion=fusion, reward=_reward(en=PEOPLE)).eval()
    with torch.no_grad():
        # Spread, so that captions end at different lengths.
        step.model.token_bias.copy_(torch.randn(30))
    banned_seen: list[list[int]] = []

    def best(logits: Tensor, banned: Tensor) -> Tensor:
        banned_seen.append(banned.tolist())
        return logits.index_fill(1, banned, -torch.inf).argmax(dim=1)

    monkeypatch.setattr(f"{STEP}.drawn", best)
    image = step.model.encode_image(_batch().pixel_values)
    memory = step.model.memory(image.tokens)
    ids, mask = step._drawn(torch.tensor([5, 6, 5, 5]), memory, image.mask)
    assert sorted(banned_seen[0]) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    logits = step.model.token_logits(step.model.decode(ids, mask, memory, image.mask)[0])
    logits[:, :, [token for token in range(10) if token != EOS]] = -torch.inf
    for row in range(4):
        length = int(mask[row].sum())
        assert logits[row, : length - 1].argmax(dim=1).tolist() == ids[row, 1:length].tolist()
        assert mask[row, :length].all()
        assert ids[row, length - 1] == EOS or length == ids.shape[1]


def test_photos_that_nobody_captioned_are_not_judged() -> None:
    batch = dataclasses.replace(_batch(), questions=None, labels=None, tags=None, names=())
    step = _step(["captioning", "self_critical"], reward=_reward(en={"z": ["l10"]}, zh={"z": ["l10"]}))
    assert set(step(batch)) == {"loss", "captioning"}
    step = _step(["captioning", "self_critical"], reward=_reward(en={"b": PEOPLE["b"]}))
    assert set(step(batch)) == {"loss", "captioning", "self_critical"}


def test_tags_are_predicted_from_the_photo_alone_by_a_head_no_bundle_has() -> None:
    step = _step(["answer_tags"])
    batch = dataclasses.replace(_batch(), captions=None, questions=None, labels=None)
    assert set(step(batch)) == {"loss", "answer_tags"}
    assert step.tag_head is not None
    assert not any("tag_head" in name for name in step.model.state_dict())
    image = step.model.encode_image(batch.pixel_values)
    logits = step.tag_head(image.pooled[[0, 3]]).log_softmax(dim=1)
    assert batch.tags is not None
    by_hand = -(batch.tags.target * logits).sum(dim=1).mean()
    assert step(batch)["loss"].item() == pytest.approx(by_hand.item(), abs=1e-5)


def test_a_label_is_told_from_the_names_of_its_own_source() -> None:
    step = _step(["label_names"]).eval()
    image = step.model.encode_image(_batch().pixel_values)
    by_hand = []
    for names in _names():
        # One name at a time, without padding.
        embeds = torch.cat(
            [
                step.model.encode_text(ids[mask][None], mask[mask][None]).embeds
                for ids, mask in zip(names.ids, names.attention_mask, strict=True)
            ]
        )
        logits = step.model.logit_scale.exp() * image.embeds[names.image_index] @ embeds.T
        by_hand += (-logits.log_softmax(dim=1)).gather(1, names.target[:, None]).flatten().tolist()
    found = step(_batch())
    assert set(found) == {"loss", "label_names"}
    assert found["loss"].item() == pytest.approx(sum(by_hand) / 3, abs=1e-5)


def test_the_words_of_captions_are_predicted_from_the_photo_alone() -> None:
    step = _step(["caption_words"])
    batch = dataclasses.replace(_batch(), questions=None, labels=None, tags=None, names=())
    before = step.eval()(batch)["loss"].item()
    # No photo has been seen: no word weighs anything yet.
    assert before == 0.0
    step.train()(batch)
    assert step.words_head is not None
    assert int(step.words_head.photos_seen) == 4
    counted = step.words_head.photos_with_word
    assert counted[11].item() == 2 and counted[17].item() == 1
    assert counted[: LEADS.first_word].sum() == 0 and counted.sum() == 15
    assert not any("words_head" in name for name in step.model.state_dict())
    step.eval()
    loss = step(batch)["loss"]
    image = step.model.encode_image(batch.pixel_values)
    scores = step.words_head.transform(image.pooled) @ step.model.text_embedding.tokens.weight.T
    log_p = (scores + step.words_head.bias).log_softmax(dim=1)
    said = [(10, 11, 12, 18, 19, 20, 21), (13, 14), (15, 11, 16, 22, 23), (17,)]
    weight = {word: math.log(4 / (1 + (2 if word == 11 else 1))) for words in said for word in words}
    rows = [
        -sum(weight[word] * log_p[place, word].item() for word in words) / sum(weight[w] for w in words)
        for place, words in enumerate(said)
    ]
    assert loss.item() == pytest.approx(sum(rows) / 4, abs=1e-5)


def test_texts_of_one_language_teach_those_of_another() -> None:
    step = _step(["contrastive"])
    step.objectives = {"contrastive": ObjectiveSpec(name="contrastive", cross_lingual=1.0)}
    step.eval()
    captions = _captions()
    text = step.model.encode_text(captions.ids, captions.attention_mask)
    with_it = float(step(_batch())["contrastive"].detach())
    step.objectives = {"contrastive": ObjectiveSpec(name="contrastive")}
    without = float(step(_batch())["contrastive"].detach())
    # By hand: rows 0..3 are the English texts of photos 0..3, rows 4 and 5 Chinese texts of photos 0 and 2.
    logits = step.model.logit_scale.exp() * text.embeds[:4] @ text.embeds[4:].T
    by_text = logits.log_softmax(dim=0)[[0, 2], [0, 1]].mean()
    by_mean = logits.log_softmax(dim=1)[[0, 2], [0, 1]].mean()
    assert with_it - without == pytest.approx(float(-(by_text + by_mean).detach() / 2), abs=1e-5)


def test_a_photo_without_a_text_in_the_first_language_takes_no_part_between_languages() -> None:
    step = _step(["contrastive"]).eval()
    step.objectives = {"contrastive": ObjectiveSpec(name="contrastive", cross_lingual=1.0)}
    chinese = dataclasses.replace(_captions(), languages=("en", "en", "zh", "zh", "zh", "zh"))
    batch = dataclasses.replace(_batch(), captions=chinese)
    loss = step(batch)["loss"]
    assert bool(torch.isfinite(loss))
    alone = dataclasses.replace(batch, captions=dataclasses.replace(chinese, languages=("zh",) * 6))
    assert bool(torch.isfinite(step(alone)["loss"]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "matching", "cross_lingual": 0.5},
        {"name": "captioning", "language_weights": {"zh": 2.0}},
        {"name": "contrastive", "random_negatives": 0.5},
        {"name": "contrastive", "language_weights": {"zh": 0.0}},
        {"name": "matching", "random_negatives": 1.5},
    ],
)
def test_an_option_of_another_objective_or_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ObjectiveSpec.model_validate(wrong)


def test_all_objectives_together_can_be_overfitted_with_learned_weights() -> None:
    step = _step(learned_weights=True)
    first, last = _overfit(step, _batch(), 80)
    assert set(first) == {"loss", *ALL}
    assert {name for name in ALL if last[name] >= 0.7 * first[name]} == set()
    assert all(float(s.detach()) != 0 for s in step.weighting.parameters())


@pytest.mark.parametrize("fusion", ["cross_attention", "co_attention", "gated", "projection"])
@pytest.mark.parametrize("image", [VIT, RESNET, HYBRID], ids=lambda image: str(image["kind"]))
def test_every_fusion_and_encoder_learns_every_objective(image: dict[str, object], fusion: str) -> None:
    step = _step(image=image, fusion=fusion)
    losses = step(_batch())
    assert set(losses) == {"loss", *ALL}
    assert all(loss.isfinite() and loss.ndim == 0 for loss in losses.values())
    losses["loss"].backward()
    idle = [name for name, parameter in step.named_parameters() if parameter.grad is None]
    assert idle == []
    broken = [n for n, p in step.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    assert broken == []


def test_loss_is_the_weighted_sum_and_its_parts_carry_no_graph() -> None:
    step = _step(["captioning", "labels"])
    step.weighting = FixedWeights({"captioning": 2.0, "labels": 0.5})
    losses = step(_batch())
    torch.testing.assert_close(losses["loss"], 2 * losses["captioning"] + 0.5 * losses["labels"])
    assert losses["loss"].requires_grad
    assert not losses["captioning"].requires_grad


@pytest.mark.parametrize(
    ("missing", "left"),
    [
        ("captions", {"answer_list", "answer_text", "answer_tags", "labels", "label_names"}),
        ("questions", set(ALL) - {"answer_list", "answer_text"}),
        ("tags", set(ALL) - {"answer_tags"}),
        ("labels", set(ALL) - {"labels"}),
        ("names", set(ALL) - {"label_names"}),
    ],
)
@pytest.mark.parametrize("learned_weights", [False, True])
def test_what_a_batch_lacks_is_skipped(missing: str, left: set[str], learned_weights: bool) -> None:
    parts: dict[str, Any] = {missing: () if missing == "names" else None}
    batch = dataclasses.replace(_batch(), **parts)
    losses = _step(learned_weights=learned_weights)(batch)
    assert set(losses) == {"loss", *left}
    losses["loss"].backward()


def test_data_no_objective_asks_for_is_not_read() -> None:
    assert set(_step(["labels"])(_batch())) == {"loss", "labels"}


def test_a_batch_for_none_of_the_objectives_is_refused() -> None:
    batch = dataclasses.replace(_batch(), captions=None)
    with pytest.raises(ValueError, match="none of the objectives"):
        _step(["captioning"])(batch)


def test_no_answer_of_the_batch_in_the_list_costs_nothing() -> None:
    batch = _batch()
    assert batch.questions is not None
    outside = dataclasses.replace(batch.questions, answer_index=torch.full((3,), -100))
    losses = _step(["answer_list"])(dataclasses.replace(batch, questions=outside))
    assert float(losses["answer_list"]) == 0
    losses["loss"].backward()


def test_empty_captions_cost_nothing_where_nothing_can_be_hidden() -> None:
    ids, mask = _rows(CLS, (), ())
    captions = Captions(ids, mask, torch.tensor([0, 1]), ("en", "en"))
    losses = _step(["masked_language"])(dataclasses.replace(_batch(), captions=captions))
    assert float(losses["masked_language"]) == 0
    losses["loss"].backward()


def test_one_photo_alone_still_learns_to_match() -> None:
    ids, mask = _rows(CLS, (10, 11), (12,))
    captions = Captions(ids, mask, torch.tensor([2, 2]), ("en", "zh"))
    losses = _step(["contrastive", "matching"])(dataclasses.replace(_batch(), captions=captions))
    assert losses["loss"].isfinite()
    assert float(losses["contrastive"]) == pytest.approx(0)


def _pad(ids: Tensor, fill: int) -> Tensor:
    return torch.cat([ids, torch.full((ids.shape[0], 3), fill, dtype=ids.dtype)], dim=1)


@pytest.mark.parametrize("fusion", ["cross_attention", "co_attention", "gated", "projection"])
@pytest.mark.parametrize("filler", [PAD, 14])
def test_no_loss_depends_on_right_padding(fusion: str, filler: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # The draw of words to hide has one number per place, padding too: hide them all instead.
    def hide_all(ids: Tensor, mask: Tensor, mask_id: int, first_word: int) -> tuple[Tensor, Tensor]:
        words = mask & (ids >= first_word)
        return ids.masked_fill(words, mask_id), ids.masked_fill(~words, -100)

    monkeypatch.setattr(f"{STEP}.mask_words", hide_all)
    batch = _batch()
    captions, questions = batch.captions, batch.questions
    assert captions is not None
    assert questions is not None
    longer = dataclasses.replace(
        batch,
        captions=dataclasses.replace(
            captions, ids=_pad(captions.ids, filler), attention_mask=_pad(captions.attention_mask, 0)
        ),
        questions=dataclasses.replace(
            questions,
            ids=_pad(questions.ids, filler),
            attention_mask=_pad(questions.attention_mask, 0),
            answer_ids=_pad(questions.answer_ids, filler),
            answer_mask=_pad(questions.answer_mask, 0),
        ),
    )
    step = _step(fusion=fusion).eval()
    found: list[dict[str, Tensor]] = []
    for one in (batch, longer):
        torch.manual_seed(5)
        found.append(step(one))
    for name, loss in found[0].items():
        torch.testing.assert_close(found[1][name], loss, atol=1e-5, rtol=1e-5, msg=name)


def test_the_batch_is_left_as_it_came() -> None:
    batch = _batch()
    assert batch.captions is not None
    assert batch.questions is not None
    before = [batch.captions.ids.clone(), batch.questions.ids.clone(), batch.questions.answer_ids.clone()]
    _step()(batch)
    assert torch.equal(batch.captions.ids, before[0])
    assert torch.equal(batch.questions.ids, before[1])
    assert torch.equal(batch.questions.answer_ids, before[2])


def test_each_use_of_a_text_has_the_lead_a_bundle_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the heads are trained on must be what the graphs are asked: see bundle/manifest.py's TextSpec."""
    encoded: list[set[int]] = []
    decoded: list[set[int]] = []
    encode, decode = UnifiedModel.encode_text, UnifiedModel.decode

    def watch_encode(self: UnifiedModel, input_ids: Tensor, attention_mask: Tensor) -> EncodedText:
        encoded.append(set(input_ids[:, 0].tolist()))
        return encode(self, input_ids, attention_mask)

    def watch_decode(self: UnifiedModel, input_ids: Tensor, *rest: Tensor) -> object:
        decoded.append(set(input_ids[:, 0].tolist()))
        return decode(self, input_ids, *rest)  # type: ignore[arg-type]  # passed through as it came

    monkeypatch.setattr(UnifiedModel, "encode_text", watch_encode)
    monkeypatch.setattr(UnifiedModel, "decode", watch_decode)

    def seen(name: ObjectiveName) -> tuple[list[set[int]], list[set[int]]]:
        encoded.clear()
        decoded.clear()
        _step([name])(_batch())
        return list(encoded), list(decoded)

    texts, decoded_texts = seen("contrastive")
    assert set.union(*texts) == {CLS} and not decoded_texts
    # Similarities to mine from, then each language's pairs as the fusion encoder is given them.
    texts, decoded_texts = seen("matching")
    assert set.union(*texts[:-2]) == {CLS} and texts[-2:] == [{FUSE}, {FUSE}] and not decoded_texts
    assert seen("masked_language") == ([{8, 9}], [])
    assert seen("captioning") == ([], [{5, 6}])
    assert seen("answer_list") == ([{FUSE}], [])
    assert seen("answer_text") == ([{FUSE}], [{ANSWER}])


def test_languages_are_not_each_others_negatives(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def watch(logits: Tensor, *more: Any) -> Tensor:
        sizes.append(logits.shape[1])
        return contrastive_loss(logits, *more)

    monkeypatch.setattr(f"{STEP}.contrastive_loss", watch)
    _step(["contrastive"])(_batch())
    assert sizes == [4, 2]


def test_a_share_uses_fewer_rows_and_another_draw_other_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[list[list[int]]] = []

    def watch(ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        used.append(ids.tolist())
        return next_token_labels(ids, attention_mask)

    monkeypatch.setattr(f"{STEP}.next_token_labels", watch)
    step = _step(["captioning"], share=0.5)
    for _ in range(6):
        step(_batch())
    assert {len(rows) for rows in used} == {3}
    assert len({str(rows) for rows in used}) > 1


def test_the_same_seed_gives_the_same_losses() -> None:
    found = []
    for _ in range(2):
        torch.manual_seed(9)
        found.append(_step()(_batch()))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_bf16_autocast_stays_close() -> None:
    step = _step(["contrastive", "captioning", "answer_list", "labels"])
    exact = step(_batch())
    with torch.autocast("cpu", torch.bfloat16):
        near = step(_batch())
    near["loss"].backward()
    for name, loss in exact.items():
        torch.testing.assert_close(near[name], loss, atol=0.1, rtol=0.05, msg=name)


def test_training_keeps_the_scale_within_its_limit() -> None:
    step = _step(["contrastive"])
    with torch.no_grad():
        step.model.logit_scale.fill_(8.0)
    step.train()(_batch())["loss"].backward()
    assert float(step.model.logit_scale.detach().exp()) == pytest.approx(100)
    assert step.model.logit_scale.grad is not None
    assert step.model.logit_scale.grad != 0


@pytest.mark.parametrize("fusion", ["cross_attention", "gated"])
def test_photos_without_captions_change_no_caption_loss(fusion: str) -> None:
    """Photos of other sources travel in the same batch; indices must not slip past them."""
    names: list[ObjectiveName] = ["contrastive", "matching", "masked_language", "captioning"]
    batch = _batch()
    assert batch.captions is not None
    apart = torch.tensor([1, 2, 4, 6])  # where the four photos stand among seven
    pixels = torch.randn(7, 3, 24, 24)
    pixels[apart] = batch.pixel_values
    captions = dataclasses.replace(batch.captions, image_index=apart[batch.captions.image_index])
    mixed = Batch(tuple("abcdefg"), pixels, captions)
    step = _step(names, fusion=fusion).eval()
    found = []
    for one in (batch, mixed):
        torch.manual_seed(5)
        found.append(step(one))
    for name in names:
        torch.testing.assert_close(found[1][name], found[0][name], atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("objective", ["contrastive", "matching"])
def test_a_copy_in_a_step_changes_nothing_of_what_is_told_apart(
    objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two photos of one name, with texts that are alike or not, are never each other's negatives."""
    batch = _batch()
    assert batch.captions is not None
    copied = dataclasses.replace(batch, keys=("one",) * len(batch.keys))
    given: list[Tensor | None] = []

    def watch(logits: Tensor, image_index: Tensor, *more: Any, **named: Any) -> Any:
        given.append(named.get("left_out", more[-1] if more else None))
        return real(logits, image_index, *more, **named)

    name = "contrastive_loss" if objective == "contrastive" else "mine_pairs"
    real = {"contrastive_loss": contrastive_loss, "mine_pairs": mine_pairs}[name]
    monkeypatch.setattr(f"{STEP}.{name}", watch)
    _step([objective])(batch)
    assert given and all(one is None for one in given)
    given.clear()
    _step([objective])(copied)
    for one in given:
        assert one is not None
        # All but each text's own photo.
        assert one.sum(dim=0).tolist() == [one.shape[0] - 1] * one.shape[1]
