"""BLIP (Li et al. 2022): captioning, question answering and retrieval, as transformers writes them."""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken, Tokenizer

from seetell.bundle.manifest import GenerationDefaults, TextSpec
from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.activations import activation_name
from seetell.modeling.checkpoints.generation_settings import unread_settings
from seetell.modeling.checkpoints.image_specs import image_spec
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Family, Reading, Rename
from seetell.modeling.checkpoints.tokenizer_files import token_id, tokenizer_json
from seetell.modeling.checkpoints.tying import is_tied
from seetell.modeling.models.grounded import (
    GroundedConfig,
    GroundedImageConfig,
    GroundedModel,
    GroundedTextConfig,
)

_CAPTIONING = "BlipForConditionalGeneration"
_ANSWERING = "BlipForQuestionAnswering"
_RETRIEVAL = "BlipForImageTextRetrieval"

# What transformers leaves out of a configuration where it equals these.
_IMAGE_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 384,
    "patch_size": 16,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
}
_TEXT_DEFAULTS: dict[str, Any] = {
    "vocab_size": 30524,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 512,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "bos_token_id": 30522,
    "pad_token_id": 0,
    "sep_token_id": 102,
}
# How transformers generates where a configuration does not say.
_GENERATION_DEFAULTS: dict[str, Any] = {
    "max_length": 20,
    "min_length": 0,
    "num_beams": 1,
    "length_penalty": 1.0,
    "repetition_penalty": 1.0,
}
# BLIP's start of a text to write. Published vocabularies end before it, at the 30522 words of BERT.
_START_TOKEN = "[DEC]"


def _settings(folder: CheckpointFolder, part: str, defaults: dict[str, Any]) -> dict[str, Any]:
    told = folder.config.get(part) or {}
    return {**defaults, **{key: value for key, value in told.items() if value is not None}}


def _build(folder: CheckpointFolder, architecture: str) -> GroundedModel:
    image = _settings(folder, "vision_config", _IMAGE_DEFAULTS)
    text = _settings(folder, "text_config", _TEXT_DEFAULTS)
    shared: dict[str, Any] = {}
    if architecture == _RETRIEVAL:
        # The temperature that retrieval was taught with is not in the checkpoint; this is its first value.
        shared["logit_scale"] = folder.config.get("logit_scale_init_value", 2.6592)
        shared["shared_dim"] = folder.config.get("image_text_hidden_size", 256)
    return GroundedModel(
        GroundedConfig(
            image=GroundedImageConfig(
                image_size=(image["image_size"],) * 2,
                patch_size=image["patch_size"],
                **_stack(image),
            ),
            text=GroundedTextConfig(
                vocab_size=text["vocab_size"],
                context_length=text["max_position_embeddings"],
                **_stack(text),
            ),
            encoder=architecture != _CAPTIONING,
            decoder=architecture != _RETRIEVAL,
            tied=is_tied(
                folder,
                "text_decoder.bert.embeddings.word_embeddings.weight",
                "text_decoder.cls.predictions.decoder.weight",
            ),
            **shared,
        )
    )


def _stack(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "embed_dim": settings["hidden_size"],
        "depth": settings["num_hidden_layers"],
        "num_heads": settings["num_attention_heads"],
        "mlp_ratio": settings["intermediate_size"] / settings["hidden_size"],
        "activation": activation_name(settings["hidden_act"]),
        "norm_eps": settings["layer_norm_eps"],
    }


def _text_rows(theirs: str, ours: str) -> list[Rename]:
    """A BERT with cross-attention. theirs: a regular expression without groups."""
    layer, block = rf"{theirs}encoder\.layer\.(\d+)\.", rf"{ours}stack.blocks.\1."
    return [
        Rename(rf"{theirs}embeddings\.word_embeddings\.weight", f"{ours}embedding.tokens.weight"),
        Rename(
            rf"{theirs}embeddings\.position_embeddings\.weight", f"{ours}embedding.positions.table.weight"
        ),
        Rename(rf"{theirs}embeddings\.LayerNorm\.(.+)", rf"{ours}embedding.norm.\1"),
        Rename(rf"{layer}attention\.self\.(.+)", rf"{block}attention.\2"),
        Rename(rf"{layer}attention\.output\.dense\.(.+)", rf"{block}attention.out.\2"),
        Rename(rf"{layer}attention\.output\.LayerNorm\.(.+)", rf"{block}attention_norm.\2"),
        Rename(rf"{layer}crossattention\.self\.(.+)", rf"{block}cross_attention.\2"),
        Rename(rf"{layer}crossattention\.output\.dense\.(.+)", rf"{block}cross_attention.out.\2"),
        Rename(rf"{layer}crossattention\.output\.LayerNorm\.(.+)", rf"{block}cross_norm.\2"),
        Rename(rf"{layer}intermediate\.dense\.(.+)", rf"{block}mlp.up.\2"),
        Rename(rf"{layer}output\.dense\.(.+)", rf"{block}mlp.down.\2"),
        Rename(rf"{layer}output\.LayerNorm\.(.+)", rf"{block}mlp_norm.\2"),
    ]


_LAYER, _BLOCK = r"vision_model\.encoder\.layers\.(\d+)\.", r"image_encoder.transformer.blocks.\1."
_HEAD = r"text_decoder\.cls\.predictions\."

