"""ViLT (Kim et al. 2021): question answering, retrieval and filling masks, as transformers writes them."""

from __future__ import annotations

from typing import Any

from seetell.bundle.manifest import TextSpec
from seetell.modeling.checkpoints.activations import activation_name
from seetell.modeling.checkpoints.heads import INDEPENDENT, head_score
from seetell.modeling.checkpoints.image_specs import image_spec
from seetell.modeling.checkpoints.labels import label_names
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Family, Reading, Rename
from seetell.modeling.checkpoints.tokenizer_files import token_id, tokenizer_json
from seetell.modeling.checkpoints.tying import is_tied
from seetell.modeling.models.single_stream import SingleStreamConfig, SingleStreamModel

_ANSWERING = "ViltForQuestionAnswering"
_RETRIEVAL = "ViltForImageAndTextRetrieval"
_FILLING = "ViltForMaskedLM"

# What transformers leaves out of a configuration where it equals these.
_DEFAULTS: dict[str, Any] = {
    "vocab_size": 30522,
    "type_vocab_size": 2,
    "modality_type_vocab_size": 2,
    "max_position_embeddings": 40,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "image_size": 384,
    "patch_size": 32,
}
# A configuration without id2label stands for so many unnamed ones.
_NUM_LABELS = 2
_WORDS, _OUTPUT_WORDS = "vilt.embeddings.text_embeddings.word_embeddings.weight", "mlm_score.decoder.weight"


def _settings(folder: CheckpointFolder) -> dict[str, Any]:
    return {**_DEFAULTS, **{key: value for key, value in folder.config.items() if value is not None}}


def _num_answers(folder: CheckpointFolder) -> int:
    told = folder.config.get("id2label")
    return _NUM_LABELS if told is None else len(told)


def _build(folder: CheckpointFolder, architecture: str) -> SingleStreamModel:
    settings = _settings(folder)
    patch_size = int(settings["patch_size"])
    side = int(settings["image_size"]) // patch_size
    image = image_spec(folder)
    longest = settings.get("max_image_length", -1)
    if isinstance(longest, int) and longest > 0:
        raise ValueError(f"it looks at {longest} patches of a photo, drawn at random (max_image_length)")
    if image.multiple_of % patch_size:
        raise ValueError(f"photos in multiples of {image.multiple_of} pixels and patches of {patch_size}")
    return SingleStreamModel(
        SingleStreamConfig(
            image_size=(image.height, image.width),
            patch_size=patch_size,
            grid=(side, side),
            vocab_size=settings["vocab_size"],
            context_length=settings["max_position_embeddings"],
            num_types=settings["type_vocab_size"],
            num_modalities=settings["modality_type_vocab_size"],
            embed_dim=settings["hidden_size"],
            depth=settings["num_hidden_layers"],
            num_heads=settings["num_attention_heads"],
            mlp_ratio=settings["intermediate_size"] / settings["hidden_size"],
            activation=activation_name(settings["hidden_act"]),
            norm_eps=settings["layer_norm_eps"],
            num_answers=_num_answers(folder) if architecture == _ANSWERING else 0,
            match=architecture == _RETRIEVAL,
            fill=architecture == _FILLING,
            # The authors taught two matrices; what was trained with transformers 5 has one.
            tied=is_tied(folder, _WORDS, _OUTPUT_WORDS),
        )
    )


_LAYER, _BLOCK = r"vilt\.encoder\.layer\.(\d+)\.", r"transformer.blocks.\1."
_TEXT = r"vilt\.embeddings\.text_embeddings\."

