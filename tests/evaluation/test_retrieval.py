"""Retrieval: against a loop that does it by sorting, and what must hold for any embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.evaluation import retrieval
from seetell.evaluation.retrieval import retrieval_ranks, score_retrieval

Array = NDArray[Any]


def unit(rows: Array) -> Array:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def problem(seed: int, n_photos: int, coarse: bool = False) -> tuple[Array, Array, NDArray[np.int64]]:
    """Photos with 1 to 4 captions each. Coarse ones lie on a grid, so that many scores tie exactly."""
    random = np.random.default_rng(seed)
    owner = np.repeat(np.arange(n_photos), random.integers(1, 5, n_photos))
    owner = random.permutation(owner)
    if coarse:
        images = random.integers(-1, 2, (n_photos, 3)).astype(np.float32)
        texts = random.integers(-1, 2, (len(owner), 3)).astype(np.float32)
        return images, texts, owner
    images = unit(random.normal(size=(n_photos, 8)))
    texts = unit(images[owner] + random.normal(size=(len(owner), 8)) * 0.7)
    return images, texts, owner


def by_loops(images: Array, texts: Array, owner: NDArray[np.int64]) -> tuple[list[int], list[int]]:
    """The definition, one pair at a time."""
    scores = (images.astype(np.float64) @ texts.astype(np.float64).T).astype(np.float32)
    to_text = []
    for photo in range(len(images)):
        best = max(scores[photo, text] for text in range(len(texts)) if owner[text] == photo)
        rivals = [scores[photo, text] for text in range(len(texts)) if owner[text] != photo]
        to_text.append(1 + sum(rival >= best for rival in rivals))
    to_image = []
    for text in range(len(texts)):
        own = scores[owner[text], text]
        rivals = [scores[photo, text] for photo in range(len(images)) if photo != owner[text]]
        to_image.append(1 + sum(rival >= own for rival in rivals))
    return to_text, to_image


@given(st.integers(0, 10_000), st.integers(1, 12), st.booleans())
def test_ranks_are_those_of_the_definition(seed: int, n_photos: int, coarse: bool) -> None:
    images, texts, owner = problem(seed, n_photos, coarse)
    found = retrieval_ranks(images, texts, owner)
    to_text, to_image = by_loops(images, texts, owner)
    assert found.image_to_text.tolist() == to_text
    assert found.text_to_image.tolist() == to_image


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 9))
def test_blocks_do_not_show(seed: int, image_block: int, text_block: int) -> None:
    images, texts, owner = problem(seed, 11, coarse=seed % 2 == 0)
    whole = retrieval_ranks(images, texts, owner)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "_IMAGE_BLOCK", image_block)
        patch.setattr(retrieval, "_TEXT_BLOCK", text_block)
        parts = retrieval_ranks(images, texts, owner)
    assert np.array_equal(whole.image_to_text, parts.image_to_text)
    assert np.array_equal(whole.text_to_image, parts.text_to_image)


@given(st.integers(0, 10_000), st.booleans())
def test_the_order_of_photos_and_texts_does_not_matter(seed: int, coarse: bool) -> None:
    images, texts, owner = problem(seed, 10, coarse)
    random = np.random.default_rng(seed + 1)
    new_photo, new_text = random.permutation(len(images)), random.permutation(len(texts))
    place = np.argsort(new_photo)  # where each old photo went
    before = retrieval_ranks(images, texts, owner)
    after = retrieval_ranks(images[new_photo], texts[new_text], place[owner][new_text])
    assert np.array_equal(after.image_to_text, before.image_to_text[new_photo])
    assert np.array_equal(after.text_to_image, before.text_to_image[new_text])


def test_perfect_embeddings_find_everything() -> None:
    images = np.eye(40, dtype=np.float32)
    owner = np.repeat(np.arange(40), 5)
    scores = score_retrieval(images, images[owner], owner)
    for direction in (scores.image_to_text, scores.text_to_image):
        assert [direction[name].value for name in ("r1", "r5", "r10", "median_rank")] == [100, 100, 100, 1]
        assert (direction["r1"].low, direction["r1"].high) == (100, 100)


@pytest.mark.parametrize("width", [1, 7, 256])
def test_a_model_that_maps_everything_to_one_point_finds_nothing(width: int) -> None:
    point = unit(np.random.default_rng(width).normal(size=(1, width)))
    owner = np.repeat(np.arange(300), 5)
    scores = score_retrieval(np.repeat(point, 300, 0), np.repeat(point, 1500, 0), owner)
    assert {scores.image_to_text[name].value for name in ("r1", "r5", "r10")} == {0}
    assert {scores.text_to_image[name].value for name in ("r1", "r5", "r10")} == {0}
    # All 1495 captions of others stand before its own five, and all 299 other photos before its own.
    assert scores.image_to_text["median_rank"].value == 1496
    assert scores.text_to_image["median_rank"].value == 300


def test_a_photo_and_its_copy_stand_before_one_another() -> None:
    random = np.random.default_rng(3)
    images = unit(random.normal(size=(600, 64)))
    images[599] = images[0]
    owner = np.arange(600)
    ranks = retrieval_ranks(images, images, owner)
    assert ranks.text_to_image[[0, 599]].tolist() == [2, 2]
    assert ranks.image_to_text[[0, 599]].tolist() == [2, 2]
    assert set(ranks.text_to_image[1:599]) == {1}


def test_a_photo_ranks_by_its_best_caption_and_its_other_captions_are_no_rivals() -> None:
    images = np.array([[1, 0], [0, 1]], dtype=np.float32)
    # Photo 0: one far caption, two equal near ones. Photo 1's caption lies between for photo 0.
    texts = unit(np.array([[0, 1], [1, 0.1], [1, 0.1], [1, 1]], dtype=np.float32))
    ranks = retrieval_ranks(images, texts, [0, 0, 0, 1])
    assert ranks.image_to_text.tolist() == [1, 2]
    assert ranks.text_to_image.tolist() == [2, 1, 1, 2]


def test_what_is_not_finite_ranks_last_and_before_all_others() -> None:
    images = np.eye(12, dtype=np.float32)
    texts = np.eye(12, dtype=np.float32)
    images[4] = np.nan
    ranks = retrieval_ranks(images, texts, np.arange(12))
    assert ranks.text_to_image[4] == 12
    assert ranks.image_to_text[4] == 12
    assert set(np.delete(ranks.text_to_image, 4)) == {2}
    broken = score_retrieval(np.full((30, 4), np.nan), np.full((30, 4), np.nan), np.arange(30))
    assert broken.image_to_text["r10"].value == 0
    infinite = np.full((30, 4), np.inf)
    assert score_retrieval(infinite, infinite, np.arange(30)).text_to_image["r10"].value == 0


def test_a_failed_input_is_never_found_and_stands_in_nobodys_way() -> None:
    images, texts, owner = problem(5, 9)
    failed_photo = 2
    failed_text = int(np.flatnonzero(owner == 4)[0])
    garbage = images.copy()
    garbage[failed_photo] = texts.mean(axis=0) * 100
    image_failed = np.arange(9) == failed_photo
    text_failed = np.arange(len(texts)) == failed_text
    found = retrieval_ranks(garbage, texts, owner, image_failed=image_failed, text_failed=text_failed)
    assert np.isinf(found.image_to_text[failed_photo])
    assert np.isinf(found.text_to_image[(owner == failed_photo) | text_failed]).all()
    # The others rank as in a gallery without the two. The failed photo's captions are still candidates.
    far = images.copy()
    far[failed_photo] = 0
    scores = (far @ texts.T).astype(np.float64)
    for text in np.flatnonzero((owner != failed_photo) & ~text_failed):
        others = np.delete(scores[:, text], [failed_photo, owner[text]])
        assert found.text_to_image[text] == 1 + (others >= scores[owner[text], text]).sum()
    for photo in set(range(9)) - {failed_photo}:
        own = (owner == photo) & ~text_failed
        if own.any():
            others = scores[photo, (owner != photo) & ~text_failed]
            assert found.image_to_text[photo] == 1 + (others >= scores[photo, own].max()).sum()
        else:
            assert np.isinf(found.image_to_text[photo])


def test_a_failed_photo_is_a_miss_even_in_a_gallery_smaller_than_k() -> None:
    images = np.eye(4, dtype=np.float32)
    scores = score_retrieval(images, images, np.arange(4), image_failed=[True, False, False, False])
    assert scores.image_to_text["r10"].value == 75
    assert scores.text_to_image["r10"].value == 75


def test_the_median_of_mostly_failed_inputs_is_one_past_the_last() -> None:
    images = np.eye(4, dtype=np.float32)
    scores = score_retrieval(images, images, np.arange(4), image_failed=[True, True, True, False])
    assert scores.text_to_image["median_rank"].value == 5


@pytest.mark.parametrize("ranks", [[1, 2, 3], [1, 2, 3, 10], [4], [2, 2, 9, 9]])
def test_the_median_is_numpys(ranks: list[int]) -> None:
    weights = np.ones((1, len(ranks)))
    assert retrieval._weighted_median(np.array(ranks, float), weights)[0] == np.median(ranks)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 4)), min_size=1, max_size=12))
def test_a_weighted_median_is_the_median_of_the_repeated_values(pairs: list[tuple[int, int]]) -> None:
    pairs = sorted([*pairs, (7, 1)])
    values = np.array([value for value, _ in pairs], float)
    weights = np.array([[weight for _, weight in pairs]], float)
    repeated = [value for value, weight in pairs for _ in range(weight)]
    assert retrieval._weighted_median(values, weights)[0] == np.median(repeated)


@pytest.mark.parametrize(
    ("images", "texts", "owner"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4)), [0, 1]),
        (np.zeros((2, 3)), np.zeros((2, 3)), [0]),
        (np.zeros((2, 3)), np.zeros((2, 3)), [0, 2]),
        (np.zeros((2, 3)), np.zeros((2, 3)), [0, -1]),
        (np.zeros((3, 3)), np.zeros((2, 3)), [0, 1]),
        (np.zeros((0, 3)), np.zeros((0, 3)), []),
        (np.zeros(3), np.zeros((1, 3)), [0]),
    ],
)
def test_shapes_that_do_not_fit_are_refused(images: Array, texts: Array, owner: list[int]) -> None:
    with pytest.raises(UsageError):
        retrieval_ranks(images, texts, owner)


def test_a_mask_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="mask"):
        retrieval_ranks(np.eye(2), np.eye(2), [0, 1], image_failed=[True])


def test_the_arguments_are_left_alone() -> None:
    images, texts, owner = problem(1, 6)
    kept = images.copy(), texts.copy()
    retrieval_ranks(images, texts, owner, image_failed=np.arange(6) == 1)
    assert np.array_equal(images, kept[0])
    assert np.array_equal(texts, kept[1])
