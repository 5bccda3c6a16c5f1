"""SigLIP and SigLIP 2 of fixed resolution give what transformers' SiglipModel gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel, SiglipTokenizer
from transformers.models.siglip2.tokenization_siglip2 import Siglip2Tokenizer

import seetell
from seetell.bundle.tokenizer import Tokenizer
from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.registry import family_of
from seetell.modeling.checkpoints.sentencepiece_model import read_unigram
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Reading, load_model
from seetell.modeling.export.roles.registry import role_modules
from seetell.modeling.models.dual_encoder import DualEncoder
from tests.parity.checkpoint_files import folder_without_weights
from tests.parity.checkpoints_with_words import photos
from tests.parity.spiece import BYTE, CONTROL, NORMAL, PIECES, UNKNOWN, WHOLE, model_file
from tests.parity.towers import (
    assert_bundle_answers_as_torch,
    assert_faults_are_listed,
    assert_gradients_agree,
    assert_towers_agree,
    difference,
    read,
    rewrite_config,
    shake,
    tower,
)

LENGTH = 16
END, UNKNOWN_ID = 1, 2
# Gemma's, in small: special words, characters, a few that are made of them. It knows Chinese.
GEMMA_WORDS = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *"▁abcdefghijklmnopqrstuvwxyz.,!?'的猫"]
GEMMA_MERGES = [("t", "h"), ("th", "e"), ("▁", "the"), ("c", "a"), ("ca", "t"), ("▁", "cat")]
GEMMA = {word: number for number, word in enumerate([*GEMMA_WORDS, "th", "the", "▁the", "ca", "cat", "▁cat"])}
BYTES = {f"<0x{number:02X}>": len(GEMMA) + number for number in range(256)}

SHAPES: dict[str, dict[str, Any]] = {
    "plain": {"text": tower(24, 4), "vision": tower(24, 2, patch_size=8, image_size=32)},
    "odd heads, another activation": {
        "text": tower(20, 5, hidden_act="gelu", num_hidden_layers=3, projection_size=42),
        "vision": tower(42, 3, patch_size=16, image_size=48, hidden_act="quick_gelu", layer_norm_eps=1e-4),
    },
    # As in so400m, whose photos of 384 pixels are cut into 27 patches of 14.
    "pixels left over": {
        "text": tower(20, 1, projection_size=36),
        "vision": tower(36, 9, patch_size=14, image_size=32, num_hidden_layers=1),
    },
}


def make(shape: str, folder: Path, *, vocab_size: int = len(PIECES)) -> SiglipModel:
    """The reference, saved to ``folder`` with SigLIP's tokenizer and preprocessing."""
    settings = SHAPES[shape]
    text = {**settings["text"], "vocab_size": vocab_size, "max_position_embeddings": LENGTH}
    config = SiglipConfig(text_config=text, vision_config=settings["vision"])
    config._attn_implementation = "eager"
    reference = shake(SiglipModel(config), seed=len(shape))
    with torch.no_grad():
        reference.logit_scale.fill_(2.3)
        reference.logit_bias.fill_(-4.5)
    reference.save_pretrained(folder)
    size = settings["vision"]["image_size"]
    SiglipImageProcessorPil(size={"height": size, "width": size}).save_pretrained(folder)
    (folder / "spiece.model").write_bytes(model_file())
    settings = {"tokenizer_class": "SiglipTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    special = {"eos_token": {"content": "</s>"}, "pad_token": {"content": "</s>"}, "unk_token": "<unk>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    return reference


def make_second(folder: Path) -> SiglipModel:
    """As :func:`make`, with the tokenizer of SigLIP 2."""
    reference = make("plain", folder, vocab_size=len(GEMMA) + len(BYTES))
    for name in ("spiece.model", "special_tokens_map.json", "tokenizer_config.json"):
        (folder / name).unlink()
    Siglip2Tokenizer(vocab={**GEMMA, **BYTES}, merges=GEMMA_MERGES).save_pretrained(folder)
    return reference


@pytest.fixture(scope="module", params=list(SHAPES))
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SiglipModel, DualEncoder]:
    folder = tmp_path_factory.mktemp("siglip")
    reference = make(request.param, folder)
    return reference, read(folder)[0]