_NAMES = (
    Rename(r"vilt\.embeddings\.cls_token", "class_token", reshape=lambda tensor: tensor.reshape(-1)),
    Rename(r"vilt\.embeddings\.position_embeddings", "positions", reshape=lambda tensor: tensor.squeeze(0)),
    Rename(r"vilt\.embeddings\.patch_embeddings\.projection\.(.+)", r"patch_embed.\1"),
    Rename(r"vilt\.embeddings\.token_type_embeddings\.weight", "modality.weight"),
    Rename(rf"{_TEXT}word_embeddings\.weight", "text_embedding.tokens.weight"),
    Rename(rf"{_TEXT}position_embeddings\.weight", "text_embedding.positions.table.weight"),
    Rename(rf"{_TEXT}token_type_embeddings\.weight", "text_embedding.types.weight"),
    Rename(rf"{_TEXT}LayerNorm\.(.+)", r"text_embedding.norm.\1"),
    Rename(rf"{_LAYER}attention\.attention\.(.+)", rf"{_BLOCK}attention.\2"),
    Rename(rf"{_LAYER}attention\.output\.dense\.(.+)", rf"{_BLOCK}attention.out.\2"),
    Rename(rf"{_LAYER}layernorm_before\.(.+)", rf"{_BLOCK}attention_norm.\2"),
    Rename(rf"{_LAYER}layernorm_after\.(.+)", rf"{_BLOCK}mlp_norm.\2"),
    Rename(rf"{_LAYER}intermediate\.dense\.(.+)", rf"{_BLOCK}mlp.up.\2"),
    Rename(rf"{_LAYER}output\.dense\.(.+)", rf"{_BLOCK}mlp.down.\2"),
    Rename(r"vilt\.layernorm\.(.+)", r"norm.\1"),
    Rename(r"vilt\.pooler\.dense\.(.+)", r"pooler.\1"),
    Rename(r"classifier\.(.+)", r"answer_head.\1"),
    Rename(r"rank_output\.(.+)", r"rank_head.\1"),
    Rename(r"mlm_score\.transform\.dense\.(.+)", r"token_head.dense.\1"),
    Rename(r"mlm_score\.transform\.LayerNorm\.(.+)", r"token_head.norm.\1"),
    # Where the two are tied, setting one sets both.
    Rename(r"mlm_score\.decoder\.weight", "token_head.matrix"),
    # transformers 4 has it beside the decoder, 5 in it.
    Rename(r"mlm_score\.(?:decoder\.)?bias", "token_head.bias"),
)


def _reading(folder: CheckpointFolder, architecture: str) -> Reading:
    tokenizer = tokenizer_json(folder)
    return Reading(
        image=image_spec(folder),
        text=TextSpec(
            context_length=_settings(folder)["max_position_embeddings"],
            bos_id=token_id(tokenizer, "[CLS]"),
            eos_id=token_id(tokenizer, "[SEP]"),
            pad_id=token_id(tokenizer, "[PAD]"),
            mask_id=token_id(tokenizer, "[MASK]") if architecture == _FILLING else None,
        ),
        tokenizer_json=tokenizer,
        languages=("en",),
        **(_answers(folder) if architecture == _ANSWERING else {}),
    )


def _answers(folder: CheckpointFolder) -> dict[str, Any]:
    # transformers teaches this head each answer by itself, whatever problem_type says; only a head that was
    # not taught answers at all has to be told from it.
    count = _num_answers(folder)
    head_score(folder, max(2, count))
    return {"answers": label_names(folder, count), "score": INDEPENDENT}


def _family(name: str, architecture: str) -> Family:
    def matches(folder: CheckpointFolder) -> bool:
        return folder.config.get("model_type") == "vilt" and architecture in (
            folder.config.get("architectures") or ()
        )

    return Family(
        name=name,
        matches=matches,
        build=lambda folder: _build(folder, architecture),
        names=_NAMES,
        reading=lambda folder: _reading(folder, architecture),
        ignored=(
            # Numbers of positions and segments, which older versions of transformers stored.
            rf"{_TEXT}(position_ids|token_type_ids)",
            # Filling masks uses no pooled token, though transformers keeps its pooler.
            *((r"vilt\.pooler\..+",) if architecture == _FILLING else ()),
        ),
    )


FAMILIES = (
    _family("ViLT question answering", _ANSWERING),
    _family("ViLT retrieval", _RETRIEVAL),
    _family("ViLT masked language", _FILLING),
)
