"""CLIP gives what transformers' CLIPModel gives, in both layouts its checkpoints come in.

open_clip itself is no test dependency (it needs torchvision, which has no build for the torch pinned here).
Its layout is made from a seeded CLIPModel by :func:`open_clip_weights`, a map written from open_clip's own
source (``CLIP``, ``VisionTransformer`` and ``ResidualAttentionBlock`` of its ``model.py`` and
``transformer.py``) and not from the table under test. So these tests show that names, fused matrices and
transposed projections are read as that source says, not that open_clip was run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

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

MERGES = [("t", "h"), ("th", "e</w>"), ("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>"), ("i", "n")]
BYTES = sorted(ByteLevel.alphabet())
# In the order of OpenAI's: bytes, bytes that end a word, merges, start, end.
WORDS = [*BYTES, *(f"{one}</w>" for one in BYTES), *("".join(one) for one in MERGES)]
VOCABULARY = {word: number for number, word in enumerate([*WORDS, "<|startoftext|>", "<|endoftext|>"])}
START, END = len(VOCABULARY) - 2, len(VOCABULARY) - 1
LENGTH = 20

SHAPES: dict[str, dict[str, Any]] = {
    "plain": {"text": tower(24, 4), "vision": tower(32, 2, patch_size=8, image_size=32)},
    "odd heads, another activation": {
        "text": tower(21, 3, hidden_act="gelu", num_hidden_layers=3),
        "vision": tower(40, 5, patch_size=16, image_size=48, hidden_act="gelu", layer_norm_eps=1e-3),
    },
    # As published before July 2023, when the configuration did not know which id ends a text.
    "end of text untold": {
        "text": tower(24, 2, eos_token_id=2, hidden_act="gelu_pytorch_tanh"),
        "vision": tower(24, 3, patch_size=4, image_size=16, num_hidden_layers=1),
    },
}


def save_words(folder: Path, *, as_one_file: bool) -> None:
    """CLIP's tokenizer over a small vocabulary, as new repositories have it or as old ones do."""
    if as_one_file:
        CLIPTokenizer(vocab=VOCABULARY, merges=MERGES).save_pretrained(folder)
        return
    (folder / "vocab.json").write_text(json.dumps(VOCABULARY))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")


def make(shape: str, folder: Path) -> CLIPModel:
    """The reference, saved to ``folder`` with its tokenizer and preprocessing."""
    settings = SHAPES[shape]
    text = {"eos_token_id": END, "bos_token_id": START, "pad_token_id": 1, **settings["text"]}
    text.update(vocab_size=len(VOCABULARY), max_position_embeddings=LENGTH)
    config = CLIPConfig(
        text_config=text, vision_config=settings["vision"], projection_dim=settings.get("shared", 18)
    )
    config._attn_implementation = "eager"
    reference = shake(CLIPModel(config), seed=len(shape))
    reference.save_pretrained(folder)
    size = settings["vision"]["image_size"]
    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    processor.save_pretrained(folder)
    save_words(folder, as_one_file=shape == "plain")
    return reference


@pytest.fixture(scope="module", params=list(SHAPES))
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[CLIPModel, DualEncoder]:
    folder = tmp_path_factory.mktemp("clip")
    reference = make(request.param, folder)
    return reference, read(folder)[0]


