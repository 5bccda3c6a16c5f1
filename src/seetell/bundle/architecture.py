"""The shape of a public checkpoint, as far as its arithmetic depends on it, and the work of each task.

Numbers of the published configurations, described by parts: which parts there are says how a task is done,
so nothing here asks what a model is called.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from seetell.bundle.flops import (
    FLOPS_PER_MAC,
    Work,
    attention_pool_macs,
    block_macs,
    decoding_macs,
    memory_macs,
    patch_count,
    patch_macs,
    resnet_macs,
)
from seetell.core.strict import Strict

# What one photo's work is counted for. Special tokens are included.
CAPTION_TOKENS = 15
QUESTION_TOKENS = 10
ANSWER_TOKENS = 4

Count = Annotated[int, Field(gt=0)]


class ViTShape(Strict):
    """A vision transformer. ``shared_width`` is the space it projects its pooled token to, ``labels`` the
    size of its classification head; 0 where there is none."""

    kind: Literal["vit"]
    image_size: tuple[Count, Count]
    patch_size: Count
    width: Count
    depth: Count
    mlp_width: Count
    class_token: bool = True
    attention_pool: bool = False
    shared_width: int = Field(default=0, ge=0)
    labels: int = Field(default=0, ge=0)

    @property
    def tokens(self) -> int:
        """N."""
        return patch_count(self.image_size, self.patch_size) + self.class_token

    @property
    def macs(self) -> int:
        """For one photo."""
        total = patch_macs(self.image_size, self.patch_size, self.width)
        total += self.depth * block_macs(self.tokens, self.width, self.mlp_width)
        if self.attention_pool:
            total += attention_pool_macs(self.tokens, self.width, self.mlp_width)
        return total + self.width * (self.shared_width + self.labels)


class ResNetShape(Strict):
    """A bottleneck ResNet with a classification head."""

    kind: Literal["resnet"]
    image_size: tuple[Count, Count]
    depths: tuple[Count, ...]
    channels: tuple[Count, ...]
    stem_channels: Count
    labels: int = Field(default=0, ge=0)

    @property
    def tokens(self) -> int:
        """N: places of the last map."""
        scale = 1 << (1 + len(self.depths))  # the stem twice, each stage but the first once
        return -(-self.image_size[0] // scale) * -(-self.image_size[1] // scale)

    @property
    def macs(self) -> int:
        """For one photo."""
        trunk = resnet_macs(self.image_size, self.depths, self.channels, self.stem_channels)
        return trunk + self.channels[-1] * self.labels


class TextShape(Strict):
    """A text encoder. ``memory_width``: it also attends to image tokens of that width; 0 if it does not.
    ``fixed_length``: always padded to so many tokens."""

    width: Count
    depth: Count
    mlp_width: Count
    memory_width: int = Field(default=0, ge=0)
    fixed_length: Count | None = None
    shared_width: int = Field(default=0, ge=0)

    def macs(self, tokens: int, memory_tokens: int = 0) -> int:
        """For a text of ``tokens``, over an image of ``memory_tokens`` if it attends to one."""
        length = self.fixed_length or tokens
        seen = memory_tokens if self.memory_width else 0
        block = block_macs(length, self.width, self.mlp_width, memory_tokens=seen)
        block += memory_macs(seen, self.memory_width, self.width)
        return self.depth * block + self.width * self.shared_width


class DecoderShape(Strict):
    """A text decoder; ``memory_width`` is 0 for one that attends to no image."""

    width: Count
    depth: Count
    mlp_width: Count
    vocab_size: Count
    memory_width: int = Field(default=0, ge=0)

    def memory(self, memory_tokens: int) -> int:
        """Multiply-adds of the memory's keys and values, made once for a photo."""
        return self.depth * memory_macs(memory_tokens, self.memory_width, self.width)

    def steps(self, tokens: int, memory_tokens: int) -> int:
        """Multiply-adds of ``tokens`` written one by one."""
        seen = memory_tokens if self.memory_width else 0
        return decoding_macs(
            tokens, self.width, self.depth, self.mlp_width, self.vocab_size, memory_tokens=seen
        )


class JointShape(Strict):
    """One stream over text and image patches together (ViLT, Kim et al. 2021).

    image_size: of a 4:3 photo after resizing, as it keeps its aspect ratio. head_widths: the layers of the
    head over the pooled token, each from the one before.
    """

    image_size: tuple[Count, Count]
    patch_size: Count
    width: Count
    depth: Count
    mlp_width: Count
    head_widths: tuple[Count, ...]

    def macs(self, text_tokens: int) -> int:
        """For one photo and one text."""
        tokens = text_tokens + 1 + patch_count(self.image_size, self.patch_size)
        total = patch_macs(self.image_size, self.patch_size, self.width)
        total += self.depth * block_macs(tokens, self.width, self.mlp_width) + self.width**2
        widths = (self.width, *self.head_widths)
        return total + sum(one * following for one, following in pairwise(widths))


class Architecture(Strict):
    """The parts of a checkpoint; those it lacks are None."""

    image: Annotated[ViTShape | ResNetShape, Field(discriminator="kind")] | None = None
    text: TextShape | None = None
    fusion: TextShape | None = None
    decoder: DecoderShape | None = None
    joint: JointShape | None = None

    def caption_work(self) -> Work | None:
        """One caption, greedily; None for an architecture that writes none."""
        if self.image is None or self.decoder is None:
            return None
        return _work(
            self.image.macs + self.decoder.memory(self.image.tokens),
            self.decoder.steps(CAPTION_TOKENS, self.image.tokens),
        )

    def answer_work(self) -> Work | None:
        """One answer to one question; None for an architecture that gives none."""
        if self.joint is not None:
            return _work(self.joint.macs(QUESTION_TOKENS))
        if self.image is None or self.fusion is None or self.decoder is None:
            return None
        question = self.fusion.macs(QUESTION_TOKENS, self.image.tokens)
        return _work(
            self.image.macs + question + self.decoder.memory(QUESTION_TOKENS),
            self.decoder.steps(ANSWER_TOKENS, QUESTION_TOKENS),
        )

    def embedding_work(self) -> Work | None:
        """One photo's vector. A text's is made once for a search, whatever the number of photos."""
        return None if self.image is None else _work(self.image.macs)


def _work(parallel_macs: int, stepwise_macs: int = 0) -> Work:
    return Work(FLOPS_PER_MAC * parallel_macs, FLOPS_PER_MAC * stepwise_macs)
