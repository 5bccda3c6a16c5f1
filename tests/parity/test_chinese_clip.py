"""Chinese-CLIP gives what transformers' ChineseCLIPModel gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import BertTokenizer, ChineseCLIPConfig, ChineseCLIPImageProcessorPil, ChineseCLIPModel

from seetell.bundle.tokenizer import Tokenizer
from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.registry import family_of
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import load_model
from seetell.modeling.models.dual_encoder import DualEncoder
from tests.parity.checkpoint_files import folder_without_weights
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

CHARACTERS = "一只猫狗在草地上跑的照片张红色汽车船绿大小人树和没有"
WORDS = ["a", "cat", "dog", "##s", "##ing", "photo", "1", "2", ",", ".", "!", "-"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "，", "。", *CHARACTERS, *WORDS]
PAD, CLS, SEP = 0, 2, 3
LENGTH = 18

SHAPES: dict[str, dict[str, Any]] = {
    "plain": {"text": tower(24, 4), "vision": tower(32, 2, patch_size=8, image_size=32)},
    "odd heads, another activation": {
        "text": tower(21, 3, hidden_act="gelu_new", num_hidden_layers=3, type_vocab_size=1),
        "vision": tower(40, 5, patch_size=16, image_size=48, hidden_act="gelu", layer_norm_eps=1e-3),
    },
    "small patches": {
        "text": tower(30, 5, hidden_act="relu", layer_norm_eps=1e-3),
        "vision": tower(24, 3, patch_size=4, image_size=16, num_hidden_layers=1),
    },
}


def make(shape: str, folder: Path) -> ChineseCLIPModel:
    """The reference, saved to ``folder`` with its tokenizer and preprocessing."""
    settings = SHAPES[shape]
    text = {**settings["text"], "vocab_size": len(VOCABULARY), "max_position_embeddings": LENGTH}
    config = ChineseCLIPConfig(
        text_config=text, vision_config=settings["vision"], projection_dim=settings.get("shared", 18)
    )
    config._attn_implementation = "eager"
    reference = shake(ChineseCLIPModel(config), seed=len(shape))
    reference.save_pretrained(folder)
    size = settings["vision"]["image_size"]
    # As published: squashed, not cropped.
    squashed = {"size": {"height": size, "width": size}, "do_center_crop": False}
    ChineseCLIPImageProcessorPil(**squashed).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return reference


@pytest.fixture(scope="module", params=list(SHAPES))
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ChineseCLIPModel, DualEncoder]:
    folder = tmp_path_factory.mktemp("chinese_clip")
    reference = make(request.param, folder)
    return reference, read(folder)[0]


def texts(side: str, lengths: tuple[int, ...] = (7, 12, 2, 12)) -> tuple[Tensor, Tensor]:
    """Rows of a start, words and an end, padded on one side: int64[B, T] and bool[B, T]."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.full((len(lengths), max(lengths)), PAD)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    for row, length in enumerate(lengths):
        words = torch.randint(5, len(VOCABULARY), (length - 2,), generator=generator)
        first = 0 if side == "right" else max(lengths) - length
        ids[row, first : first + length] = torch.tensor([CLS, *words.tolist(), SEP])
        mask[row, first : first + length] = True
    return ids, mask


def pixels(model: ChineseCLIPModel, count: int = 3) -> Tensor:
    size = model.config.vision_config.image_size
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


# On the left the reference pools at the padding, which is no worse than any other row of numbers.
@pytest.mark.parametrize("side", ["right", "left"])
def test_both_encoders_and_the_logits_agree(side: str, pair: tuple[ChineseCLIPModel, DualEncoder]) -> None:
    reference, model = pair
    assert_towers_agree(model, reference, pixels(reference), *texts(side))


