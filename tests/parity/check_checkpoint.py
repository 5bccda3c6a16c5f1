"""Does a checkpoint, with its real weights, give what transformers gives? One command checks one:

    python -m tests.parity.check_checkpoint openai/clip-vit-base-patch32

takes a hub id or a folder, prepares three photos and a few texts both ways, runs both models in float32,
prints how far they are apart, and ends with status 1 where that is too far. It needs the extras `train` and
`test`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from seetell.bundle.hub import fetch_checkpoint
from seetell.bundle.tokenizer import Tokenizer
from seetell.core.errors import CheckpointError, SeetellError
from seetell.media.images import decode_image
from seetell.media.preprocess import preprocess
from seetell.modeling.checkpoints.registry import family_of
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Reading, load_model
from seetell.modeling.models.dual_encoder import DualEncoder
from seetell.modeling.models.encoder_decoder import EncoderDecoder
from seetell.modeling.models.grounded import GroundedModel
from seetell.modeling.models.image_classifier import ImageClassifier
from seetell.modeling.models.single_stream import SingleStreamModel
from seetell.modeling.models.text_models import TextDecoder, TextEncoder

# Absolute, as for seeded weights of published size. Logits scaled by up to a hundred are compared unscaled.
ALLOWED = 1e-3
PIXELS_ALLOWED = 1e-5
TEXTS = ("a cat", "two dogs run on the grass", "what is on the table?", "一只猫在草地上")

Photos = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True)
class Row:
    """One comparison: the largest absolute difference of ``what``, and how large it may be."""

    what: str
    difference: float
    allowed: float = ALLOWED

    @property
    def good(self) -> bool:
        return self.difference <= self.allowed


@dataclass(frozen=True)
class Given:
    """What both models are given. ids: int64[4, T], mask: bool[4, T], pixels: float[3, 3, H, W]."""

    reading: Reading
    tokenizer: Tokenizer | None
    ids: Tensor
    mask: Tensor
    pixels: Tensor
    pixel_mask: Tensor


def compare(folder: Path, photos: Photos, *, allow_pickle: bool = False) -> list[Row]:
    """Every comparison that can be made for the checkpoint in ``folder``.

    Raises CheckpointError for one that transformers does not read.
    """
    checkpoint = CheckpointFolder(folder, allow_pickle=allow_pickle)
    family = family_of(checkpoint)
    named = (checkpoint.config.get("architectures") or [""])[0]
    kind: Any = getattr(transformers, named, None)
    if checkpoint.layout != "transformers" or kind is None:
        raise CheckpointError(
            f"{folder}: transformers has no {named or checkpoint.layout} to compare it with"
        )
    model = load_model(checkpoint, family)
    reference = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    reading = family.reading(checkpoint)
    given = _given(reading, photos)
    rows = [*_pixels(folder, reading, photos), *_words(folder, given)]
    with torch.no_grad():
        return [*rows, *_COMPARERS[type(model)](model, reference, given)]


def _given(reading: Reading, photos: Photos) -> Given:
    tokenizer = None
    ids, mask = np.zeros((len(TEXTS), 1), np.int64), np.ones((len(TEXTS), 1), np.bool_)
    if reading.text is not None and reading.tokenizer_json is not None:
        tokenizer = Tokenizer(reading.tokenizer_json.decode("utf-8"), reading.text)
        ids, mask = tokenizer.encode(TEXTS, lead_id=reading.text.bos_id)
    pixels, pixel_mask = np.zeros((1, 3, 1, 1), np.float32), None
    if reading.image is not None:
        pixels, pixel_mask = preprocess(photos, reading.image)
    seen = np.ones((pixels.shape[0], *pixels.shape[2:]), np.bool_) if pixel_mask is None else pixel_mask
    return Given(reading, tokenizer, *(torch.from_numpy(one) for one in (ids, mask, pixels, seen)))


def _pixels(folder: Path, reading: Reading, photos: Photos) -> Iterator[Row]:
    if reading.image is None:
        return
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    worst = 0.0
    for photo in photos:
        theirs = np.asarray(processor([photo], return_tensors="np")["pixel_values"])
        worst = max(worst, _difference(preprocess([photo], reading.image)[0], theirs))
    yield Row("pixel_values", worst, PIXELS_ALLOWED)


def _words(folder: Path, given: Given) -> Iterator[Row]:
    if given.tokenizer is None:
        return
    try:
        theirs = transformers.AutoTokenizer.from_pretrained(folder)
    except ImportError as error:
        raise CheckpointError(
            f"{folder}: its reference tokenizer needs another package: {str(error).strip().splitlines()[0]}"
        ) from error
    differing = sum(
        given.tokenizer.encode_words(text) != theirs(text, add_special_tokens=False)["input_ids"]
        for text in TEXTS
    )
    yield Row("texts of other ids", float(differing), 0.0)


def _dual(model: DualEncoder, reference: Any, given: Given) -> Iterator[Row]:
    image = model.encode_image(given.pixels)[2]
    text = model.encode_text(given.ids, given.mask)[1]
    pads = {} if model.config.text.reads_padding else {"attention_mask": given.mask.long()}
    theirs = reference(input_ids=given.ids, pixel_values=given.pixels, **pads)
    yield Row("image_embeds", _difference(image, theirs.image_embeds))
    yield Row("text_embeds", _difference(text, theirs.text_embeds))
    ours = model.logits_per_image(image, text)
    scale = float(reference.logit_scale.exp())
    yield Row("logits_per_image", _difference(ours, theirs.logits_per_image) / max(1.0, scale))


def _grounded(model: GroundedModel, reference: Any, given: Given) -> Iterator[Row]:
    image = model.encode_image(given.pixels)
    theirs = reference.vision_model(given.pixels).last_hidden_state
    yield Row("image_tokens", _difference(image, theirs))
    one, seen = image[:1], torch.ones(1, image.shape[1], dtype=torch.bool)
    for row in range(len(TEXTS)):
        ids, mask = (given.ids[row, given.mask[row]][None], torch.ones(1, int(given.mask[row].sum())).bool())
        if model.config.shared_dim:
            matching = reference(ids, given.pixels[:1], attention_mask=mask.long()).itm_score
            ours = model.match_logits(model.fuse(ids, mask, one, seen))
            yield Row(f"match_logits of {TEXTS[row]!r}", _difference(ours, matching))
            cosine = reference(
                ids, given.pixels[:1], attention_mask=mask.long(), use_itm_head=False
            ).itm_score
            embeds = model.image_embeds(one) @ model.text_embeds(model.encode_text(ids, mask)).T
            yield Row(f"similarity of {TEXTS[row]!r}", _difference(embeds, cosine))
            continue
        memory, memory_mask = one, seen
        if model.config.encoder:
            memory, memory_mask = model.fuse(ids, mask, one, seen), mask
            fused = reference.text_encoder(
                ids, attention_mask=mask.long(), encoder_hidden_states=one
            ).last_hidden_state
            yield Row(f"fused_tokens of {TEXTS[row]!r}", _difference(memory, fused))
        hidden, _ = model.decode(ids, mask, model.memory(memory), memory_mask)
        logits = reference.text_decoder(ids, attention_mask=mask.long(), encoder_hidden_states=memory).logits
        yield Row(f"logits of {TEXTS[row]!r}", _difference(model.token_logits(hidden), logits))


def _single_stream(model: SingleStreamModel, reference: Any, given: Given) -> Iterator[Row]:
    tokens, image_mask = model.encode_image(given.pixels, given.pixel_mask)
    count = len(given.pixels)
    ids, mask = given.ids[:count], given.mask[:count]
    fused = model.fuse(ids, mask, tokens, image_mask)
    theirs = reference(
        input_ids=ids,
        attention_mask=mask.long(),
        pixel_values=given.pixels,
        pixel_mask=given.pixel_mask.long(),
    ).logits
    if model.config.num_answers:
        yield Row("answer_logits", _difference(model.answer_logits(fused), theirs))
    elif model.config.match:
        yield Row("match_logits", _difference(model.match_logits(fused)[:, 1:], theirs))
    else:
        yield Row("token_logits", _difference(model.token_logits(fused)[mask], theirs[mask]))


def _classifier(model: ImageClassifier, reference: Any, given: Given) -> Iterator[Row]:
    found, theirs = model(given.pixels), reference(given.pixels, output_hidden_states=True)
    state = theirs.hidden_states[-1]
    if state.ndim == 4:
        yield Row("image_tokens", _difference(found.tokens, state.flatten(2).transpose(1, 2)))
    else:
        base = getattr(reference, reference.base_model_prefix, reference)
        yield Row("image_tokens", _difference(found.tokens, base(given.pixels).last_hidden_state))
    if found.label_logits is not None:
        yield Row("label_logits", _difference(found.label_logits, theirs.logits))


def _encoder_decoder(model: EncoderDecoder, reference: Any, given: Given) -> Iterator[Row]:
    image = model.encode_image(given.pixels)
    theirs = reference.encoder(given.pixels).last_hidden_state
    yield Row("image_tokens", _difference(image, theirs))
    count = len(given.pixels)
    ids, mask = given.ids[:count], given.mask[:count]
    seen = torch.ones(image.shape[:2], dtype=torch.bool)
    found, _ = model.decode(ids, mask, model.memory(image), seen)
    expected = reference(
        pixel_values=given.pixels, decoder_input_ids=ids, decoder_attention_mask=mask.long()
    ).logits
    yield Row("logits", _difference(found[mask], expected[mask]))


def _text_encoder(model: TextEncoder, reference: Any, given: Given) -> Iterator[Row]:
    base = getattr(reference, reference.base_model_prefix, reference)
    theirs = base(given.ids, attention_mask=given.mask.long()).last_hidden_state
    yield Row("text_tokens", _difference(model(given.ids, given.mask)[given.mask], theirs[given.mask]))


def _text_decoder(model: TextDecoder, reference: Any, given: Given) -> Iterator[Row]:
    theirs = reference(given.ids, attention_mask=given.mask.long()).logits
    found, _ = model(given.ids, given.mask)
    # Of probabilities' logarithms: logits of GPT-2 are large, and a common shift means nothing.
    ours, expected = (F.log_softmax(one[given.mask], dim=-1) for one in (found, theirs))
    yield Row("log-probabilities", _difference(ours, expected))


_COMPARERS: dict[type[Any], Callable[[Any, Any, Given], Iterator[Row]]] = {
    DualEncoder: _dual,
    GroundedModel: _grounded,
    SingleStreamModel: _single_stream,
    ImageClassifier: _classifier,
    EncoderDecoder: _encoder_decoder,
    TextEncoder: _text_encoder,
    TextDecoder: _text_decoder,
}


def _difference(ours: Any, theirs: Any) -> float:
    first, second = (torch.as_tensor(one).double() for one in (ours, theirs))
    return float((first - second).abs().max()) if first.shape == second.shape else float("inf")


def sample_photos() -> list[NDArray[np.uint8]]:
    """Three photographs that scikit-image ships."""
    from skimage import data

    return [data.astronaut(), data.coffee(), data.chelsea()]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", help="a hub id, or a folder")
    parser.add_argument("photos", nargs="*", type=Path, help="instead of three that scikit-image ships")
    parser.add_argument("--revision", help="of a hub id")
    parser.add_argument("--allow-pickle", action="store_true", help="as in `seetell convert`")
    told = parser.parse_args(arguments)
    photos = [decode_image(path.read_bytes(), exact=True) for path in told.photos] or sample_photos()
    folder = Path(told.checkpoint)
    try:
        if not folder.is_dir():
            folder = fetch_checkpoint(
                told.checkpoint, revision=told.revision, allow_pickle=told.allow_pickle
            ).folder
        rows = compare(folder, photos, allow_pickle=told.allow_pickle)
    except SeetellError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for row in rows:
        print(f"{'same' if row.good else 'APART'}  {row.difference:8.2e}  {row.what}")
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