def texts(side: str, pad: int, lengths: tuple[int, ...] = (7, 12, 2, 12)) -> tuple[Tensor, Tensor]:
    """Rows of a start, words and an end, padded on one side: int64[B, T] and bool[B, T]."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.full((len(lengths), max(lengths)), pad)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    for row, length in enumerate(lengths):
        words = torch.randint(2, START, (length - 2,), generator=generator)
        first = 0 if side == "right" else max(lengths) - length
        ids[row, first : first + length] = torch.tensor([START, *words.tolist(), END])
        mask[row, first : first + length] = True
    return ids, mask


def pixels(model: CLIPModel, count: int = 3) -> Tensor:
    size = model.config.vision_config.image_size
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


# With the padding that CLIP's tokenizer uses (its end of text), and with one that is a word's id.
@pytest.mark.parametrize(("side", "pad"), [("right", END), ("right", 0), ("left", 1)])
def test_both_encoders_and_the_logits_agree(side: str, pad: int, pair: tuple[CLIPModel, DualEncoder]) -> None:
    reference, model = pair
    assert_towers_agree(model, reference, pixels(reference), *texts(side, pad))


def test_padding_on_the_left_with_the_end_of_text_is_not_taken_for_the_end(
    pair: tuple[CLIPModel, DualEncoder],
) -> None:
    # The reference pools at the padding then; a row that needs none says what is right.
    _, model = pair
    ids, mask = texts("left", END, lengths=(5, 9))
    with torch.no_grad():
        padded = model.encode_text(ids, mask)[1]
        # Positions are places in the row, so the same row is asked with other padding, not without.
        other = model.encode_text(ids.masked_fill(~mask, 4), mask)[1]
    assert difference(padded, other) < 1e-6


def test_a_photo_that_is_not_square_agrees(pair: tuple[CLIPModel, DualEncoder]) -> None:
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
    ids, mask = texts("right", END)
    seen = pixels(reference, count=4)
    theirs = reference(input_ids=ids, pixel_values=seen, attention_mask=mask.long(), return_loss=True).loss
    logits = model.logits_per_image(model.encode_image(seen)[2], model.encode_text(ids, mask)[1])
    place = torch.arange(4)
    ours = (F.cross_entropy(logits, place) + F.cross_entropy(logits.T, place)) / 2
    layer = "self_attn.q_proj.weight"
    names = {
        "logit_scale": "logit_scale",
        "image_encoder.patch_embed.weight": "vision_model.embeddings.patch_embedding.weight",
        "image_encoder.class_token": "vision_model.embeddings.class_embedding",
        "image_encoder.pre_norm.bias": "vision_model.pre_layrnorm.bias",
        "image_encoder.transformer.blocks.1.attention.query.weight": f"vision_model.encoder.layers.1.{layer}",
        "image_norm.weight": "vision_model.post_layernorm.weight",
        "image_projection.weight": "visual_projection.weight",
        "text_embedding.tokens.weight": "text_model.embeddings.token_embedding.weight",
        "text_embedding.positions.table.weight": "text_model.embeddings.position_embedding.weight",
        "text_encoder.blocks.0.mlp.down.weight": "text_model.encoder.layers.0.mlp.fc2.weight",
        "text_norm.bias": "text_model.final_layer_norm.bias",
        "text_projection.weight": "text_projection.weight",
    }
    assert_gradients_agree(model, reference, names, ours, theirs)


def test_published_files_of_old_read(tmp_path: Path) -> None:
    """What transformers 4 and its early versions wrote, and this one does not: stored position numbers, a
    scale of shape [1], a configuration beside the configuration which wins."""
    reference = make("plain", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["text_model.embeddings.position_ids"] = torch.arange(LENGTH)[None]
    weights["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    weights["logit_scale"] = weights["logit_scale"].reshape(1)
    save_file(weights, tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    right = config["text_config"]
    wrong = {**right, "hidden_act": "relu", "num_attention_heads": 2, "eos_token_id": 2}
    rewrite_config(tmp_path, text_config=wrong, text_config_dict=right, vision_config_dict=None)
    model, _ = read(tmp_path)
    assert model.config.text.eos_id == END
    assert_towers_agree(model, reference, pixels(reference), *texts("right", END))


def test_what_a_configuration_leaves_out_is_as_in_transformers(tmp_path: Path) -> None:
    checkpoint = folder_without_weights(tmp_path, {"model_type": "clip", "text_config": {}})
    with torch.device("meta"):
        model = family_of(checkpoint).build(checkpoint)
        reference = CLIPModel(CLIPConfig())
    assert isinstance(model, DualEncoder)
    shapes = sorted(tuple(one.shape) for one in reference.parameters())
    assert sorted(tuple(one.shape) for one in model.parameters()) == shapes
    image, text = model.config.image, model.config.text
    assert (image.num_heads, image.activation, image.norm_eps) == (12, "quick_gelu", 1e-5)
    assert (text.num_heads, text.activation, text.norm_eps, text.eos_id) == (8, "quick_gelu", 1e-5, 49407)


def test_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    make("plain", tmp_path)
    assert_faults_are_listed(tmp_path, "vision_model.pre_layrnorm.weight", "text_projection.weight")


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    make("plain", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    rewrite_config(tmp_path, text_config={**config["text_config"], "eos_token_id": 7})
    with pytest.raises(CheckpointError, match="ends texts with the id 7"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("vision_config", {"patch_size": [8, 4]}, "only square ones"),
        ("vision_config", {"num_channels": 4}, "4 channels"),
        ("text_config", {"hidden_act": "swish"}, "swish"),
        ("text_config", {"num_attention_heads": 7}, "multiple of num_heads 7"),
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


TEXTS = [
    "the cat in the dog",
    "The CAT, in  the\tdog!",
    "  spaces   everywhere \n",
    "it's they're we'll I'd",
    "3 dogs & 14 cats (or 15?)",
    "naïve café — ÅNGSTRÖM e\u0301",
    "狗和猫 在草地上",
    "emoji 🐕‍🦺 and ™",
    "x" * 60,
    "don't stop-believing... http://a.b/c?d=e#f",
]


@pytest.mark.parametrize("shape", ["plain", "end of text untold"])
def test_texts_become_the_same_ids(shape: str, tmp_path: Path) -> None:
    make(shape, tmp_path)
    _, reading = read(tmp_path)
    assert reading.tokenizer_json is not None and reading.text is not None
    tokenizer = Tokenizer(reading.tokenizer_json.decode(), reading.text)
    reference = CLIPTokenizer.from_pretrained(tmp_path)
    for text in [*TEXTS, *(f"{one} {other}" for one in TEXTS[:8] for other in TEXTS[4:9])]:
        ids, mask = tokenizer.encode([text, "the"], lead_id=reading.text.bos_id)
        theirs = reference([text, "the"], padding=True, truncation=True, max_length=LENGTH)
        assert ids.tolist() == theirs["input_ids"]
        assert mask.tolist() == [[bool(one) for one in row] for row in theirs["attention_mask"]]


@pytest.mark.slow
def test_the_bundle_answers_as_torch_and_the_reference(tmp_path: Path) -> None:
    reference = make("plain", tmp_path / "clip")
    words = ["the cat", "the dog in a car, and no cat"]
    bundle = assert_bundle_answers_as_torch(
        tmp_path / "clip", tmp_path / "bundle", words, ["cat", "dog", "the boat"]
    )
    given = CLIPTokenizer.from_pretrained(tmp_path / "clip")(
        words, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt"
    )
    with torch.no_grad():
        theirs = F.normalize(reference.get_text_features(**given).pooler_output, dim=-1)
    assert difference(bundle.embed_texts(words), theirs) < 1e-4
    assert bundle.manifest.score.logit_scale == pytest.approx(float(reference.logit_scale.detach()))


# --- open_clip's layout ---------------------------------------------------------------------------------


def open_clip_weights(theirs: dict[str, Tensor], *, text_prefix: str = "") -> dict[str, Tensor]:
    """A CLIPModel's weights under open_clip's names. See the module."""
    found = {
        "visual.class_embedding": theirs["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": theirs["vision_model.embeddings.position_embedding.weight"],
        "visual.conv1.weight": theirs["vision_model.embeddings.patch_embedding.weight"],
        "visual.proj": theirs["visual_projection.weight"].T,
        "logit_scale": theirs["logit_scale"],
        f"{text_prefix}positional_embedding": theirs["text_model.embeddings.position_embedding.weight"],
        f"{text_prefix}token_embedding.weight": theirs["text_model.embeddings.token_embedding.weight"],
        f"{text_prefix}text_projection": theirs["text_projection.weight"].T,
    }
    for kind in ("weight", "bias"):
        found[f"visual.ln_pre.{kind}"] = theirs[f"vision_model.pre_layrnorm.{kind}"]
        found[f"visual.ln_post.{kind}"] = theirs[f"vision_model.post_layernorm.{kind}"]
        found[f"{text_prefix}ln_final.{kind}"] = theirs[f"text_model.final_layer_norm.{kind}"]
        for part, prefix in (("vision_model", "visual."), ("text_model", text_prefix)):
            layer = 0
            while f"{part}.encoder.layers.{layer}.layer_norm1.{kind}" in theirs:
                old, new = f"{part}.encoder.layers.{layer}.", f"{prefix}transformer.resblocks.{layer}."
                # torch's MultiheadAttention stacks query, key and value, and has no dot before the kind.
                rows = [theirs[f"{old}self_attn.{one}_proj.{kind}"] for one in "qkv"]
                found[f"{new}attn.in_proj_{kind}"] = torch.cat(rows)
                found[f"{new}attn.out_proj.{kind}"] = theirs[f"{old}self_attn.out_proj.{kind}"]
                found[f"{new}ln_1.{kind}"] = theirs[f"{old}layer_norm1.{kind}"]
                found[f"{new}ln_2.{kind}"] = theirs[f"{old}layer_norm2.{kind}"]
                found[f"{new}mlp.c_fc.{kind}"] = theirs[f"{old}mlp.fc1.{kind}"]
                found[f"{new}mlp.c_proj.{kind}"] = theirs[f"{old}mlp.fc2.{kind}"]
                layer += 1
    return {name: tensor.detach().clone().contiguous() for name, tensor in found.items()}


def save_open_clip(
    folder: Path, *, quick_gelu: bool, text_prefix: str = "", **image_settings: Any
) -> CLIPModel:
    """A CLIPModel whose sizes open_clip's settings can say, saved as open_clip does."""
    activation = "quick_gelu" if quick_gelu else "gelu"
    folder.mkdir(exist_ok=True)
    config = CLIPConfig(
        text_config={
            **tower(20, 5, intermediate_size=80, hidden_act=activation, num_hidden_layers=3),
            "vocab_size": len(VOCABULARY),
            "max_position_embeddings": LENGTH,
            "bos_token_id": START,
            "eos_token_id": END,
        },
        vision_config=tower(
            48, 3, intermediate_size=105, hidden_act=activation, image_size=32, patch_size=16
        ),
        projection_dim=14,
    )
    config._attn_implementation = "eager"
    reference = shake(CLIPModel(config), seed=4)
    weights = open_clip_weights(dict(reference.state_dict()), text_prefix=text_prefix)
    save_file(weights, folder / "open_clip_model.safetensors")
    settings = {
        "model_cfg": {
            "embed_dim": 14,
            **({"quick_gelu": True} if quick_gelu else {}),
            **({"custom_text": True} if text_prefix else {}),
            "vision_cfg": {
                "image_size": 32,
                "layers": 2,
                "width": 48,
                "head_width": 16,
                "mlp_ratio": 2.2,
                "patch_size": 16,
                **image_settings,
            },
            "text_cfg": {
                "context_length": LENGTH,
                "vocab_size": len(VOCABULARY),
                "width": 20,
                "heads": 5,
                "layers": 3,
            },
        },
        "preprocess_cfg": {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.2]},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    save_words(folder, as_one_file=True)
    return reference