def rows(count: int = 4, length: int = LENGTH) -> tuple[Tensor, Tensor]:
    """Whole rows, as SigLIP's texts always are: words, then ends of text."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, len(PIECES), (count, length), generator=generator)
    for row in range(count):
        ids[row, length // 2 + 2 * row :] = END
    return ids, torch.ones_like(ids, dtype=torch.bool)


def pixels(model: SiglipModel, count: int = 3) -> Tensor:
    size = model.config.vision_config.image_size
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_both_encoders_and_the_logits_agree(pair: tuple[SiglipModel, DualEncoder]) -> None:
    reference, model = pair
    assert_towers_agree(model, reference, pixels(reference), *rows())
    assert model.score.kind == "sigmoid"
    assert (model.score.logit_scale, model.score.logit_bias) == pytest.approx((2.3, -4.5))


def test_padding_is_read_whatever_the_mask_says(pair: tuple[SiglipModel, DualEncoder]) -> None:
    reference, model = pair
    ids, mask = rows()
    module = role_modules(model)["text_encoder"]
    assert module.inputs["input_ids"].axes == ("B", LENGTH)
    with torch.no_grad():
        # A mask as a tokenizer gives it: off where the padding is.
        tokens, embeds = module(ids, ids != END)
        theirs = reference.get_text_features(ids)
    assert difference(tokens, theirs.last_hidden_state) < 1e-4
    assert difference(embeds, F.normalize(theirs.pooler_output, dim=-1)) < 1e-4
    assert difference(model.encode_text(ids, mask)[1], embeds) == 0


def test_a_photo_that_is_not_square_agrees(pair: tuple[SiglipModel, DualEncoder]) -> None:
    reference, model = pair
    patch = reference.config.vision_config.patch_size
    wide = torch.randn(2, 3, 3 * patch, 5 * patch, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        theirs = reference.get_image_features(wide, interpolate_pos_encoding=True).pooler_output
        ours = model.encode_image(wide)[2]
    assert difference(ours, F.normalize(theirs, dim=-1)) < 1e-4


def test_gradients_of_the_sigmoid_loss_agree(tmp_path: Path) -> None:
    reference = make("plain", tmp_path)
    model, _ = read(tmp_path)
    ids, mask = rows()
    seen = pixels(reference, count=4)
    theirs = reference(input_ids=ids, pixel_values=seen, return_loss=True).loss
    logits = model.logits_per_image(model.encode_image(seen)[2], model.encode_text(ids, mask)[1])
    signs = 2 * torch.eye(4) - 1
    ours = -F.logsigmoid(signs * logits).sum() / 4
    names = {
        "image_encoder.patch_embed.bias": "vision_model.embeddings.patch_embedding.bias",
        "image_encoder.norm.weight": "vision_model.post_layernorm.weight",
        "image_pooling.norm.weight": "vision_model.head.layernorm.weight",
        "image_pooling.mlp.up.weight": "vision_model.head.mlp.fc1.weight",
        "image_pooling.attention.out.weight": "vision_model.head.attention.out_proj.weight",
        "text_embedding.tokens.weight": "text_model.embeddings.token_embedding.weight",
        "text_encoder.blocks.1.attention.value.weight": "text_model.encoder.layers.1.self_attn.v_proj.weight",
        "text_projection.bias": "text_model.head.bias",
    }
    assert_gradients_agree(model, reference, names, ours, theirs)
    probe = reference.vision_model.head.probe.grad
    assert probe is not None and model.image_pooling is not None
    assert difference(model.image_pooling.query.grad, probe[0, 0]) < 1e-4
    assert model.logit_bias is not None and model.logit_bias.grad is not None
    assert difference(model.logit_bias.grad, reference.logit_bias.grad[0]) < 1e-4


def test_stored_position_numbers_are_passed_over(tmp_path: Path) -> None:
    make("plain", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["text_model.embeddings.position_ids"] = torch.arange(LENGTH)[None]
    weights["vision_model.embeddings.position_ids"] = torch.arange(16)[None]
    save_file(weights, tmp_path / "model.safetensors")
    read(tmp_path)


def test_what_a_configuration_leaves_out_is_as_in_transformers(tmp_path: Path) -> None:
    # As published: google/siglip-base-patch16-224 says no more than this.
    parts = {"text_config": {"model_type": "siglip_text_model"}, "vision_config": {}}
    checkpoint = folder_without_weights(tmp_path, {"model_type": "siglip", **parts})
    with torch.device("meta"):
        model = family_of(checkpoint).build(checkpoint)
        reference = SiglipModel(SiglipConfig())
    assert isinstance(model, DualEncoder)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in reference.parameters())
    image, text = model.config.image, model.config.text
    for one in (image, text):
        assert (one.num_heads, one.activation, one.norm_eps) == (12, "gelu_tanh", 1e-6)
    assert (image.patch_size, text.context_length) == (16, 64)


def test_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    make("plain", tmp_path)
    assert_faults_are_listed(tmp_path, "vision_model.head.probe", "text_model.head.weight")


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("vision_config", {"vision_use_head": False}, "no pooling head"),
        ("text_config", {"projection_size": 25}, "width 24, not 25"),
        ("text_config", {"hidden_act": "swish"}, "swish"),
    ],
)
def test_configurations_it_cannot_be_are_refused(
    part: str, change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    make("plain", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    rewrite_config(tmp_path, **{part: {**config[part], **change}})
    with pytest.raises(CheckpointError, match=words):
        read(tmp_path)


def test_naflex_is_refused(tmp_path: Path) -> None:
    make("plain", tmp_path)
    rewrite_config(tmp_path, model_type="siglip2")
    with pytest.raises(CheckpointError, match="siglip2"):
        read(tmp_path)


# --- words --------------------------------------------------------------------------------------------


def encoder(reading: Reading) -> Tokenizer:
    assert reading.tokenizer_json is not None and reading.text is not None
    return Tokenizer(reading.tokenizer_json.decode(), reading.text)


def words(tokenizer: Tokenizer, text: str) -> list[str | None]:
    """The tokens of a text, its end and padding left out."""
    ids, mask = tokenizer.encode([text], lead_id=None)
    assert ids.shape == (1, LENGTH) and (ids[0][~mask[0]] == tokenizer.spec.pad_id).all()
    found = [int(one) for one in ids[0][mask[0]]]
    assert found[-1] == tokenizer.spec.eos_id
    return [tokenizer.token(one) for one in found[:-1]]


def test_a_piece_file_alone_is_enough(tmp_path: Path) -> None:
    make("plain", tmp_path)
    _, reading = read(tmp_path)
    text = reading.text
    assert text is not None and (text.bos_id, text.eos_id, text.pad_id) == (None, END, END)
    assert (text.padding, text.side, text.lower_case, text.context_length) == ("fixed", "right", True, LENGTH)
    assert reading.languages == ("en",)
    tokenizer = encoder(reading)
    cats = ["▁the", "▁cat"]
    for spelt in ("the cat", "The  CAT!", " the\tcat ", "the, cat...", "(the) cat"):
        assert [one for one in words(tokenizer, spelt) if one != "▁"] == cats, spelt
    assert words(tokenizer, "the cat") == cats
    assert words(tokenizer, "cat's boating") == ["▁cat", "s", "▁boat", "ing"]
    # The best way to spell it, not the longest first: -4.375 + -6.0 beats any that has more pieces.
    assert words(tokenizer, "cars") == ["▁car", "s"]
    # A sign that ends a text is no end when someone types it.
    assert words(tokenizer, "the</s>") == ["▁the", "s"]
    # A row of characters that nothing spells is one unknown; it stays in the text.
    assert words(tokenizer, "the 狗猫 cat") == ["▁the", "▁", "<unk>", "▁cat"]


def test_a_long_text_is_cut_and_still_ends(tmp_path: Path) -> None:
    make("plain", tmp_path)
    ids, mask = encoder(read(tmp_path)[1]).encode(["the cat " * 30, "cat"], lead_id=None)
    assert ids.shape == (2, LENGTH) and mask[0].all()
    assert ids[0, -1] == END and (ids[1, 1:] == END).all()


def test_a_tokenizer_file_gets_what_it_lacks(tmp_path: Path) -> None:
    """Others' conversions strip punctuation in the file or leave it to the class; both read alike."""
    make("plain", tmp_path)
    _, reading = read(tmp_path)
    document = json.loads(reading.tokenizer_json or b"")
    for normalizer in (document["normalizer"], None):
        (tmp_path / "tokenizer.json").write_text(json.dumps({**document, "normalizer": normalizer}))
        (tmp_path / "spiece.model").unlink(missing_ok=True)
        tokenizer = encoder(read(tmp_path)[1])
        with_space = [one for one in words(tokenizer, "▁the ▁cat") if one not in ("▁", "<unk>")]
        assert "▁cat" in with_space or normalizer is None
        assert "!" not in words(tokenizer, "▁the!") and "<unk>" not in words(tokenizer, "▁the!")


