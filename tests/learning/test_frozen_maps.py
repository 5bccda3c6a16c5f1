"""Maps of frozen layers: one for each view, worked out once, the same from the file as anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from seetell.bundle.tokenizer import Tokenizer
from seetell.data.records import CaptionRecord
from seetell.learning.augmentation import Augmentation, random_part
from seetell.learning.collate import Collator
from seetell.learning.frozen_maps import FrozenMaps, View, view_of
from seetell.learning.photos import PhotoCache
from seetell.learning.sources import Row
from seetell.learning.tokenizer_training import built_in_text_spec, train_tokenizer
from seetell.media.preprocess import ImageSpec, preprocess
from tests.learning.record_sources import of_captions

SPEC = ImageSpec(height=8, width=8, resize="longest_edge")
SHAPE = (3, 2, 2)
RULE = Augmentation(views=4)


class Encoder:
    """The mean of each quarter; counts what it is given."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        self.seen += len(pixels)
        quarters: NDArray[np.float32] = pixels.reshape(len(pixels), 3, 2, 4, 2, 4).mean(axis=(3, 5))
        return quarters


def cells(mask: Tensor) -> Tensor:
    return mask[:, ::4, ::4]


def photo(number: int, height: int = 12, width: int = 16) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


def rows(path: Path, count: int, rule: Augmentation = RULE) -> list[Row]:
    return [Row(path, rule, np.random.default_rng(number)) for number in range(count)]


def views(path: Path, count: int = 40, *, may_flip: bool = True) -> list[View]:
    return [view_of(row, 1, may_flip=may_flip) for row in rows(path, count)]


def learned(maps: FrozenMaps, wanted: Sequence[View], image: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    new = [wanted[place] for place in maps.missing(wanted)]
    maps.learn(new, [image] * len(new))
    assert not maps.missing(wanted)
    return maps.maps(wanted)


def test_a_photo_has_as_many_views_as_the_rule_says_and_the_first_is_the_whole() -> None:
    found = views(Path("a/b/one.jpg"))
    assert len({view.key for view in found}) == 4
    whole = {view for view in found if view.rule.scale == (1.0, 1.0)}
    assert len(whole) == 1
    (view,) = whole
    image = photo(0)
    same = random_part(image, view.rule, np.random.default_rng(view.seed), may_flip=view.may_flip)
    np.testing.assert_array_equal(same, image)


def test_a_photo_whose_texts_name_a_side_shares_the_views_that_are_not_mirrored() -> None:
    path = Path("a/b/one.jpg")
    free = {view.key for view in views(path)}
    bound = views(path, may_flip=False)
    assert not any(view.may_flip or view.rule.flip for view in bound)
    mirrored = {view.key for view in views(path) if view.may_flip}
    assert mirrored and free - mirrored <= {view.key for view in bound}


def test_a_view_is_known_wherever_the_data_lie_and_through_a_link(tmp_path: Path) -> None:
    folder = tmp_path / "set" / "images"
    folder.mkdir(parents=True)
    (folder / "one.jpg").write_bytes(b"")
    link = tmp_path / "elsewhere"
    link.symlink_to(folder)
    there = {view.key for view in views(folder / "one.jpg")}
    assert {view.key for view in views(link / "one.jpg")} == there
    assert {view.key for view in views(Path("/other/set/images/one.jpg"))} == there
    assert not {view.key for view in views(Path("/other/set/images/two.jpg"))} & there


def test_maps_are_those_of_the_view_and_each_is_worked_out_once(tmp_path: Path) -> None:
    encoder = Encoder()
    maps = FrozenMaps(encoder, cells, SPEC, SHAPE, SHAPE[1:], tmp_path / "maps")
    wanted, image = views(Path("a/b/one.jpg")), photo(1)
    found, mask = learned(maps, wanted, image)
    assert encoder.seen == 4
    for place, view in enumerate(wanted):
        part = random_part(image, view.rule, np.random.default_rng(view.seed), may_flip=view.may_flip)
        pixels, pixel_mask = preprocess([part], SPEC)
        assert pixel_mask is not None
        expected = torch.from_numpy(Encoder()(pixels)).half().float()[0]
        torch.testing.assert_close(found[place], expected)
        assert torch.equal(mask[place], cells(torch.from_numpy(pixel_mask))[0])


def test_a_later_run_reads_them_from_the_file(tmp_path: Path) -> None:
    wanted, image = views(Path("a/b/one.jpg")), photo(2)
    first = learned(FrozenMaps(Encoder(), cells, SPEC, SHAPE, SHAPE[1:], tmp_path), wanted, image)
    encoder = Encoder()
    again = learned(FrozenMaps(encoder, cells, SPEC, SHAPE, SHAPE[1:], tmp_path), wanted, image)
    assert encoder.seen == 0
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["maps", "keys"])
def test_what_a_killed_run_left_half_written_is_made_again(tmp_path: Path, name: str) -> None:
    wanted, image = views(Path("a/b/one.jpg")), photo(3)
    first = learned(FrozenMaps(Encoder(), cells, SPEC, SHAPE, SHAPE[1:], tmp_path), wanted, image)
    with (tmp_path / name).open("r+b") as file:
        file.truncate((tmp_path / name).stat().st_size - 5)
    encoder = Encoder()
    again = learned(FrozenMaps(encoder, cells, SPEC, SHAPE, SHAPE[1:], tmp_path), wanted, image)
    assert encoder.seen == 1
    third = learned(FrozenMaps(Encoder(), cells, SPEC, SHAPE, SHAPE[1:], tmp_path), wanted, image)
    for one, other, last in zip(first, again, third, strict=True):
        assert torch.equal(one, other) and torch.equal(one, last)


