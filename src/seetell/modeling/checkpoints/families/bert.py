"""BERT as transformers names it, read as a text encoder: ``BertModel`` and what is built on it.

Read from: google-bert/bert-base-uncased and its like, whose files of 2018 call the parameters of norms gamma
and beta, and sentence-transformers/all-MiniLM-L6-v2 and its like, which pool a text's tokens to one vector.
BERT's own pooler and heads (``cls.predictions``, ``cls.seq_relationship``) are left out: an encoder of texts
beside photos reads tokens.
"""

from __future__ import annotations

from seetell.bundle.manifest import TextSpec
from seetell.modeling.checkpoints.activations import activation_name
from seetell.modeling.checkpoints.sentences import Sentences, read_sentences
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Family, Reading, Rename
from seetell.modeling.checkpoints.tokenizer_files import token_id, tokenizer_json
from seetell.modeling.models.text_models import TextEncoder, TextEncoderConfig


def _matches(folder: CheckpointFolder) -> bool:
    return folder.config.get("model_type") == "bert"


def _build(folder: CheckpointFolder) -> TextEncoder:
    config = folder.config
    if config.get("is_decoder") or config.get("add_cross_attention"):
        raise ValueError("it is a decoder (is_decoder, add_cross_attention); BERT is read as an encoder here")
    positions = config.get("position_embedding_type", "absolute")
    if positions != "absolute":
        raise ValueError(f"its positions are {positions!r}; only absolute ones are known")
    sentences = read_sentences(folder)
    return TextEncoder(
        TextEncoderConfig.model_validate(
            {
                "vocab_size": config.get("vocab_size", 30522),
                "context_length": config.get("max_position_embeddings", 512),
                "embed_dim": config.get("hidden_size", 768),
                "depth": config.get("num_hidden_layers", 12),
                "num_heads": config.get("num_attention_heads", 12),
                "hidden_dim": config.get("intermediate_size", 3072),
                "activation": activation_name(config.get("hidden_act", "gelu")),
                "norm_eps": config.get("layer_norm_eps", 1e-12),
                "num_types": config.get("type_vocab_size", 2),
                "pooling": None if sentences is None else sentences.pooling,
            }
        )
    )


def _reading(folder: CheckpointFolder) -> Reading:
    tokenizer = tokenizer_json(folder)
    sentences = read_sentences(folder) or Sentences("mean")
    positions = folder.config.get("max_position_embeddings", 512)
    return Reading(
        text=TextSpec(
            context_length=min(positions, sentences.most_tokens or positions),
            lower_case=sentences.lower_case,
            bos_id=token_id(tokenizer, "[CLS]"),
            eos_id=token_id(tokenizer, "[SEP]"),
            pad_id=token_id(tokenizer, "[PAD]"),
            mask_id=token_id(tokenizer, "[MASK]"),
        ),
        tokenizer_json=tokenizer,
    )


def _norm(theirs: str, ours: str) -> tuple[Rename, Rename]:
    """A norm under either pair of names. theirs: a regular expression; ours: a template."""
    return (
        Rename(rf"{theirs}\.(?:weight|gamma)", f"{ours}.weight"),
        Rename(rf"{theirs}\.(?:bias|beta)", f"{ours}.bias"),
    )


_PREFIX = r"(?:bert\.)?"
_EMBEDDINGS = rf"{_PREFIX}embeddings\."
_LAYER, _BLOCK = rf"{_PREFIX}encoder\.layer\.(\d+)\.", r"stack.blocks.\1."
_KIND = r"(weight|bias)"

FAMILIES = (
    Family(
        name="bert",
        matches=_matches,
        build=_build,
        names=(
            Rename(rf"{_EMBEDDINGS}word_embeddings\.weight", "embedding.tokens.weight"),
            Rename(rf"{_EMBEDDINGS}position_embeddings\.weight", "embedding.positions.table.weight"),
            Rename(rf"{_EMBEDDINGS}token_type_embeddings\.weight", "embedding.types.weight"),
            *_norm(rf"{_EMBEDDINGS}LayerNorm", "embedding.norm"),
            Rename(rf"{_LAYER}attention\.self\.(query|key|value)\.{_KIND}", rf"{_BLOCK}attention.\2.\3"),
            Rename(rf"{_LAYER}attention\.output\.dense\.{_KIND}", rf"{_BLOCK}attention.out.\2"),
            *_norm(rf"{_LAYER}attention\.output\.LayerNorm", rf"{_BLOCK}attention_norm"),
            Rename(rf"{_LAYER}intermediate\.dense\.{_KIND}", rf"{_BLOCK}mlp.up.\2"),
            Rename(rf"{_LAYER}output\.dense\.{_KIND}", rf"{_BLOCK}mlp.down.\2"),
            *_norm(rf"{_LAYER}output\.LayerNorm", rf"{_BLOCK}mlp_norm"),
        ),
        reading=_reading,
        ignored=(
            rf"{_EMBEDDINGS}(position_ids|token_type_ids)",
            rf"{_PREFIX}pooler\..*",
            r"cls\..*",
            r"(classifier|qa_outputs)\..*",
        ),
    ),
)
