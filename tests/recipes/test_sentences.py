"""What sentences mean: a text encoder that learns what others say, in a model that stays as it was."""

from __future__ import annotations

import pytest
import torch
from sentences import Sentences, TextBatch, centre, mean_cosine, teach, with_sentences
from torch import Tensor
from torch.nn import functional as F

from seetell.modeling.facts import BundleFacts
from seetell.modeling.models.config import (
    EfficientNetConfig,
    SentenceConfig,
    TextConfig,
    UnifiedConfig,
)
from seetell.modeling.models.unified import UnifiedModel
from seetell.modeling.parts.placed import PooledProjection
from seetell.modeling.start import Start


def _start() -> Start:
    torch.manual_seed(0)
    config = UnifiedConfig(
        image=EfficientNetConfig(width=0.25, depth=0.5, embed_dim=16, num_heads=2),
        text=TextConfig(vocab_size=30, context_length=12, embed_dim=16, depth=1, num_heads=2, bag_dim=6),
        image_size=(32, 32),
        shared_dim=10,
    )
    return Start(UnifiedModel(config), BundleFacts(name="tiny", licence="none"), None)


def _two_words(vectors: Tensor) -> TextBatch:
    """Every pair of 20 words; what is said of it is half the second word, and all of the first."""
    first, second = torch.cartesian_prod(torch.arange(20), torch.arange(20)).T
    ids = torch.stack([torch.ones_like(first), first + 5, second + 5, torch.full_like(first, 3)], dim=1)
    said = F.normalize(vectors[first] + 0.5 * vectors[second], dim=-1)
    return TextBatch(ids, torch.ones(ids.shape, dtype=torch.bool), said)


@pytest.fixture
def model() -> UnifiedModel:
    return with_sentences(_start(), SentenceConfig(embed_dim=24, depth=1, num_heads=2), 4, 5)


def test_what_search_does_not_read_stays_as_it_was(model: UnifiedModel) -> None:
    before = _start().model
    assert isinstance(before, UnifiedModel)
    assert isinstance(model.image_projection, PooledProjection) and model.sentence is not None
    assert model.bag is not None and model.bag.weight.shape == (30, 4)
    now = model.state_dict()
    anew = ("image_projection.", "text_norm.", "text_projection.", "bag", "sentence.")
    for name, tensor in before.state_dict().items():
        if not name.startswith(anew):
            torch.testing.assert_close(now[name], tensor, atol=0, rtol=0)
    assert {name for name in now if not name.startswith(anew)} <= before.state_dict().keys()


def test_it_learns_what_order_means_and_nothing_else_learns(model: UnifiedModel) -> None:
    torch.manual_seed(1)
    texts = _two_words(torch.randn(20, 8))
    held_out = torch.randperm(400)[:80]
    others = torch.ones(400, dtype=torch.bool)
    others[held_out] = False
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    sentences = Sentences(model, 8)
    test = TextBatch(texts.ids[held_out], texts.mask[held_out], texts.targets[held_out])
    assert mean_cosine(sentences, test) < 0.5
    taught = TextBatch(texts.ids[others], texts.mask[others], texts.targets[others])
    teach(sentences, taught, {"pairs": test}, 60)
    # Without regard to order the best cosine is that of both words alike, 0.95.
    assert mean_cosine(sentences, test) > 0.97
    changed = {
        name.split(".")[0]
        for name, tensor in model.state_dict().items()
        if not torch.equal(tensor, kept[name])
    }
    assert changed == {"sentence", "text_norm"}


def test_batches_hold_every_text_once_and_no_more_padding_than_their_longest() -> None:
    lengths = torch.randint(1, 9, (50,), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(9) < lengths[:, None]
    texts = TextBatch(torch.arange(50)[:, None].expand(50, 9), mask, torch.randn(50, 4))
    seen: list[int] = []
    for batch in texts.batches(8, torch.Generator().manual_seed(0)):
        rows = batch.ids[:, 0]
        assert batch.mask.shape[1] == int(lengths[rows].max()) == batch.ids.shape[1]
        torch.testing.assert_close(batch.targets, texts.targets[rows])
        seen += rows.tolist()
    assert sorted(seen) == list(range(50))


def test_centred_vectors_say_the_same(model: UnifiedModel) -> None:
    texts = _two_words(torch.randn(20, 8, generator=torch.Generator().manual_seed(1)))
    sentences = Sentences(model, 8)
    before = sentences.eval().pooled(texts.ids, texts.mask)
    centre(sentences, texts)
    after = sentences.pooled(texts.ids, texts.mask)
    torch.testing.assert_close(after.mean(dim=0), torch.zeros(24), atol=1e-5, rtol=0)
    torch.testing.assert_close(after.norm(dim=1).mean(), torch.tensor(1.0))
    away = before - before.mean(dim=0)
    torch.testing.assert_close(after, away / away.norm(dim=1).mean(), atol=1e-4, rtol=1e-3)