def test_large_values_stay_finite_in_half_precision() -> None:
    maps = FrozenMaps(lambda pixels: Encoder()(pixels) * 1e9, cells, SPEC, SHAPE, SHAPE[1:], None)
    found, _ = learned(maps, views(Path("a/b/one.jpg"), 3), photo(4))
    assert torch.isfinite(found).all()


def test_a_row_without_a_fixed_number_of_views_is_refused() -> None:
    (row,) = rows(Path("a.jpg"), 1, Augmentation())
    with pytest.raises(ValueError, match="no fixed number"):
        view_of(row, 1, may_flip=True)


def test_what_a_run_will_show_is_seen_ahead_and_then_no_more(tmp_path: Path) -> None:
    records = []
    for number in range(5):
        path = tmp_path / "set" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(photo(number)).save(path)
        records.append(CaptionRecord(path, (("a dog", "en"),), number))
    (tmp_path / "set" / "3.png").write_bytes(b"no photo")
    tokenizer = Tokenizer(train_tokenizer(["a dog"] * 4, 300), built_in_text_spec(24))

    def collator(encoder: Encoder, folder: Path | None) -> Collator:
        source = of_captions(records, batch_size=4, rule=RULE, seed=(1, 0), languages=("en",))
        return Collator(
            [source],
            tokenizer,
            PhotoCache(min_size=8, budget_bytes=1 << 20),
            size_at=lambda _: 8,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            answers={},
            skip_unreadable=True,
            frozen=FrozenMaps(encoder, cells, SPEC, SHAPE, SHAPE[1:], folder),
            seed=1,
        )

    slow = collator(Encoder(), None)
    expected = [slow.batch(step) for step in range(6)]
    encoder, told = Encoder(), list[tuple[int, int]]()
    fast = collator(encoder, tmp_path / "maps")
    fast.look_ahead(range(6), lambda done, total: told.append((done, total)))
    ahead = encoder.seen
    assert ahead and told[-1][0] == told[-1][1]
    for step, batch in enumerate(expected):
        again = fast.batch(step)
        assert again.keys == batch.keys and "3.png" not in " ".join(again.keys)
        assert torch.equal(again.maps, batch.maps) and torch.equal(again.map_mask, batch.map_mask)
    assert encoder.seen == ahead
    # The unreadable photo is counted when it is met, as without looking ahead.
    assert fast.skipped == slow.skipped > 0
