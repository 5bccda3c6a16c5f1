"""A dual encoder: a photo and a text each become one vector in a space they share, and never meet before.

Sources: CLIP (Radford et al. 2021), SigLIP (Zhai et al. 2023), Chinese-CLIP (Yang et al. 2022). They differ
in what the towers read (causally or both ways, padding or not), where they pool, and how similarities become
probabilities.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from seetell.bundle.manifest import ScoreSpec
from seetell.modeling.models.assembled import AssembledModel, Depth, ModelLimits
from seetell.modeling.parts.attention import Attention, projections
from seetell.modeling.parts.mlp import Mlp
from seetell.modeling.parts.pooling import AttentionPooling, at_first, first_place
from seetell.modeling.parts.stack import StackShape, build_blocks, mlp_width
from seetell.modeling.parts.text import TextEmbedding, TextTransformer
from seetell.modeling.parts.vit import ViT


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageTowerConfig(_Frozen):
    """A vision transformer and how it is pooled.

    image_size: (height, width) in pixels.
    pooling: ``class_token`` takes the first token, normalised (CLIP); ``attention`` normalises all tokens and
        pools them with a learned query (SigLIP, which has no class token).
    """

    image_size: tuple[int, int]
    patch_size: int = Field(gt=0)
    embed_dim: int = Field(gt=0)
    depth: Depth
    num_heads: int = Field(gt=0)
    mlp_ratio: float = 4.0
    activation: str = "gelu"
    norm_eps: float = 1e-5
    pooling: Literal["class_token", "attention"] = "class_token"
    patch_bias: bool = False
    pre_norm: bool = True


class TextTowerConfig(_Frozen):
    """A text transformer and how it is pooled.

    causal: reads left to right. norm_first: as in TransformerBlock; a tower that normalises after each
        sub-layer normalises its embeddings too, and one that does it first its last output.
    num_types: of segments in the embedding (BERT), 0 for none.
    pooling: the token at the first ``eos_id`` (``eos``), at the first place of the largest id
        (``largest_id``: CLIP before its checkpoints said which id ends a text), at the ``first`` place, or
        at the ``last``.
    reads_padding: rows are always ``context_length`` long and their padding is read like words (SigLIP).
    """

    vocab_size: int = Field(gt=0)
    context_length: int = Field(gt=0)
    embed_dim: int = Field(gt=0)
    depth: Depth
    num_heads: int = Field(gt=0)
    mlp_ratio: float = 4.0
    activation: str = "gelu"
    norm_eps: float = 1e-5
    causal: bool = True
    norm_first: bool = True
    num_types: int = 0
    pooling: Literal["eos", "largest_id", "first", "last"] = "eos"
    eos_id: int | None = None
    reads_padding: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> TextTowerConfig:
        if (self.pooling == "eos") != (self.eos_id is not None):
            raise ValueError("eos_id goes with pooling 'eos'")
        # The last place of a row padded to its batch's longest would be a word here and padding there.
        if self.pooling == "last" and not self.reads_padding:
            raise ValueError("pooling 'last' needs rows of one length (reads_padding)")
        if self.causal and self.reads_padding:
            raise ValueError("a causal tower reads no padding")
        return self


class DualEncoderConfig(_Frozen):
    """Both towers and the space they share.

    image_projection: whether a matrix takes the pooled photo there; without, the space is the image tower's.
    text_bias: whether the text's matrix has a bias.
    score: how similarities become probabilities; ``sigmoid`` has a learned bias.
    """

    image: ImageTowerConfig
    text: TextTowerConfig
    shared_dim: int = Field(gt=0)
    image_projection: bool = True
    text_bias: bool = False
    score: Literal["softmax", "sigmoid"] = "softmax"

    @model_validator(mode="after")
    def _consistent(self) -> DualEncoderConfig:
        if not self.image_projection and self.shared_dim != self.image.embed_dim:
            raise ValueError(
                f"without an image projection the shared space has the image tower's width "
                f"{self.image.embed_dim}, not {self.shared_dim}"
            )
        return self


def _stack(config: ImageTowerConfig | TextTowerConfig) -> StackShape:
    return StackShape(
        config.embed_dim,
        config.depth,
        config.num_heads,
        mlp_width(config.embed_dim, config.mlp_ratio),
        activation=config.activation,
        norm_eps=config.norm_eps,
    )


def _pooling(config: ImageTowerConfig) -> AttentionPooling:
    width = config.embed_dim
    return AttentionPooling(
        width,
        Attention(projections(width, config.num_heads)),
        Mlp(width, mlp_width(width, config.mlp_ratio), config.activation),
        nn.LayerNorm(width, eps=config.norm_eps),
    )


def _image_tower(config: ImageTowerConfig) -> ViT:
    return ViT(
        config.image_size,
        config.patch_size,
        _stack(config),
        class_token=config.pooling == "class_token",
        patch_bias=config.patch_bias,
        pre_norm=config.pre_norm,
        # Of a class token only the pooled one is normalised; see ``image_norm``.
        final_norm=config.pooling == "attention",
        whole_patches=False,
    )


class DualEncoder(AssembledModel):
    """See the module. ``config`` rebuilds it."""

    family = "dual_encoder"
    config: DualEncoderConfig

    def __init__(self, config: DualEncoderConfig) -> None:
        super().__init__()
        self.config = config
        image, text = config.image, config.text
        self.image_encoder = _image_tower(image)
        self.image_norm: nn.LayerNorm | None = None
        self.image_pooling: AttentionPooling | None = None
        if image.pooling == "class_token":
            self.image_norm = nn.LayerNorm(image.embed_dim, eps=image.norm_eps)
        else:
            self.image_pooling = _pooling(image)
        self.image_projection = (
            nn.Linear(image.embed_dim, config.shared_dim, bias=False)
            if config.image_projection
            else nn.Identity()
        )
        self.text_embedding = TextEmbedding(
            text.vocab_size,
            text.context_length,
            text.embed_dim,
            norm_eps=None if text.norm_first else text.norm_eps,
            num_types=text.num_types,
            count_attended=False,
        )
        self.text_encoder = TextTransformer(build_blocks(replace(_stack(text), norm_first=text.norm_first)))
        self.text_norm = nn.LayerNorm(text.embed_dim, eps=text.norm_eps) if text.norm_first else nn.Identity()
        self.text_projection = nn.Linear(text.embed_dim, config.shared_dim, bias=config.text_bias)
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.logit_bias = nn.Parameter(torch.zeros(())) if config.score == "sigmoid" else None

    @property
    def limits(self) -> ModelLimits:
        text = self.config.text
        return ModelLimits(self.config.image.image_size, text.vocab_size, text.context_length)

    @property
    def score(self) -> ScoreSpec:
        bias = 0.0 if self.logit_bias is None else float(self.logit_bias.detach())
        return ScoreSpec(
            kind=self.config.score, logit_scale=float(self.logit_scale.detach()), logit_bias=bias
        )

    def encode_image(self, pixel_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """pixel_values: float[B, 3, H, W], normalised; of another size than configured, the position table
        is interpolated.

        Returns tokens float[B, N, D], their mask bool[B, N], and embeds float[B, S] of unit length.
        """
        found = self.image_encoder(pixel_values)
        if self.image_pooling is not None:
            pooled = self.image_pooling(found.tokens)
        else:
            assert self.image_norm is not None
            pooled = self.image_norm(found.tokens[:, 0])
        embeds = F.normalize(self.image_projection(pooled).float(), dim=-1)
        return found.tokens, found.mask, embeds

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """input_ids: int64[B, T], attention_mask: bool[B, T], not looked at where padding is read.

        Returns tokens float[B, T, D] and embeds float[B, S] of unit length.
        """
        config = self.config.text
        x = self.text_embedding(input_ids, attention_mask)
        x, _ = self.text_encoder(x, None if config.reads_padding else attention_mask, causal=config.causal)
        tokens = self.text_norm(x)
        embeds = F.normalize(
            self.text_projection(self._pooled(tokens, input_ids, attention_mask)).float(), dim=-1
        )
        return tokens, embeds

    def image_embeds(self, pixel_values: Tensor) -> Tensor:
        """The embeds of :meth:`encode_image` alone: a last block whose tokens nobody reads but the first is
        worked out for that one."""
        if self.image_norm is None:
            return self.encode_image(pixel_values)[2]
        pooled = self.image_norm(self.image_encoder.first_token(pixel_values))
        return F.normalize(self.image_projection(pooled).float(), dim=-1)

    def text_embeds(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The embeds of :meth:`encode_text` alone, likewise."""
        config = self.config.text
        x = self.text_embedding(input_ids, attention_mask)
        place = self._place(input_ids, attention_mask)
        mask = None if config.reads_padding else attention_mask
        pooled = self.text_norm(self.text_encoder.at(x, mask, place, causal=config.causal))
        return F.normalize(self.text_projection(pooled).float(), dim=-1)

    def _pooled(self, tokens: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        config = self.config.text
        if config.pooling == "first":
            return tokens[:, 0]
        if config.pooling == "last":
            return tokens[:, -1]
        return at_first(tokens, self._ends(input_ids, attention_mask))

    def _place(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Where :meth:`_pooled` reads: int64[B]."""
        config = self.config.text
        if config.pooling in ("first", "last"):
            place = 0 if config.pooling == "first" else input_ids.shape[1] - 1
            return torch.full_like(input_ids[:, 0], place)
        return first_place(self._ends(input_ids, attention_mask))

    def _ends(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """bool[B, T]: which tokens may end a text; the first of them does."""
        # Padding may have the id that ends a text.
        ids = input_ids.masked_fill(~attention_mask, -1)
        eos = self.config.text.eos_id
        return ids == (ids.amax(dim=1, keepdim=True) if eos is None else eos)

    def logits_per_image(self, image_embeds: Tensor, text_embeds: Tensor) -> Tensor:
        """Similarities as the model was trained on: float[images, texts]. Of a softmax model over texts."""
        logits = image_embeds @ text_embeds.T * self.logit_scale.exp()
        return logits if self.logit_bias is None else logits + self.logit_bias