def test_the_second_keeps_its_punctuation(tmp_path: Path) -> None:
    reference = make_second(tmp_path)
    model, reading = read(tmp_path)
    assert_towers_agree(model, reference, pixels(reference), *rows())
    text = reading.text
    assert text is not None and (text.bos_id, text.eos_id, text.pad_id) == (None, 1, 0)
    assert text.lower_case and text.padding == "fixed" and text.side == "right"
    assert reading.languages == ("en", "zh") and set(reading.prompts["classify"]) == {"en", "zh"}
    tokenizer = encoder(reading)
    assert "!" in words(tokenizer, "The CAT!")
    theirs = Siglip2Tokenizer.from_pretrained(tmp_path, padding_side="right")
    for one in ("the cat", "The CAT, the... cat!", "a 猫 的 é", "x y  z", "it's", "ÀB 🐕"):
        expected = theirs.tokenize(one.lower())
        assert words(tokenizer, one) == expected[: LENGTH - 1], one


TEXTS = [
    "the cat on the grass",
    "This is a photo of a dog.",
    "The CAT, in  the\tcar!",
    "don't stop-believing... cats' & dogs",
    "naïve café — ÅNGSTRÖM Ｆｕｌｌ width ½",
    "狗和猫 on green grass",
    "emoji 🐕‍🦺 and ™ 3.14",
    "a_b (c) [d] {e} <f> ~g^h`",
    "\u3000wide space\u00a0and\u200bnone",
    "boat" * 9,
]


