"""One stream over words and patches, with no image encoder before it: ViLT (Kim et al. 2021).

Text and image meet in a single pre-norm transformer; what comes before it are embeddings. Photos of a batch
may differ in size: they are padded, and each gets the position table interpolated to its own grid.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from seetell.modeling.models.assembled import AssembledModel, Depth, ModelLimits
from seetell.modeling.parts.positions import grid_for_each
from seetell.modeling.parts.stack import StackShape, build_blocks, mlp_width
from seetell.modeling.parts.text import TextEmbedding, TextTransformer
from seetell.modeling.parts.token_head import TokenHead


class SingleStreamConfig(BaseModel):
    """Numbers of the model.

    image_size: the largest (height, width) in pixels of a photo. grid: (rows, columns) of patches that the
        position table is made for.
    num_types: of text segments, of which all text is the first. num_modalities: text is the first, a photo
        the second.
    num_answers: size of the answer head, 0 for none. match: a head that ranks texts and photos.
    fill: a head that fills masks; tied: its matrix is the input embedding.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: tuple[int, int]
    patch_size: int
    grid: tuple[int, int]
    vocab_size: int
    context_length: int
    num_types: int
    num_modalities: int
    embed_dim: int
    depth: Depth
    num_heads: int
    mlp_ratio: float
    activation: str
    norm_eps: float
    num_answers: int = 0
    match: bool = False
    fill: bool = False
    tied: bool = True


class SingleStreamModel(AssembledModel):
    """See the module. ``config`` rebuilds it; heads it has not are None."""

    family = "single_stream"
    config: SingleStreamConfig

    def __init__(self, config: SingleStreamConfig) -> None:
        super().__init__()
        self.config = config
        width = config.embed_dim
        self.patch_embed = nn.Conv2d(3, width, config.patch_size, config.patch_size)
        self.class_token = nn.Parameter(torch.zeros(width))
        self.positions = nn.Parameter(torch.zeros(config.grid[0] * config.grid[1] + 1, width))
        self.text_embedding = TextEmbedding(
            config.vocab_size,
            config.context_length,
            width,
            norm_eps=config.norm_eps,
            num_types=config.num_types,
            count_attended=False,
        )
        self.modality = nn.Embedding(config.num_modalities, width)
        shape = StackShape(
            width,
            config.depth,
            config.num_heads,
            mlp_width(width, config.mlp_ratio),
            activation=config.activation,
            norm_eps=config.norm_eps,
        )
        self.transformer = TextTransformer(build_blocks(shape))
        self.norm = nn.LayerNorm(width, eps=config.norm_eps)
        pooled = config.match or config.num_answers
        self.pooler = nn.Linear(width, width) if pooled else None
        self.answer_head = (
            nn.Sequential(
                nn.Linear(width, 2 * width),
                nn.LayerNorm(2 * width),
                nn.GELU(),
                nn.Linear(2 * width, config.num_answers),
            )
            if config.num_answers
            else None
        )
        self.rank_head = nn.Linear(width, 1) if config.match else None
        self.token_head = (
            TokenHead(
                self.text_embedding.tokens,
                tied=config.tied,
                activation=config.activation,
                norm_eps=config.norm_eps,
            )
            if config.fill
            else None
        )

    @property
    def limits(self) -> ModelLimits:
        config = self.config
        return ModelLimits(config.image_size, config.vocab_size, config.context_length, config.num_answers)

    def encode_image(self, pixel_values: Tensor, pixel_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Embedded patches, the class token first, and which of them are the photo's.

        pixel_values: float[B, 3, H, W], H and W multiples of the patch size. pixel_mask: bool[B, H, W], True
        in a rectangle at the top left. Returns float[B, N, D] and bool[B, N].

        All patches of a photo are kept. Where ``max_image_length`` of a public configuration is a number,
        transformers draws that many of them at random, which is meant for training.
        """
        maps = self.patch_embed(pixel_values)
        batch, width, height, breadth = maps.shape
        step = self.config.patch_size
        # The mask of a patch is that of its first pixel, as nearest interpolation takes it.
        real = pixel_mask.index_select(1, torch.arange(height, device=maps.device) * step)
        real = real.index_select(2, torch.arange(breadth, device=maps.device) * step)  # [B, H/p, W/p]
        rows, columns = real.any(dim=2).sum(dim=1), real.any(dim=1).sum(dim=1)
        positions = grid_for_each(self.positions[1:], self.config.grid, rows, columns, (height, breadth))
        x = maps.flatten(2).transpose(1, 2) + positions
        lead = (self.class_token + self.positions[0]).expand(batch, 1, width)
        tokens = torch.cat([lead, x], dim=1) + self.modality.weight[1]
        whole = torch.ones(batch, 1, dtype=torch.bool, device=maps.device)
        return tokens, torch.cat([whole, real.flatten(1)], dim=1)

    def fuse(
        self, input_ids: Tensor, attention_mask: Tensor, image_tokens: Tensor, image_mask: Tensor
    ) -> Tensor:
        """The stream over a text and a photo: int64[B, T], bool[B, T] and what :meth:`encode_image` gives.

        Returns the text's part of it, float[B, T, D]."""
        text = self.text_embedding(input_ids, attention_mask) + self.modality.weight[0]
        x, _ = self.transformer(
            torch.cat([text, image_tokens], dim=1), torch.cat([attention_mask, image_mask], dim=1)
        )
        fused: Tensor = self.norm(x)[:, : input_ids.shape[1]]
        return fused

    def _pooled(self, fused: Tensor) -> Tensor:
        if self.pooler is None:
            raise ValueError("this model has no head over pooled tokens")
        return torch.tanh(self.pooler(fused[:, 0]))

    def answer_logits(self, fused: Tensor) -> Tensor:
        """From fused tokens float[B, T, D]: float[B, A], each the logit of one answer by itself.

        ViLT is taught binary cross-entropy (section 4.3), so the probability of an answer is its sigmoid."""
        if self.answer_head is None:
            raise ValueError("this model has no answer head (num_answers is 0)")
        logits: Tensor = self.answer_head(self._pooled(fused))
        return logits

    def match_logits(self, fused: Tensor) -> Tensor:
        """From fused tokens float[B, T, D]: float[B, 2], index 1 = match.

        The head gives one score, by which candidates are ranked. It began as the row "match" of a head of
        two (section 3.2), so it is put beside a 0: the softmax is then the sigmoid of the score, and
        candidates are ranked as by the score itself.
        """
        if self.rank_head is None:
            raise ValueError("this model has no head for matching")
        score = self.rank_head(self._pooled(fused))
        return torch.cat([torch.zeros_like(score), score], dim=1)

    def token_logits(self, fused: Tensor) -> Tensor:
        """What stands behind each mask: float[B, T, D] -> float[B, T, V]."""
        if self.token_head is None:
            raise ValueError("this model has no head to fill masks")
        logits: Tensor = self.token_head(fused, self.text_embedding.tokens)
        return logits
