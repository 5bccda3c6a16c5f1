"""SigLIP (Zhai et al. 2023), and SigLIP 2 (Tschannen et al. 2025) of fixed resolution: ``SiglipModel``.

Read from: google/siglip-base-patch16-224, google/siglip2-base-patch16-224 and their kin. The two have one
architecture and another tokenizer: SentencePiece over text without punctuation, and Gemma's over text that
is lower-cased only. SigLIP 2 for photos of any shape (NaFlex; model_type siglip2) is another architecture.
"""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers

from seetell.bundle.manifest import TextSpec
from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.image_specs import image_spec
from seetell.modeling.checkpoints.sentencepiece_model import SPACE, read_unigram
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Family, Reading, Rename
from seetell.modeling.checkpoints.tokenizer_files import token_id, tokenizer_json
from seetell.modeling.checkpoints.two_towers import (
    IMAGE_NAMES,
    STORED_POSITIONS,
    TEXT_NAMES,
    image_tower,
    part_settings,
    scalar,
    tower_sizes,
)
from seetell.modeling.models.dual_encoder import (
    DualEncoder,
    DualEncoderConfig,
    ImageTowerConfig,
    TextTowerConfig,
)

# What configurations leave out where it equals these.
_IMAGE_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 16,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
    "vision_use_head": True,
}
_TEXT_DEFAULTS: dict[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 64,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
    "projection_size": None,
}
# The prompt that Zhai et al. 2023 give with the model, and its like.
_PROMPTS = {"en": ("This is a photo of {}.",), "zh": ("这是一张{}的照片。",)}
# The commonest character of Chinese: a vocabulary that has it was learned on Chinese, too.
_CHINESE = ("的", f"{SPACE}的")


def _matches(folder: CheckpointFolder) -> bool:
    return folder.layout == "transformers" and folder.config.get("model_type") == "siglip"


def _config(folder: CheckpointFolder) -> DualEncoderConfig:
    image = part_settings(folder, "vision_config", _IMAGE_DEFAULTS)
    text = part_settings(folder, "text_config", _TEXT_DEFAULTS)
    if not image["vision_use_head"]:
        raise ValueError("its image tower has no pooling head (vision_use_head false), so no image vector")
    return DualEncoderConfig(
        image=ImageTowerConfig.model_validate(
            {**image_tower(image), "pooling": "attention", "patch_bias": True, "pre_norm": False}
        ),
        text=TextTowerConfig.model_validate(
            {
                "vocab_size": text["vocab_size"],
                "context_length": text["max_position_embeddings"],
                **tower_sizes(text),
                "causal": False,
                "pooling": "last",
                "reads_padding": True,
            }
        ),
        shared_dim=text["projection_size"] or text["hidden_size"],
        image_projection=False,
        text_bias=True,
        score="sigmoid",
    )


def _reading(folder: CheckpointFolder) -> Reading:
    config = _config(folder)
    files = {path.name: path for path in folder.tokenizer_files}
    told = {**_json(files.get("special_tokens_map.json")), **_json(files.get("tokenizer_config.json"))}
    pieces = files.get("spiece.model")
    if "tokenizer.json" in files or pieces is None:
        document = tokenizer_json(folder)
        tokenizer = Tokenizer.from_str(document.decode("utf-8"))
        strips = _strips_punctuation(tokenizer, told)
        if strips:
            tokenizer.normalizer = _sequence(_canonical(), tokenizer.normalizer)
            document = tokenizer.to_str().encode("utf-8")
    else:
        strips = True
        tokenizer = read_unigram(_bytes(pieces), str(pieces)).tokenizer(_canonical(prefix=SPACE))
        document = tokenizer.to_str().encode("utf-8")
    chinese = any(tokenizer.token_to_id(one) is not None for one in _CHINESE)
    languages = ("en", "zh") if chinese else ("en",)
    return Reading(
        image=image_spec(folder, size=config.image.image_size),
        text=TextSpec(
            context_length=config.text.context_length,
            padding="fixed",
            # As both were taught. Gemma's tokenizer does not do it by itself, whatever it is told.
            lower_case=not strips or told.get("do_lower_case") is not False,
            eos_id=token_id(document, _spelling(told, "eos_token", tokenizer, ("</s>", "<eos>"))),
            # Padding is read, so it has to be what it was in training.
            pad_id=token_id(document, _spelling(told, "pad_token", tokenizer, ("<pad>", "</s>"))),
        ),
        tokenizer_json=document,
        languages=languages,
        prompts={"classify": {language: _PROMPTS[language] for language in languages}},
    )