def test_texts_become_the_ids_of_the_reference(tmp_path: Path) -> None:
    """Over a model that sentencepiece itself has learned, with its rules for characters."""
    make("plain", tmp_path)
    # Not of all: what it has not seen is unknown to it.
    seen = [*TEXTS[:5], *TEXTS[7:], "the photo of a boat in the green sea"]
    lines = [one.lower() for one in seen] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(tmp_path / "learned"),
        model_type="unigram",
        vocab_size=90,
        character_coverage=1.0,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=END,
        unk_id=UNKNOWN_ID,
        bos_id=-1,
        minloglevel=2,
    )
    (tmp_path / "spiece.model").write_bytes((tmp_path / "learned.model").read_bytes())
    tokenizer = encoder(read(tmp_path)[1])
    theirs = SiglipTokenizer(str(tmp_path / "spiece.model"), model_max_length=LENGTH)
    unknown = 0
    for text in [*TEXTS, *(f"{one} {other}" for one in TEXTS[2:] for other in TEXTS[4:9])]:
        expected = theirs(text, padding="max_length", truncation=True)["input_ids"]
        found = tokenizer.encode([text], lead_id=None)[0][0].tolist()
        assert found == expected, text
        unknown += expected.count(UNKNOWN_ID)
    assert unknown, "nothing was unknown, so this says nothing of it"