def test_a_photo_that_is_not_square_agrees(pair: tuple[ChineseCLIPModel, DualEncoder]) -> None:
    reference, model = pair
    patch = reference.config.vision_config.patch_size
    wide = torch.randn(2, 3, 3 * patch, 5 * patch, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        theirs = reference.get_image_features(wide, interpolate_pos_encoding=True).pooler_output
        ours = model.encode_image(wide)[2]
    assert difference(ours, F.normalize(theirs, dim=-1)) < 1e-4


def test_gradients_of_the_contrastive_loss_agree(tmp_path: Path) -> None:
    reference = make("plain", tmp_path)
    model, _ = read(tmp_path)
    ids, mask = texts("right")
    seen = pixels(reference, count=4)
    theirs = reference(input_ids=ids, pixel_values=seen, attention_mask=mask.long(), return_loss=True).loss
    logits = model.logits_per_image(model.encode_image(seen)[2], model.encode_text(ids, mask)[1])
    place = torch.arange(4)
    ours = (F.cross_entropy(logits, place) + F.cross_entropy(logits.T, place)) / 2
    layer = "text_model.encoder.layer.1."
    names = {
        "logit_scale": "logit_scale",
        "image_projection.weight": "visual_projection.weight",
        "text_embedding.norm.weight": "text_model.embeddings.LayerNorm.weight",
        "text_embedding.positions.table.weight": "text_model.embeddings.position_embeddings.weight",
        "text_encoder.blocks.1.attention.query.weight": f"{layer}attention.self.query.weight",
        "text_encoder.blocks.1.attention_norm.bias": f"{layer}attention.output.LayerNorm.bias",
        "text_encoder.blocks.1.mlp.up.weight": f"{layer}intermediate.dense.weight",
        "text_encoder.blocks.1.mlp_norm.weight": f"{layer}output.LayerNorm.weight",
        "text_projection.weight": "text_projection.weight",
    }
    # The padding's embedding is held fixed by the reference, and nothing is learned from it here.
    assert_gradients_agree(model, reference, names, ours, theirs)


def test_published_files_of_old_read(tmp_path: Path) -> None:
    reference = make("plain", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    for part, length in (("text_model", LENGTH), ("vision_model", 17)):
        weights[f"{part}.embeddings.position_ids"] = torch.arange(length)[None]
    # Of BERT's pooling, which transformers 4 saved where the tower had been loaded with it.
    weights["text_model.pooler.dense.weight"] = torch.ones(24, 24)
    save_file(weights, tmp_path / "model.safetensors")
    model, _ = read(tmp_path)
    assert_towers_agree(model, reference, pixels(reference), *texts("right"))


def test_what_a_configuration_leaves_out_is_as_in_transformers(tmp_path: Path) -> None:
    checkpoint = folder_without_weights(tmp_path, {"model_type": "chinese_clip"})
    with torch.device("meta"):
        model = family_of(checkpoint).build(checkpoint)
        reference = ChineseCLIPModel(ChineseCLIPConfig())
    assert isinstance(model, DualEncoder)
    shapes = sorted(tuple(one.shape) for one in reference.parameters())
    assert sorted(tuple(one.shape) for one in model.parameters()) == shapes
    image, text = model.config.image, model.config.text
    assert (image.num_heads, image.activation, image.norm_eps) == (12, "quick_gelu", 1e-5)
    assert (text.num_heads, text.activation, text.norm_eps) == (12, "gelu", 1e-12)


def test_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    make("plain", tmp_path)
    assert_faults_are_listed(tmp_path, "text_model.embeddings.LayerNorm.weight", "visual_projection.weight")


def test_an_image_tower_of_another_make_is_refused(tmp_path: Path) -> None:
    make("plain", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    rewrite_config(tmp_path, vision_config={**config["vision_config"], "patch_size": [8, 4]})
    with pytest.raises(CheckpointError, match="only square ones"):
        read(tmp_path)


KNOWN = [
    "一只猫在草地上跑",
    "红色的汽车，和一只狗。",
    "A Photo, 2 cats, 一张照片!",
    "  没有  人\t ",
    "dogs-cats - a dog.",
    "照片" * 20,
]
# With characters that the vocabulary has not.
UNKNOWN = ["龙在草地上", "cat 🐕 dog", "naïve Dög"]


def encoded(folder: Path, text: str) -> tuple[list[int], list[int]]:
    _, reading = read(folder)
    assert reading.tokenizer_json is not None and reading.text is not None
    tokenizer = Tokenizer(reading.tokenizer_json.decode(), reading.text)
    ids, _ = tokenizer.encode([text], lead_id=reading.text.bos_id)
    theirs = BertTokenizer.from_pretrained(folder)(text, truncation=True, max_length=LENGTH)
    return ids[0].tolist(), theirs["input_ids"]


@pytest.mark.parametrize("text", KNOWN)
def test_texts_become_the_same_ids(text: str, tmp_path: Path) -> None:
    make("plain", tmp_path)
    ours, theirs = encoded(tmp_path, text)
    assert ours == theirs


@pytest.mark.parametrize("text", UNKNOWN)
def test_unknown_words_stay_in_the_text(text: str, tmp_path: Path) -> None:
    make("plain", tmp_path)
    ours, theirs = encoded(tmp_path, text)
    assert VOCABULARY.index("[UNK]") in theirs
    assert ours == theirs


@pytest.mark.slow
def test_the_bundle_answers_as_torch(tmp_path: Path) -> None:
    make("plain", tmp_path / "chinese")
    bundle = assert_bundle_answers_as_torch(
        tmp_path / "chinese", tmp_path / "bundle", ["一只猫", "红色的汽车在草地上"], ["猫", "狗", "汽车"]
    )
    assert bundle.languages == ("zh",)
    assert bundle.manifest.image is not None and bundle.manifest.image.resize == "squash"


@pytest.mark.slow
def test_the_published_sizes_agree(tmp_path: Path) -> None:
    """OFA-Sys/chinese-clip-vit-base-patch16; seeded weights."""
    sizes = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    }
    config = ChineseCLIPConfig(
        text_config={**sizes, "vocab_size": 21128, "max_position_embeddings": 512},
        vision_config={**sizes, "image_size": 224, "patch_size": 16},
        projection_dim=512,
    )
    reference = shake(ChineseCLIPModel(config), seed=9)
    reference.save_pretrained(tmp_path)
    checkpoint = CheckpointFolder(tmp_path)
    model = load_model(checkpoint, family_of(checkpoint))
    assert isinstance(model, DualEncoder)
    assert_towers_agree(model, reference, pixels(reference, 2), *texts("right", (30, 9)), tolerance=1e-3)