def _strips_punctuation(tokenizer: Tokenizer, told: dict[str, Any]) -> bool:
    """Whether the tokenizer is SigLIP's own: by the class it says it is, else by what it is made of."""
    name = told.get("tokenizer_class")
    if isinstance(name, str) and name.startswith(("Siglip", "Gemma")):
        return name.removesuffix("Fast") == "SiglipTokenizer"
    return isinstance(tokenizer.model, models.Unigram)


def _canonical(prefix: str = "") -> normalizers.Normalizer:
    """No punctuation of ASCII, and one space for several. Doing it twice changes nothing.

    ``prefix`` is put first, as the reference does it before the rest: a text that begins with a space
    keeps it. Source: big_vision, ``prompt_engineering.canonicalize_text``.
    """
    first = [normalizers.Replace(SPACE, " "), normalizers.Prepend(prefix)] if prefix else []
    return normalizers.Sequence(
        [
            *first,
            normalizers.Replace(Regex("[" + "".join(f"\\{one}" for one in string.punctuation) + "]"), ""),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
    )


def _sequence(first: normalizers.Normalizer, then: normalizers.Normalizer | None) -> normalizers.Normalizer:
    return first if then is None else normalizers.Sequence([first, then])


def _spelling(told: dict[str, Any], role: str, tokenizer: Tokenizer, usual: tuple[str, ...]) -> str:
    """How the token of ``role`` is spelt; where nothing says so, the first of ``usual`` that there is."""
    token = told.get(role)
    content = token.get("content") if isinstance(token, dict) else token
    if isinstance(content, str):
        return content
    return next((one for one in usual if tokenizer.token_to_id(one) is not None), usual[0])


def _json(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        document = json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cut off or no JSON; fetch it again") from error
    return document if isinstance(document, dict) else {}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def _pooling_names() -> tuple[Rename, ...]:
    kind, head, ours = r"(weight|bias)", r"vision_model\.head\.", "image_pooling."
    return (
        Rename(rf"{head}probe", f"{ours}query", reshape=lambda one: one[0, 0]),
        Rename(
            rf"{head}attention\.in_proj_{kind}",
            tuple(rf"{ours}attention.{one}.\1" for one in ("query", "key", "value")),
        ),
        Rename(rf"{head}attention\.out_proj\.{kind}", rf"{ours}attention.out.\1"),
        Rename(rf"{head}layernorm\.{kind}", rf"{ours}norm.\1"),
        Rename(rf"{head}mlp\.fc1\.{kind}", rf"{ours}mlp.up.\1"),
        Rename(rf"{head}mlp\.fc2\.{kind}", rf"{ours}mlp.down.\1"),
    )


FAMILIES = (
    Family(
        name="siglip",
        matches=_matches,
        build=lambda folder: DualEncoder(_config(folder)),
        names=(
            *IMAGE_NAMES,
            Rename(r"vision_model\.post_layernorm\.(weight|bias)", r"image_encoder.norm.\1"),
            *_pooling_names(),
            *TEXT_NAMES,
            Rename(r"text_model\.head\.(weight|bias)", r"text_projection.\1"),
            Rename(r"logit_(scale|bias)", r"logit_\1", reshape=scalar),
        ),
        reading=_reading,
        ignored=(STORED_POSITIONS,),
    ),
)