@pytest.mark.parametrize(("quick_gelu", "text_prefix"), [(False, ""), (True, ""), (False, "text.")])
def test_open_clip_layout_agrees(quick_gelu: bool, text_prefix: str, tmp_path: Path) -> None:
    reference = save_open_clip(tmp_path, quick_gelu=quick_gelu, text_prefix=text_prefix)
    model, reading = read(tmp_path)
    # open_clip pads with 0, a word's id, and pools at the largest id of the row.
    for pad in (0, END):
        assert_towers_agree(model, reference, pixels(reference), *texts("right", pad))
    assert reading.image is not None and reading.image.mean == (0.4, 0.5, 0.6)
    assert reading.text is not None and (reading.text.bos_id, reading.text.eos_id) == (START, END)


@pytest.mark.slow
def test_open_clip_bundle_answers_as_torch(tmp_path: Path) -> None:
    save_open_clip(tmp_path / "laion", quick_gelu=False)
    assert_bundle_answers_as_torch(
        tmp_path / "laion", tmp_path / "bundle", ["the cat", "a dog in the grass"], ["cat", "dog"]
    )


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("vision_cfg", {"timm_model_name": "vit_base_patch16_siglip_224"}, "timm_model_name"),
        ("vision_cfg", {"layers": [3, 4, 6, 3]}, "ResNet"),
        ("vision_cfg", {"pool_type": "avg"}, "pool_type 'avg'"),
        ("vision_cfg", {"ls_init_value": 1e-5}, "ls_init_value"),
        ("text_cfg", {"hf_model_name": "xlm-roberta-base"}, "hf_model_name"),
        ("text_cfg", {"no_causal_mask": True}, "no_causal_mask"),
    ],
)
def test_towers_of_other_makes_are_refused(
    part: str, change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    save_open_clip(tmp_path, quick_gelu=False)
    config = json.loads((tmp_path / "open_clip_config.json").read_text())
    model = config["model_cfg"]
    rewrite_config(tmp_path, "open_clip_config.json", model_cfg={**model, part: {**model[part], **change}})
    with pytest.raises(CheckpointError, match=words):
        read(tmp_path)


def test_open_clip_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    save_open_clip(tmp_path, quick_gelu=False)
    assert_faults_are_listed(tmp_path, "visual.ln_pre.bias", "transformer.resblocks.1.attn.out_proj.weight")


# --- full size ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["transformers", "open_clip"])
def test_the_published_sizes_agree(layout: str, tmp_path: Path) -> None:
    """openai/clip-vit-base-patch32, and the laion one of the same sizes with exact GELU; seeded weights."""
    activation = "quick_gelu" if layout == "transformers" else "gelu"
    config = CLIPConfig(
        text_config={
            "vocab_size": 49408,
            "hidden_size": 512,
            "intermediate_size": 2048,
            "num_hidden_layers": 12,
            "num_attention_heads": 8,
            "max_position_embeddings": 77,
            "hidden_act": activation,
            "eos_token_id": 49407,
        },
        vision_config={
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "image_size": 224,
            "patch_size": 32,
            "hidden_act": activation,
        },
        projection_dim=512,
    )
    reference = shake(CLIPModel(config), seed=9)
    if layout == "transformers":
        reference.save_pretrained(tmp_path)
    else:
        save_file(open_clip_weights(dict(reference.state_dict())), tmp_path / "open_clip_model.safetensors")
        model_cfg = {
            "embed_dim": 512,
            "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
            "text_cfg": {
                "context_length": 77,
                "vocab_size": 49408,
                "width": 512,
                "heads": 8,
                "layers": 12,
            },
        }
        (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg}))
    checkpoint = CheckpointFolder(tmp_path)
    model = load_model(checkpoint, family_of(checkpoint))
    assert isinstance(model, DualEncoder)
    ids = torch.randint(0, 49406, (2, 12), generator=torch.Generator().manual_seed(5))
    ids[:, 0], ids[0, 11], ids[1, 7:] = 49406, 49407, 49407
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1, 8:] = False
    assert_towers_agree(model, reference, pixels(reference, 2), ids, mask, tolerance=1e-3)
