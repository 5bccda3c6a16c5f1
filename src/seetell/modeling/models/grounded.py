"""Text grounded in an image by cross-attention in every block: BLIP (Li et al. 2022) in its three uses.

A vision transformer gives image tokens. A BERT-style text encoder reads a text alone or, through its
cross-attention, beside the image; a decoder of the same shape writes while it attends to the image tokens
(captions) or to a question that the encoder has read beside the image (answers). Which of the two a model
has, and whether it has the heads for retrieval, its configuration says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from seetell.bundle.manifest import ScoreSpec
from seetell.modeling.models.assembled import AssembledModel, Depth, ModelLimits
from seetell.modeling.parts.attention import KeyValue
from seetell.modeling.parts.stack import StackShape, build_blocks, mlp_width
from seetell.modeling.parts.text import TextEmbedding, TextTransformer
from seetell.modeling.parts.token_head import TokenHead
from seetell.modeling.parts.vit import ViT


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GroundedImageConfig(_Frozen):
    """The vision transformer. image_size: (height, width) in pixels."""

    image_size: tuple[int, int]
    patch_size: int
    embed_dim: int
    depth: Depth
    num_heads: int
    mlp_ratio: float
    activation: str
    norm_eps: float


class GroundedTextConfig(_Frozen):
    """The text encoder, the decoder, or both: they have one shape."""

    vocab_size: int
    context_length: int
    embed_dim: int
    depth: Depth
    num_heads: int
    mlp_ratio: float
    activation: str
    norm_eps: float


class GroundedConfig(_Frozen):
    """Image and text, and which uses of them the model has.

    encoder, decoder: which of the two text stacks there are.
    tied: the decoder's output matrix is its input embedding.
    shared_dim: width of the space of image and text embeddings, beside which there is a matching head; 0 for
        neither.
    logit_scale: as in ``ScoreSpec``.
    """

    image: GroundedImageConfig
    text: GroundedTextConfig
    encoder: bool
    decoder: bool
    tied: bool = True
    shared_dim: int = 0
    logit_scale: float = 0.0

    @model_validator(mode="after")
    def _consistent(self) -> GroundedConfig:
        if not (self.encoder or self.decoder):
            raise ValueError("a grounded model needs a text encoder or a decoder")
        if self.shared_dim and not self.encoder:
            raise ValueError("the heads for retrieval need a text encoder")
        if self.encoder and self.decoder and self.image.embed_dim != self.text.embed_dim:
            raise ValueError(
                f"a decoder over fused text of width {self.text.embed_dim} has keys for image tokens of "
                f"width {self.image.embed_dim}; the two widths must be one"
            )
        return self


def _stack(config: GroundedImageConfig | GroundedTextConfig) -> StackShape:
    return StackShape(
        config.embed_dim,
        config.depth,
        config.num_heads,
        mlp_width(config.embed_dim, config.mlp_ratio),
        activation=config.activation,
        norm_eps=config.norm_eps,
    )


class GroundedText(nn.Module):
    """Token embeddings and a post-norm stack with cross-attention in every block (BLIP, section 3.1)."""

    def __init__(self, config: GroundedTextConfig, context_dim: int) -> None:
        super().__init__()
        self.embedding = TextEmbedding(
            config.vocab_size,
            config.context_length,
            config.embed_dim,
            norm_eps=config.norm_eps,
            # BLIP's positions are places in the row, padding counted.
            count_attended=False,
        )
        shape = _stack(config)
        self.stack = TextTransformer(build_blocks(replace(shape, context_dim=context_dim, norm_first=False)))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        *,
        causal: bool = False,
        past: Sequence[KeyValue] | None = None,
        memory: Sequence[KeyValue] | None = None,
        memory_mask: Tensor | None = None,
    ) -> tuple[Tensor, list[KeyValue]]:
        """input_ids: int64[B, T]; the rest and the result as in TextTransformer."""
        x = self.embedding(input_ids, attention_mask)
        found: tuple[Tensor, list[KeyValue]] = self.stack(
            x, attention_mask, causal=causal, past=past, memory=memory, memory_mask=memory_mask
        )
        return found


def _there(module: nn.Module | None, what: str) -> nn.Module:
    if module is None:
        raise ValueError(f"this model has no {what}")
    return module


class GroundedModel(AssembledModel):
    """See the module. ``config`` rebuilds it; what the configuration leaves out is None."""

    family = "grounded"
    config: GroundedConfig

    def __init__(self, config: GroundedConfig) -> None:
        super().__init__()
        self.config = config
        image, text = config.image, config.text
        self.image_encoder = ViT(image.image_size, image.patch_size, _stack(image))
        self.text_encoder = GroundedText(text, image.embed_dim) if config.encoder else None
        self.text_decoder = GroundedText(text, image.embed_dim) if config.decoder else None
        self.token_head: TokenHead | None = None
        if self.text_decoder is not None:
            self.token_head = TokenHead(
                self.text_decoder.embedding.tokens,
                tied=config.tied,
                activation=text.activation,
                norm_eps=text.norm_eps,
            )
        shared = config.shared_dim
        self.image_projection = nn.Linear(image.embed_dim, shared) if shared else None
        self.text_projection = nn.Linear(text.embed_dim, shared) if shared else None
        self.match_head = nn.Linear(text.embed_dim, 2) if shared else None

    @property
    def limits(self) -> ModelLimits:
        text = self.config.text
        return ModelLimits(self.config.image.image_size, text.vocab_size, text.context_length)

    @property
    def score(self) -> ScoreSpec:
        return ScoreSpec(logit_scale=self.config.logit_scale)

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """float[B, 3, H, W], normalised -> image tokens float[B, N, D], the class token first."""
        tokens: Tensor = self.image_encoder(pixel_values).tokens
        return tokens

    def image_embeds(self, image_tokens: Tensor) -> Tensor:
        """float[B, N, D] -> float[B, S], unit length, from the class token."""
        return F.normalize(_there(self.image_projection, "shared space")(image_tokens[:, 0]), dim=-1)

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """A text read alone: int64[B, T], bool[B, T] -> float[B, T, D]."""
        tokens: Tensor = _there(self.text_encoder, "text encoder")(input_ids, attention_mask)[0]
        return tokens

    def text_embeds(self, text_tokens: Tensor) -> Tensor:
        """float[B, T, D] -> float[B, S], unit length, from the lead."""
        return F.normalize(_there(self.text_projection, "shared space")(text_tokens[:, 0]), dim=-1)

    def fuse(
        self, input_ids: Tensor, attention_mask: Tensor, image_tokens: Tensor, image_mask: Tensor
    ) -> Tensor:
        """A text read beside the image: fused tokens float[B, T, D]."""
        encoder = self.text_encoder
        if encoder is None:
            raise ValueError("this model has no text encoder")
        memory = encoder.stack.project_memory(image_tokens)
        fused: Tensor = encoder(input_ids, attention_mask, memory=memory, memory_mask=image_mask)[0]
        return fused

    def match_logits(self, fused: Tensor) -> Tensor:
        """From fused tokens, read at the lead: float[B, 2], index 1 = match."""
        logits: Tensor = _there(self.match_head, "matching head")(fused[:, 0])
        return logits

    @property
    def decoder(self) -> GroundedText:
        """The decoder. Raises ValueError where there is none."""
        if self.text_decoder is None:
            raise ValueError("this model has no decoder")
        return self.text_decoder

    def memory(self, tokens: Tensor) -> list[KeyValue]:
        """Per block of the decoder, the keys and values of image or fused tokens float[B, N, D]."""
        return self.decoder.stack.project_memory(tokens)

    def decode(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        memory: Sequence[KeyValue],
        memory_mask: Tensor,
        past: Sequence[KeyValue] | None = None,
    ) -> tuple[Tensor, list[KeyValue]]:
        """Left to right. input_ids: int64[B, T]; attention_mask: bool[B, P + T].

        ``memory_mask`` is heeded. BLIP was taught so; transformers 5 drops the mask on its way to the
        cross-attention, so there the padding of a question in a batch changes its answer.
        Returns hidden float[B, T, D] and the caches.
        """
        found: tuple[Tensor, list[KeyValue]] = self.decoder(
            input_ids, attention_mask, causal=True, past=past, memory=memory, memory_mask=memory_mask
        )
        return found

    def token_logits(self, hidden: Tensor) -> Tensor:
        """Next-word logits from hidden float[..., D]: float[..., V]."""
        logits: Tensor = _there(self.token_head, "decoder")(hidden, self.decoder.embedding.tokens)
        return logits
