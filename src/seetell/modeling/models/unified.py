"""The unified model: one image encoder and one text transformer that captions, answers, matches,
classifies and retrieves.

The text transformer has a trunk (text alone) and a fusion (text meeting image). The trunk reading both
ways is the text encoder; trunk and fusion reading both ways are the image-grounded fusion encoder; the
same two reading left to right are the image-grounded decoder. Sources: ALBEF (Li et al. 2021) for the
trunk and fusion, BLIP (Li et al. 2022) for sharing them between the three uses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seetell.bundle.manifest import ScoreSpec
from seetell.modeling.models.assembled import AssembledModel, ModelLimits
from seetell.modeling.models.config import FusionConfig, TextConfig, UnifiedConfig
from seetell.modeling.models.image_encoders import build_image_encoder
from seetell.modeling.parts.attention import KeyValue
from seetell.modeling.parts.efficientnet import LAST_STAGE
from seetell.modeling.parts.fusion.co_attention import CoAttentionFusion
from seetell.modeling.parts.fusion.cross_attention import CrossAttentionFusion
from seetell.modeling.parts.fusion.gated import GatedFusion
from seetell.modeling.parts.fusion.projection import ProjectionFusion
from seetell.modeling.parts.image import ImageTokens
from seetell.modeling.parts.placed import PlacedEfficientNet, PooledProjection
from seetell.modeling.parts.stack import StackShape, build_blocks, mlp_width
from seetell.modeling.parts.text import SentenceEncoder, TextEmbedding, TextTransformer


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """tokens: float[B, N, D]; mask: bool[B, N]; embeds: float[B, S] unit length;
    pooled: float[B, D]; stages: as the encoder gives them."""

    tokens: Tensor
    mask: Tensor
    embeds: Tensor
    pooled: Tensor
    stages: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class EncodedText:
    """tokens: float[B, T, D]; embeds: float[B, S] unit length."""

    tokens: Tensor
    embeds: Tensor


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean over the attended positions, or by weights: float[B, N, D], bool or float[B, N] -> float[B, D]."""
    weight = mask.to(tokens.dtype)[:, :, None]
    return (tokens * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)


def _fusion_stack(config: FusionConfig, width: int) -> StackShape:
    return StackShape(
        width,
        config.depth,
        config.num_heads,
        mlp_width(width, config.mlp_ratio),
        context_dim=width,
        widths=config.widths,
        dropout=config.dropout,
    )


def _text_stack(config: TextConfig) -> StackShape:
    return StackShape(
        config.embed_dim,
        config.depth,
        config.num_heads,
        mlp_width(config.embed_dim, config.mlp_ratio),
        widths=config.widths,
        dropout=config.dropout,
    )


def _build_sentence(config: TextConfig) -> SentenceEncoder:
    own = config.sentence
    assert own is not None
    shape = StackShape(
        own.embed_dim,
        own.depth,
        own.num_heads,
        mlp_width(own.embed_dim, own.mlp_ratio),
        dropout=config.dropout,
    )
    embedding = TextEmbedding(config.vocab_size, config.context_length, own.embed_dim, config.dropout)
    return SentenceEncoder(embedding, TextTransformer(build_blocks(shape)))


def _build_fusion(config: FusionConfig, embed_dim: int) -> nn.Module:
    if config.kind == "projection":
        return ProjectionFusion(embed_dim)
    kinds: dict[str, type[CrossAttentionFusion | CoAttentionFusion | GatedFusion]] = {
        "cross_attention": CrossAttentionFusion,
        "co_attention": CoAttentionFusion,
        "gated": GatedFusion,
    }
    return kinds[config.kind](_fusion_stack(config, embed_dim))


# The clamp of the contrastive objective: CLIP's limit on the scale (Radford et al. 2021, section 2.5).
_MAX_LOGIT_SCALE = math.log(100.0)


