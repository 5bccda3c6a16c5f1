"""The losses, each against a reference or a loop that spells out its formula."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from transformers.models.clip.modeling_clip import image_text_contrastive_loss

from seetell.learning.objectives.captioning import captioning_loss, next_token_labels
from seetell.learning.objectives.classification import classification_loss
from seetell.learning.objectives.contrastive import (
    MAX_LOGIT_SCALE,
    also_fitting,
    contrastive_logits,
    contrastive_loss,
    limit_logit_scale,
    sigmoid_contrastive_loss,
)
from seetell.learning.objectives.masked_language import mask_words, masked_language_loss
from seetell.learning.objectives.matching import matching_loss, mine_pairs
from seetell.learning.objectives.self_critical import (
    CaptionReward,
    advantages,
    drawn,
    self_critical_loss,
)
from seetell.learning.objectives.weighting import FixedWeights, LearnedWeights


@pytest.fixture(autouse=True)
def _one_thread_and_seed() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


# Contrastive ----------------------------------------------------------------------------------


def test_one_text_per_photo_equals_clip() -> None:
    logits = (3 * torch.randn(6, 6)).requires_grad_()
    ours = contrastive_loss(logits, torch.arange(6))
    theirs = image_text_contrastive_loss(logits.T)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)))


def test_the_order_of_the_texts_does_not_matter() -> None:
    logits, order = torch.randn(5, 5), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(
        contrastive_loss(logits[:, order], order), contrastive_loss(logits, torch.arange(5))
    )


def test_several_texts_of_one_photo_are_all_positives() -> None:
    logits = torch.randn(3, 5)
    owner = torch.tensor([0, 2, 0, 0, 2])  # photo 1 has no text
    by_text = [-logits[owner[text], text] + logits[:, text].logsumexp(0) for text in range(5)]
    by_photo = []
    for photo in (0, 2):
        texts = [text for text in range(5) if owner[text] == photo]
        log_prob = logits[photo].log_softmax(0)
        by_photo.append(-sum((log_prob[text] for text in texts), torch.zeros(())) / len(texts))
    expected = (torch.stack(by_text).mean() + torch.stack(by_photo).mean()) / 2
    torch.testing.assert_close(contrastive_loss(logits, owner), expected)


@given(st.floats(0.01, 0.5), st.integers(2, 5))
def test_smoothing_equals_torchs_in_both_directions(smoothing: float, size: int) -> None:
    logits, target = torch.randn(size, size), torch.arange(size)
    expected = (
        F.cross_entropy(logits, target, label_smoothing=smoothing)
        + F.cross_entropy(logits.T, target, label_smoothing=smoothing)
    ) / 2
    torch.testing.assert_close(contrastive_loss(logits, target, smoothing), expected)


def test_copies_and_equal_texts_are_no_mismatches() -> None:
    # Photos 0 and 2 are one photo; photos 1 and 3 have the same text.
    owner = torch.tensor([0, 1, 2, 3])
    found = also_fitting(owner, torch.tensor([7, 8, 7, 9]), torch.tensor([1, 2, 3, 2]))
    assert found is not None
    assert found.nonzero().tolist() == [[0, 2], [1, 3], [2, 0], [3, 1]]
    # A text that fits a photo fits its copies too.
    found = also_fitting(owner, torch.tensor([7, 8, 7, 9]), torch.tensor([1, 2, 2, 4]))
    assert found is not None
    assert found.nonzero().tolist() == [[0, 1], [0, 2], [1, 2], [2, 0], [2, 1]]
    assert also_fitting(owner, owner, owner) is None


@given(st.floats(0.0, 0.4), st.integers(0, 9))
def test_what_is_left_out_is_as_if_it_were_not_there(smoothing: float, seed: int) -> None:
    torch.manual_seed(seed)
    logits = torch.randn(3, 3)
    # The third photo is a copy of the first: each text of either is told from the second alone.
    left_out = torch.tensor([[False, False, True], [False, False, False], [True, False, False]])
    parts = []
    for wanted, others in ((0, [0, 1]), (1, [0, 1, 2]), (2, [1, 2])):
        target = torch.tensor([others.index(wanted)])
        for row in (logits[wanted, others], logits[others, wanted]):
            parts.append(F.cross_entropy(row[None], target, label_smoothing=smoothing))
    found = contrastive_loss(logits, torch.arange(3), smoothing, left_out)
    torch.testing.assert_close(found, torch.stack(parts).mean())
    of_each = -F.logsigmoid(logits * (2 * torch.eye(3) - 1))
    expected = of_each[~left_out].sum() / 3
    torch.testing.assert_close(sigmoid_contrastive_loss(logits, torch.arange(3), left_out), expected)


def test_copies_are_no_hard_negatives() -> None:
    # Photos 0 and 1 are one photo, and as alike as can be; photo 2 is another.
    logits = torch.tensor([[9.0, 9.0, 0.0], [9.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
    left_out = also_fitting(torch.arange(3), torch.tensor([5, 5, 6]), torch.arange(3))
    for _ in range(20):
        pairs = mine_pairs(logits, torch.arange(3), torch.tensor([0, 1]), left_out=left_out)
        assert pairs.image_index[2:4].tolist() == [2, 2]
        assert pairs.text_index[4:6].tolist() == [2, 2]


def test_contrastive_is_low_when_right_and_high_when_wrong() -> None:
    logits = 50 * torch.eye(4)
    assert contrastive_loss(logits, torch.arange(4)) < 1e-6
    assert contrastive_loss(logits, torch.arange(4).roll(1)) > 40
    uniform = contrastive_loss(torch.zeros(4, 4), torch.arange(4))
    assert float(uniform) == pytest.approx(math.log(4))


def test_the_scale_is_stored_as_a_log_and_has_a_gradient() -> None:
    image, text = (F.normalize(torch.randn(3, 4), dim=-1) for _ in range(2))
    log_scale = torch.tensor(math.log(20.0), requires_grad=True)
    logits = contrastive_logits(image, text, log_scale)
    torch.testing.assert_close(logits, 20 * image @ text.T)
    contrastive_loss(logits, torch.arange(3)).backward()
    assert log_scale.grad is not None
    assert log_scale.grad != 0


def test_a_scale_beyond_the_limit_is_brought_back_and_can_still_learn() -> None:
    scale = torch.nn.Parameter(torch.tensor(9.0))
    limit_logit_scale(scale)
    assert float(scale.detach().exp()) == pytest.approx(MAX_LOGIT_SCALE)
    # Wrong pairs ask for a lower scale, and the gradient must say so right at the limit.
    image = F.normalize(torch.randn(3, 4), dim=-1)
    contrastive_loss(contrastive_logits(image, image.roll(1, 0), scale), torch.arange(3)).backward()
    assert scale.grad is not None
    assert scale.grad > 0
    low = torch.nn.Parameter(torch.tensor(1.5))
    limit_logit_scale(low)
    assert float(low.detach()) == 1.5


# Matching -------------------------------------------------------------------------------------


@st.composite
def _owned_texts(draw: st.DrawFn) -> tuple[int, list[int], list[int], float, int]:
    photos = draw(st.integers(1, 5))
    owner = draw(st.lists(st.integers(0, photos - 1), min_size=1, max_size=8))
    rows = draw(st.lists(st.integers(0, len(owner) - 1), min_size=1, max_size=6, unique=True))
    scale = draw(st.sampled_from([0.1, 10.0, 1000.0]))
    return photos, owner, rows, scale, draw(st.integers(0, 2**31))


@given(_owned_texts(), st.sampled_from([0.0, 0.5, 1.0]))
def test_a_mined_negative_is_never_a_true_match(
    case: tuple[int, list[int], list[int], float, int], random_share: float
) -> None:
    photos, owner, rows, scale, seed = case
    generator = torch.Generator().manual_seed(seed)
    # Scales far beyond the limit too: all but one weight underflow to 0, and none may be a match.
    logits = scale * torch.randn(photos, len(owner), generator=generator)
    logits[torch.tensor(owner), torch.arange(len(owner))] += scale  # matches are the likeliest
    pairs = mine_pairs(logits, torch.tensor(owner), torch.tensor(rows), generator, random_share=random_share)
    true = torch.tensor(owner)[pairs.text_index] == pairs.image_index
    assert torch.equal(true.long(), pairs.label)
    count = len(rows)
    assert pairs.text_index.numel() in (count, 3 * count)
    assert pairs.text_index[:count].tolist() == rows
    assert bool(pairs.label[:count].all())
    if pairs.label.numel() > count:
        # One wrong photo for each text, one wrong text for each photo.
        assert pairs.text_index[count : 2 * count].tolist() == rows
        assert pairs.image_index[2 * count :].tolist() == [owner[row] for row in rows]


def test_the_hardest_negatives_come_up_most() -> None:
    logits = torch.tensor([[9.0, 0.0, 0.0], [3.0, 9.0, 0.0], [0.0, 3.0, 9.0]])
    owner = torch.arange(3)
    images, texts = torch.zeros(3), torch.zeros(3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(1000):
        pairs = mine_pairs(logits, owner, torch.tensor([0]), generator)
        images[pairs.image_index[1]] += 1
        texts[pairs.text_index[2]] += 1
    # For text 0 the wrong photos score 3 and 0: drawn e^3 : 1. For photo 0 the wrong texts tie.
    assert images[0] == texts[0] == 0
    assert images[1] / 1000 == pytest.approx(math.e**3 / (1 + math.e**3), abs=0.03)
    assert texts[1] / 1000 == pytest.approx(0.5, abs=0.06)


def test_random_negatives_come_up_evenly_whatever_their_similarity() -> None:
    logits = torch.tensor([[9.0, 50.0, 0.0, -50.0], [50.0, 9.0, 0.0, 0.0], [0.0] * 4, [-50.0] * 4])
    images, texts = torch.zeros(4), torch.zeros(4)
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        pairs = mine_pairs(logits, torch.arange(4), torch.tensor([0]), generator, random_share=1.0)
        images[pairs.image_index[1]] += 1
        texts[pairs.text_index[2]] += 1
    for counts in (images, texts):
        assert counts[0] == 0
        assert counts[1:].tolist() == pytest.approx([100, 100, 100], abs=30)


def test_one_photo_alone_has_matches_only() -> None:
    pairs = mine_pairs(torch.randn(1, 3), torch.zeros(3, dtype=torch.long), torch.tensor([0, 2]))
    assert pairs.text_index.tolist() == [0, 2]
    assert pairs.label.tolist() == [1, 1]


def test_mining_takes_no_gradient() -> None:
    logits = torch.randn(3, 3, requires_grad=True)
    pairs = mine_pairs(logits, torch.arange(3), torch.arange(3))
    assert not pairs.image_index.requires_grad
    loss = matching_loss(torch.tensor([[0.0, 3.0], [3.0, 0.0]]), torch.tensor([1, 0]))
    assert float(loss) == pytest.approx(math.log1p(math.exp(-3)))


# Masked language ------------------------------------------------------------------------------

MASK_ID, FIRST_WORD = 4, 10


@given(
    st.lists(st.integers(0, 7), min_size=1, max_size=5),
    st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(lambda pair: (min(pair), max(pair))),
    st.integers(0, 2**31),
)
def test_masking_touches_words_only_and_labels_what_it_hid(
    lengths: list[int], ratio: tuple[float, float], seed: int
) -> None:
    width = max(lengths) + 2
    ids = torch.zeros(len(lengths), width, dtype=torch.long)
    real = torch.zeros_like(ids, dtype=torch.bool)
    for row, length in enumerate(lengths):
        ids[row, 0], ids[row, length + 1] = 1, 3
        ids[row, 1 : length + 1] = torch.arange(FIRST_WORD, FIRST_WORD + length)
        real[row, : length + 2] = True
    ids[~real] = FIRST_WORD + 50  # even words, where they are padding
    before = ids.clone()
    masked, labels = mask_words(ids, real, MASK_ID, FIRST_WORD, ratio, torch.Generator().manual_seed(seed))
    assert torch.equal(ids, before), "the batch itself must stay as it is"
    hidden = labels != -100
    assert torch.equal(masked == MASK_ID, hidden)
    assert torch.equal(labels[hidden], ids[hidden])
    assert torch.equal(masked[~hidden], ids[~hidden])
    assert not hidden[~real].any()
    assert not hidden[real & (ids < FIRST_WORD)].any()
    for row, length in enumerate(lengths):
        count = int(hidden[row].sum())
        assert count <= length
        if length:
            assert (
                max(1, math.floor(ratio[0] * length - 0.5)) <= count <= max(1, math.ceil(ratio[1] * length))
            )


def test_every_word_and_every_count_comes_up() -> None:
    ids = torch.arange(FIRST_WORD, FIRST_WORD + 4).expand(400, 4)
    masked, _ = mask_words(ids, torch.ones_like(ids, dtype=torch.bool), MASK_ID, FIRST_WORD)
    counts = (masked == MASK_ID).sum(dim=1)
    assert set(counts.tolist()) == {1, 2, 3, 4}
    share = (masked == MASK_ID).float().mean(dim=0)
    assert float(share.max() - share.min()) < 0.15, "no place is favoured"


def test_a_full_ratio_hides_every_word() -> None:
    ids = torch.tensor([[8, 11, 12, 3]])
    masked, _ = mask_words(ids, torch.ones_like(ids, dtype=torch.bool), MASK_ID, FIRST_WORD, (1.0, 1.0))
    assert masked.tolist() == [[8, MASK_ID, MASK_ID, 3]]


def test_texts_without_words_cost_nothing() -> None:
    logits = torch.zeros(0, 9, requires_grad=True)
    loss = masked_language_loss(logits, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None


# Captioning -----------------------------------------------------------------------------------


def test_each_label_is_the_next_token_up_to_the_end() -> None:
    ids = torch.tensor([[5, 11, 12, 3], [6, 13, 3, 0]])
    real = torch.tensor([[True] * 4, [True, True, True, False]])
    inputs, mask, labels = next_token_labels(ids, real)
    assert inputs.tolist() == [[5, 11, 12], [6, 13, 3]]
    assert mask.tolist() == [[True, True, True], [True, True, True]]
    assert labels.tolist() == [[11, 12, 3], [13, 3, -100]]


@given(st.lists(st.integers(2, 6), min_size=1, max_size=4), st.integers(0, 3))
def test_labels_are_as_many_as_words_and_ends(lengths: list[int], padding: int) -> None:
    width = max(lengths) + padding
    real = torch.arange(width)[None] < torch.tensor(lengths)[:, None]
    ids = torch.randint(10, 20, (len(lengths), width)).masked_fill(~real, 0)
    inputs, mask, labels = next_token_labels(ids, real)
    assert (labels != -100).sum(dim=1).tolist() == [length - 1 for length in lengths]
    for row, length in enumerate(lengths):
        assert labels[row, : length - 1].tolist() == ids[row, 1:length].tolist()
        assert bool(mask[row, : length - 1].all()), "every place that is asked is attended"
    assert inputs.shape == mask.shape == labels.shape


def test_captioning_is_the_mean_per_word() -> None:
    logits, labels = torch.randn(5, 7), torch.randint(0, 7, (5,))
    by_hand = -torch.stack([logits[row].log_softmax(0)[labels[row]] for row in range(5)]).mean()
    torch.testing.assert_close(captioning_loss(logits, labels), by_hand)
    # bf16 logits are summed in float32.
    torch.testing.assert_close(captioning_loss(logits.bfloat16(), labels), by_hand, atol=0.03, rtol=0)
    assert captioning_loss(logits.bfloat16(), labels).dtype == torch.float32


# Classification -------------------------------------------------------------------------------


def test_answers_outside_the_list_are_left_out() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    loss = classification_loss(logits, torch.tensor([2, -100, 0, -100]))
    torch.testing.assert_close(loss, F.cross_entropy(logits[[0, 2]], torch.tensor([2, 0])))
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[[1, 3]].any()


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_in_the_list_gives_0_with_a_gradient(count: int) -> None:
    logits = torch.randn(count, 3, requires_grad=True)
    loss = classification_loss(logits, torch.full((count,), -100))
    assert float(loss.detach()) == 0
    loss.backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros(count, 3))


# Weighting ------------------------------------------------------------------------------------


def _losses() -> dict[str, Tensor]:
    return {
        "captioning": torch.tensor(2.0, requires_grad=True),
        "matching": torch.tensor(0.5, requires_grad=True),
    }


def test_fixed_weights_are_a_weighted_sum() -> None:
    losses = _losses()
    total = FixedWeights({"captioning": 3.0, "matching": 0.1, "labels": 7.0})(losses)
    assert float(total.detach()) == pytest.approx(6.05)
    total.backward()
    assert losses["captioning"].grad == 3.0


def test_learned_weights_have_kendalls_gradient() -> None:
    weighting = LearnedWeights({"captioning": 3.0, "matching": 1.0, "labels": 1.0})
    s = {"captioning": 0.7, "matching": -0.4}
    with torch.no_grad():
        for name, value in s.items():
            weighting.log_variance[name].fill_(value)
    losses = _losses()
    total = weighting(losses)
    expected = 3 * (math.exp(-0.7) * 2.0 + 0.35) + (math.exp(0.4) * 0.5 - 0.2)
    assert float(total.detach()) == pytest.approx(expected)
    total.backward()
    for name, weight in (("captioning", 3.0), ("matching", 1.0)):
        loss, grad = losses[name], weighting.log_variance[name].grad
        # d/ds [exp(-s) L + s/2] = 1/2 - exp(-s) L
        assert float(grad) == pytest.approx(weight * (0.5 - math.exp(-s[name]) * float(loss.detach())))
        assert float(loss.grad or 0) == pytest.approx(weight * math.exp(-s[name]))
    assert weighting.log_variance["labels"].grad is None, "a task without data is left alone"


def test_learned_weights_settle_where_kendall_says() -> None:
    weighting = LearnedWeights({"captioning": 1.0})
    optimizer = torch.optim.SGD(weighting.parameters(), lr=0.5)
    for _ in range(100):
        optimizer.zero_grad()
        weighting({"captioning": torch.tensor(0.2)}).backward()
        optimizer.step()
    variance = float(weighting.log_variance["captioning"].detach().exp())
    assert variance == pytest.approx(2 * 0.2, rel=1e-3)  # 1/2 = exp(-s) L


# Self-critical --------------------------------------------------------------------------------


@given(st.lists(st.lists(st.floats(0, 10), min_size=3, max_size=3), min_size=1, max_size=4))
def test_a_caption_is_judged_beside_the_others_of_its_photo(rewards: list[list[float]]) -> None:
    found = advantages(torch.tensor(rewards, dtype=torch.float64))
    for row, (first, second, third) in zip(found.tolist(), rewards, strict=True):
        assert row[0] == pytest.approx(first - (second + third) / 2, abs=1e-9)
        assert row[2] == pytest.approx(third - (first + second) / 2, abs=1e-9)
        assert sum(row) == pytest.approx(0, abs=1e-9)


def test_one_caption_alone_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="two or more"):
        advantages(torch.ones(2, 1))


def test_the_gradient_is_that_of_the_expected_reward() -> None:
    """Of one-word captions over four words, beside the gradient of sum_w p(w) r(w) written out."""
    logits = torch.tensor([0.3, -0.2, 0.8, 0.0], requires_grad=True)
    reward = torch.tensor([1.0, 0.0, 2.0, 4.0])
    exact = torch.autograd.grad((logits.softmax(0) * reward).sum(), logits)[0]
    words = drawn(logits.detach().expand(60_000, 4), torch.tensor([], dtype=torch.long))
    gained = advantages(reward[words].reshape(-1, 5)).reshape(-1)
    loss = self_critical_loss(logits.expand(60_000, 4), words, gained)
    torch.testing.assert_close(-torch.autograd.grad(loss, logits)[0], exact, atol=0.03, rtol=0)


def test_banned_words_are_never_drawn() -> None:
    logits = torch.tensor([[5.0, 0.0, 4.0, 0.0]]).expand(2000, 4)
    found = drawn(logits, torch.tensor([0, 2]))
    assert set(found.tolist()) == {1, 3}
    assert 0.4 < (found == 1).float().mean() < 0.6


def test_the_reward_is_cider_weighed_by_the_photos_learned_from() -> None:
    captions = {"en": {"1": ["a dog runs"], "2": ["a cat sits"]}, "zh": {"1": ["一只狗"], "2": ["猫"]}}
    words = {1: "a", 2: "dog", 3: "runs", 4: "狗"}
    reward = CaptionReward(captions, lambda ids: " ".join(words[one] for one in ids))
    # "a" is in every photo's captions and weighs nothing.
    assert reward("1", "en", [1]) == 0
    assert reward("1", "en", [2]) > 0 and reward("2", "en", [2]) == 0
    assert reward("1", "en", [1, 2, 3]) > reward("1", "en", [2])
    assert reward("1", "zh", [4]) > 0
    assert reward("1", "en", []) == 0
    assert reward.knows("1", "zh") and not reward.knows("3", "zh") and not reward.knows("1", "fr")