_NAMES = (
    Rename(
        r"vision_model\.embeddings\.class_embedding",
        "image_encoder.class_token",
        reshape=lambda tensor: tensor.reshape(-1),
    ),
    Rename(
        r"vision_model\.embeddings\.position_embedding",
        "image_encoder.positions",
        reshape=lambda tensor: tensor.squeeze(0),
    ),
    Rename(r"vision_model\.embeddings\.patch_embedding\.(.+)", r"image_encoder.patch_embed.\1"),
    Rename(
        rf"{_LAYER}self_attn\.qkv\.(.+)",
        tuple(rf"{_BLOCK}attention.{part}.\2" for part in ("query", "key", "value")),
    ),
    Rename(rf"{_LAYER}self_attn\.projection\.(.+)", rf"{_BLOCK}attention.out.\2"),
    Rename(rf"{_LAYER}layer_norm1\.(.+)", rf"{_BLOCK}attention_norm.\2"),
    Rename(rf"{_LAYER}layer_norm2\.(.+)", rf"{_BLOCK}mlp_norm.\2"),
    Rename(rf"{_LAYER}mlp\.fc1\.(.+)", rf"{_BLOCK}mlp.up.\2"),
    Rename(rf"{_LAYER}mlp\.fc2\.(.+)", rf"{_BLOCK}mlp.down.\2"),
    Rename(r"vision_model\.post_layernorm\.(.+)", r"image_encoder.norm.\1"),
    *_text_rows(r"text_encoder\.", "text_encoder."),
    *_text_rows(r"text_decoder\.bert\.", "text_decoder."),
    # The matrix is mostly tied to the embedding, and setting one then sets both. The bias has two names.
    Rename(rf"{_HEAD}decoder\.weight", "token_head.matrix"),
    Rename(rf"{_HEAD}(?:decoder\.)?bias", "token_head.bias"),
    Rename(rf"{_HEAD}transform\.dense\.(.+)", r"token_head.dense.\1"),
    Rename(rf"{_HEAD}transform\.LayerNorm\.(.+)", r"token_head.norm.\1"),
    Rename(r"vision_proj\.(.+)", r"image_projection.\1"),
    Rename(r"text_proj\.(.+)", r"text_projection.\1"),
    Rename(r"itm_head\.(.+)", r"match_head.\1"),
)


def _reading(folder: CheckpointFolder, architecture: str) -> Reading:
    size = _settings(folder, "vision_config", _IMAGE_DEFAULTS)["image_size"]
    text = _settings(folder, "text_config", _TEXT_DEFAULTS)
    tokenizer, start = tokenizer_json(folder), int(text["bos_token_id"])
    # Texts to read are led by [CLS], as transformers leads them. The authors' own code puts [ENC] there, a
    # token that published vocabularies lack.
    lead = token_id(tokenizer, "[CLS]")
    starts: dict[str, Any] = {}
    if architecture != _RETRIEVAL:
        tokenizer = _with_start(folder, tokenizer, start)
        starts = (
            {"answer_start_id": start} if architecture == _ANSWERING else {"decoder_start_ids": {"en": start}}
        )
    return Reading(
        image=image_spec(folder, size=(size, size)),
        text=TextSpec(
            context_length=text["max_position_embeddings"],
            bos_id=lead,
            eos_id=text["sep_token_id"],
            pad_id=text["pad_token_id"],
            **starts,
        ),
        tokenizer_json=tokenizer,
        languages=("en",),
        generation=_generation(folder) if architecture == _CAPTIONING else GenerationDefaults(),
        unread=unread_settings(text) if architecture == _CAPTIONING else (),
    )


def _with_start(folder: CheckpointFolder, tokenizer_json: bytes, start: int) -> bytes:
    """The tokenizer with the token that decoding starts from, where its vocabulary ends right before it."""
    tokenizer = Tokenizer.from_str(tokenizer_json.decode("utf-8"))
    if start < tokenizer.get_vocab_size(with_added_tokens=True):
        return tokenizer_json
    tokenizer.add_special_tokens([AddedToken(_START_TOKEN, special=True, normalized=False)])
    if tokenizer.token_to_id(_START_TOKEN) != start:
        raise CheckpointError(
            f"{folder.folder}: texts start from the id {start}, and its tokenizer has "
            f"{tokenizer.get_vocab_size(with_added_tokens=True) - 1} tokens; take tokenizer and config.json "
            "from one place"
        )
    return tokenizer.to_str().encode("utf-8")


def _generation(folder: CheckpointFolder) -> GenerationDefaults:
    """BLIP's decoder generates by the settings in text_config, which older files hold."""
    told = _settings(folder, "text_config", _GENERATION_DEFAULTS)
    # transformers adds its default length to that of the start token, and takes another as the whole.
    default = told["max_length"] == _GENERATION_DEFAULTS["max_length"]
    return GenerationDefaults(
        beams=told["num_beams"],
        max_tokens=told["max_length"] if default else max(1, told["max_length"] - 1),
        min_tokens=max(0, told["min_length"] - 1),
        length_penalty=told["length_penalty"],
        repetition_penalty=told["repetition_penalty"],
    )


def _family(name: str, architecture: str) -> Family:
    def matches(folder: CheckpointFolder) -> bool:
        return folder.config.get("model_type") == "blip" and architecture in (
            folder.config.get("architectures") or ()
        )

    return Family(
        name=name,
        matches=matches,
        build=lambda folder: _build(folder, architecture),
        names=_NAMES,
        reading=lambda folder: _reading(folder, architecture),
        # Position numbers, which older versions of transformers stored.
        ignored=(r"text_(encoder|decoder\.bert)\.embeddings\.position_ids",),
    )


FAMILIES = (
    _family("BLIP captioning", _CAPTIONING),
    _family("BLIP question answering", _ANSWERING),
    _family("BLIP retrieval", _RETRIEVAL),
)