@pytest.mark.parametrize("length", [1, 40, 400])
def test_a_piece_file_cut_off_is_named(length: int, tmp_path: Path) -> None:
    make("plain", tmp_path)
    (tmp_path / "spiece.model").write_bytes(model_file()[:-length])
    with pytest.raises(CheckpointError, match=r"spiece\.model: cut off or no SentencePiece"):
        read(tmp_path)


def test_piece_files_of_other_kinds() -> None:
    with pytest.raises(CheckpointError, match="model_type is 2"):
        read_unigram(model_file(model_type=2), "x.model")
    with pytest.raises(CheckpointError, match="0 of them for what is unknown"):
        read_unigram(model_file([("a", 0.0, NORMAL)]), "x.model")
    for noise in (b"\xff" * 40, b"\x0b\x01", b"no model at all" * 9, b"\x0a\x80"):
        with pytest.raises(CheckpointError, match=r"^x\.model: "):
            read_unigram(noise, "x.model")
    pieces = [("<unk>", 0.0, UNKNOWN), ("</s>", 0.0, CONTROL), ("[x]", 0.0, WHOLE), ("<0x41>", -9.0, BYTE)]
    found = read_unigram(model_file(pieces), "x.model")
    assert (found.unknown_id, found.whole, found.spells_bytes, len(found.pieces)) == (0, ("[x]",), True, 4)


# --- the bundle ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[SiglipModel, Path, seetell.Model]:
    folder = tmp_path_factory.mktemp("siglip")
    reference = make("pixels left over", folder / "siglip")
    found = assert_bundle_answers_as_torch(
        folder / "siglip",
        folder / "bundle",
        ["a cat", "the red car, on grass!"],
        ["cat", "dog", "green boat"],
    )
    return reference, folder / "siglip", found


@pytest.mark.slow
def test_the_bundle_answers_as_torch_and_the_reference(
    bundle: tuple[SiglipModel, Path, seetell.Model],
) -> None:
    reference, folder, model = bundle
    texts = ["a dog", "The red boat.", "the grass in the boat"]
    _, reading = read(folder)
    ids, _ = encoder(reading).encode(texts, lead_id=None)
    photo = photos(1)[0]
    processor = SiglipImageProcessorPil.from_pretrained(folder)
    seen = torch.as_tensor(np.asarray(processor(photo, return_tensors="np")["pixel_values"]))
    with torch.no_grad():
        theirs = reference(input_ids=torch.from_numpy(ids), pixel_values=seen)
    expected = theirs.logits_per_image[0].sigmoid()
    found = model.match(photo, texts)
    assert difference([one.probability for one in found], expected) < 1e-4
    # One text alone has the probability it has among others.
    assert model.match(photo, texts[1])[0].probability == pytest.approx(float(expected[1]), abs=1e-4)
    assert model.manifest.score.kind == "sigmoid"


# --- full size ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("vocab_size", "patch_size", "image_size"), [(32000, 16, 224), (256000, 16, 224)])
def test_the_published_sizes_agree(vocab_size: int, patch_size: int, image_size: int, tmp_path: Path) -> None:
    """google/siglip-base-patch16-224 and google/siglip2-base-patch16-224; seeded weights."""
    sizes = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    }
    config = SiglipConfig(
        text_config={**sizes, "vocab_size": vocab_size, "max_position_embeddings": 64},
        vision_config={**sizes, "patch_size": patch_size, "image_size": image_size},
    )
    reference = shake(SiglipModel(config), seed=9)
    reference.save_pretrained(tmp_path)
    checkpoint = CheckpointFolder(tmp_path)
    model = load_model(checkpoint, family_of(checkpoint))
    assert isinstance(model, DualEncoder)
    assert_towers_agree(model, reference, pixels(reference, 2), *rows(2, 64), tolerance=1e-3)
