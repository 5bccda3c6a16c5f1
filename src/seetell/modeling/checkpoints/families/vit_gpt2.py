"""ViT-GPT2 captioning, a ``VisionEncoderDecoderModel`` of transformers.

Read from: nlpconnect/vit-gpt2-image-captioning. Encoder and decoder have the names of their own families
under ``encoder.`` and ``decoder.``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seetell.bundle.manifest import GenerationDefaults, TextSpec
from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.families.gpt2 import decoder_config, decoder_ignored, decoder_names, end_id
from seetell.modeling.checkpoints.families.vit import encoder_config, encoder_names
from seetell.modeling.checkpoints.generation_settings import unread_settings
from seetell.modeling.checkpoints.image_specs import image_spec
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Family, Reading, Rename
from seetell.modeling.checkpoints.tokenizer_files import tokenizer_json
from seetell.modeling.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig

# How many words transformers writes where nothing says it.
_USUAL_TOKENS = 20


def _parts(folder: CheckpointFolder) -> tuple[dict[str, Any], dict[str, Any]]:
    encoder, decoder = folder.config.get("encoder"), folder.config.get("decoder")
    return (encoder if isinstance(encoder, dict) else {}), (decoder if isinstance(decoder, dict) else {})


def _build(folder: CheckpointFolder) -> EncoderDecoder:
    encoder, decoder = _parts(folder)
    if decoder.get("add_cross_attention") is not True:
        raise ValueError("its decoder has no cross-attention (add_cross_attention), so it cannot look")
    if decoder.get("cross_attention_hidden_size") not in (None, decoder.get("n_embd", 768)):
        raise ValueError(
            "its decoder reads tokens of another width than its own (cross_attention_hidden_size)"
        )
    image, image_size = encoder_config(encoder)
    return EncoderDecoder(
        EncoderDecoderConfig(image=image, text=decoder_config(decoder), image_size=image_size)
    )


def _reading(folder: CheckpointFolder) -> Reading:
    encoder, decoder = _parts(folder)
    image_size = encoder_config(encoder)[1]
    told = {**_said(decoder), **_said(folder.config), **_said(folder.generation)}
    end = end_id(folder, told)
    start = told.get("decoder_start_token_id", told.get("bos_token_id"))
    if not isinstance(start, int):
        raise CheckpointError(
            f"{folder.folder}: texts start from {start!r} (decoder_start_token_id), where an id is meant; "
            "correct config.json or generation_config.json"
        )
    return Reading(
        image=image_spec(folder, size=image_size),
        text=TextSpec(
            context_length=decoder_config(decoder).context_length,
            eos_id=end,
            pad_id=told.get("pad_token_id", end),
            decoder_start_ids={"en": start},
        ),
        tokenizer_json=tokenizer_json(folder),
        languages=("en",),
        generation=_generation(told),
        unread=unread_settings(told),
    )


def _said(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}


def _generation(told: Mapping[str, Any]) -> GenerationDefaults:
    """Lengths of transformers count the start token, unless they are of new tokens."""
    most, least = told.get("max_new_tokens"), told.get("min_new_tokens")
    if most is None:
        most = told["max_length"] - 1 if "max_length" in told else _USUAL_TOKENS
    if least is None:
        least = max(0, told.get("min_length", 0) - 1)
    return GenerationDefaults(
        beams=told.get("num_beams", 1),
        max_tokens=max(1, most),
        min_tokens=least,
        length_penalty=told.get("length_penalty", 1.0),
        repetition_penalty=told.get("repetition_penalty", 1.0),
    )


def _family(name: str, *, tied: bool) -> Family:
    def matches(folder: CheckpointFolder) -> bool:
        encoder, decoder = _parts(folder)
        return (
            folder.config.get("model_type") == "vision-encoder-decoder"
            and encoder.get("model_type") == "vit"
            and decoder.get("model_type") == "gpt2"
            and decoder.get("tie_word_embeddings", True) == tied
        )

    return Family(
        name=name,
        matches=matches,
        build=_build,
        names=(
            *encoder_names(r"encoder\.", "encoder."),
            *decoder_names(r"decoder\.", "writer."),
            Rename(r"enc_to_dec_proj\.(weight|bias)", r"bridge.\1"),
        ),
        reading=_reading,
        ignored=(r"encoder\.pooler\..*", *decoder_ignored(r"decoder\.", tied=tied)),
    )


FAMILIES = (_family("vit_gpt2", tied=True), _family("vit_gpt2 with a head of its own", tied=False))