class UnifiedModel(AssembledModel):
    """See the module. ``config`` rebuilds it; ``answer_head`` and ``label_head`` are None when their
    configured size is 0."""

    family = "unified"
    config: UnifiedConfig

    def __init__(self, config: UnifiedConfig) -> None:
        super().__init__()
        self.config = config
        text, width = config.text, config.text.embed_dim
        self.image_encoder, image_width = build_image_encoder(config.image, config.image_size)
        # The fusion and the decoder read image tokens and, for answers, fused question tokens through
        # the same projections, so both must have the text's width.
        self.image_bridge = nn.Linear(image_width, width) if image_width != width else nn.Identity()
        self.text_embedding = TextEmbedding(text.vocab_size, text.context_length, width, text.dropout)
        self.text_trunk = TextTransformer(build_blocks(_text_stack(text)))
        self.fusion = _build_fusion(config.fusion, width)
        self.decoder = (
            None
            if isinstance(self.fusion, CrossAttentionFusion)
            else CrossAttentionFusion(
                replace(
                    _fusion_stack(config.fusion, width),
                    num_heads=text.num_heads,
                    mlp_dim=mlp_width(width, text.mlp_ratio),
                )
            )
        )
        encoder = self.image_encoder
        pooled_dim = encoder.pooled_dim if isinstance(encoder, PlacedEfficientNet) else width
        # Of no use to who runs a model; training sets both. What a sentence encoder learned it reads of whole
        # texts: with it the bag alone does without some words.
        self.pooled_dropout = nn.Dropout(0.0)
        self.drop_words = 0.0
        self.image_projection: nn.Module = (
            PooledProjection(pooled_dim, config.shared_dim, config.quarter_dim)
            if config.quarter_dim
            else nn.Linear(pooled_dim, config.shared_dim, bias=False)
        )
        self.bag: nn.Embedding | None = None
        self.sentence = _build_sentence(text) if text.sentence is not None else None
        vector_width = width if text.sentence is None else text.sentence.embed_dim
        self.text_norm = nn.LayerNorm(vector_width)
        self.text_projection = nn.Linear(vector_width, config.shared_dim, bias=False)
        if text.bag_dim:
            self.bag = nn.Embedding(text.vocab_size, text.bag_dim)
            nn.init.normal_(self.bag.weight, std=0.05)
            self.bag_projection = nn.Linear(text.bag_dim, config.shared_dim, bias=False)
            # What word order adds is learned on top of the words: at the start the transformer's vector would
            # be many times the bag's, and drown it.
            nn.init.zeros_(self.text_projection.weight)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.token_transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.token_bias = nn.Parameter(torch.zeros(text.vocab_size))
        self.match_head = nn.Linear(width, 2)
        self.answer_head = (
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, config.num_answers))
            if config.num_answers
            else None
        )
        self.label_head = nn.Linear(width, config.num_labels) if config.num_labels else None

    @property
    def limits(self) -> ModelLimits:
        config = self.config
        return ModelLimits(
            config.image_size,
            config.text.vocab_size,
            config.text.context_length,
            config.num_answers,
            config.num_labels,
        )

    @property
    def score(self) -> ScoreSpec:
        return ScoreSpec(logit_scale=min(float(self.logit_scale.detach()), _MAX_LOGIT_SCALE))

    @property
    def grounded(self) -> CrossAttentionFusion:
        """The causal, image-grounded upper half of the decoder."""
        upper = self.fusion if self.decoder is None else self.decoder
        assert isinstance(upper, CrossAttentionFusion)
        return upper

    def encode_image(self, pixel_values: Tensor, pixel_mask: Tensor | None = None) -> EncodedImage:
        """pixel_values: float[B, 3, H, W], normalised. pixel_mask: bool[B, H, W], True on the photo, for a
        model whose photos keep their shape; None where they fill the square."""
        if pixel_mask is None:
            return self._encoded(self.image_encoder(pixel_values))
        return self._encoded(self.image_encoder(pixel_values, pixel_mask))

    def encode_maps(self, maps: Tensor, mask: Tensor, stage: int = LAST_STAGE) -> EncodedImage:
        """The same from the map of ``stage`` of the convolutions float[B, C, H, W], worked out before; mask:
        bool[B, h, w] over the cells of the last."""
        assert isinstance(self.image_encoder, PlacedEfficientNet)
        above = self.image_encoder.net.forward_above(maps, stage)
        return self._encoded(self.image_encoder.above((maps, *above), mask))

    def _encoded(self, found: ImageTokens) -> EncodedImage:
        tokens = self.image_bridge(found.tokens)
        pooled = masked_mean(tokens, found.mask if found.sizes is None else found.sizes)
        whole = pooled if found.pooled is None else found.pooled
        embeds = F.normalize(self.image_projection(self.pooled_dropout(whole)).float(), dim=-1)
        return EncodedImage(tokens, found.mask, embeds, pooled, found.stages)

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> EncodedText:
        """input_ids: int64[B, T], attention_mask: bool[B, T]."""
        x = self.text_embedding(input_ids, attention_mask)
        x, _ = self.text_trunk(x, attention_mask)
        if self.sentence is None:
            read = masked_mean(self.text_norm(x), attention_mask)
        else:
            told = self.text_norm(self.sentence(input_ids, attention_mask))
            read = self.pooled_dropout(masked_mean(told, attention_mask))
        projected = self.text_projection(read)
        if self.bag is not None:
            projected = projected + self.bag_projection(self._bag_mean(self.bag(input_ids), attention_mask))
        return EncodedText(x, F.normalize(projected.float(), dim=-1))

    def _bag_mean(self, words: Tensor, attention_mask: Tensor) -> Tensor:
        if self.training and self.drop_words:
            kept = attention_mask & (torch.rand(attention_mask.shape, device=words.device) >= self.drop_words)
            # The lead is no word, and no text is left with nothing.
            kept[:, 0] = attention_mask[:, 0]
            attention_mask = kept
        return masked_mean(words, attention_mask)

    def memory(self, tokens: Tensor) -> list[KeyValue]:
        """Per block of the decoder, the keys and values of image or fused tokens float[B, N, D]."""
        return self.grounded.project_memory(tokens)

    def fuse(
        self,
        text_tokens: Tensor,
        attention_mask: Tensor,
        image_tokens: Tensor,
        image_mask: Tensor,
        memory: Sequence[KeyValue] | None = None,
    ) -> Tensor:
        """Text tokens from :meth:`encode_text` meet image tokens: float[B, T, D].

        ``memory`` is :meth:`memory` of the image tokens if it is at hand; it saves projecting them again
        where the fusion is cross-attention, and is ignored elsewhere.
        """
        if memory is not None and isinstance(self.fusion, CrossAttentionFusion):
            return self.fusion.fuse(text_tokens, attention_mask, memory, image_mask)
        fused: Tensor = self.fusion(text_tokens, attention_mask, image_tokens, image_mask)
        return fused

    def decode(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        memory: Sequence[KeyValue],
        memory_mask: Tensor,
        past: Sequence[KeyValue] | None = None,
    ) -> tuple[Tensor, list[KeyValue]]:
        """Left to right. input_ids: int64[B, T]; attention_mask: bool[B, P + T]; past: one pair per
        block of trunk and upper half, in that order. Returns hidden float[B, T, D] and the caches."""
        split = len(self.text_trunk.blocks)
        x = self.text_embedding(input_ids, attention_mask)
        x, lower = self.text_trunk(
            x, attention_mask, causal=True, past=None if past is None else past[:split]
        )
        x, upper = self.grounded.decode(
            x, attention_mask, memory, memory_mask, None if past is None else past[split:]
        )
        return x, lower + upper

    def token_logits(self, hidden: Tensor) -> Tensor:
        """Next-word or masked-word logits from hidden float[..., D]: float[..., V].

        The output matrix is the input embedding (Press and Wolf 2017)."""
        x = self.token_transform(hidden)
        return F.linear(x, self.text_embedding.tokens.weight, self.token_bias)

    def match_logits(self, fused: Tensor) -> Tensor:
        """From fused tokens float[B, T, D], read at the lead: float[B, 2], index 1 = match."""
        logits: Tensor = self.match_head(fused[:, 0])
        return logits

    def answer_logits(self, fused: Tensor) -> Tensor:
        """From fused question tokens, read at the lead: float[B, A]."""
        if self.answer_head is None:
            raise ValueError("this model has no answer head (num_answers is 0)")
        logits: Tensor = self.answer_head(fused[:, 0])
        return logits

    def label_logits(self, image: EncodedImage) -> Tensor:
        """From the mean of the image tokens: float[B, C]."""
        if self.label_head is None:
            raise ValueError("this model has no label head (num_labels is 0)")
        logits: Tensor = self.label_head(image.pooled)
        return logits
