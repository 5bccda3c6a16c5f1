"""How much arithmetic an architecture takes for one photo, by closed formulas.

Counted are the multiply-adds of matrix products and convolutions, two floating-point operations each, so
that they can be divided by a rate measured on a matrix product. Left out are normalisations, activations,
softmaxes and additions: together well under 2% of any network here.

Beware when comparing: most papers and tools (fvcore, and UPop's "65.7 GFLOPs" for BLIP) print multiply-adds
and call them FLOPs. Twice their figure is ours.

Letters as everywhere: T text tokens, N image tokens, D width, V vocabulary. Every function returns
multiply-adds except :class:`Work`, which holds operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FLOPS_PER_MAC = 2


@dataclass(frozen=True, slots=True)
class Work:
    """Floating-point operations for one photo.

    parallel_flops: over all tokens of a photo or question at once: large matrix products.
    stepwise_flops: token after token, each waiting for the one before. Apart, because a step reads every
        weight to use it once: memory sets its pace, and it reaches a small part of the rate.
    """

    parallel_flops: int
    stepwise_flops: int = 0

    @property
    def flops(self) -> int:
        """All operations."""
        return self.parallel_flops + self.stepwise_flops


def block_macs(
    tokens: int, width: int, mlp_width: int, *, keys: int | None = None, memory_tokens: int = 0
) -> int:
    """One transformer block over ``tokens`` (Vaswani et al. 2017).

    Query, key, value and output: 4 D^2 a token. Scores and their sum over values: 2 D for each key. MLP:
    2 D mlp_width a token. Cross-attention over a memory: 2 D^2 a token (query and output) and 2 D for each
    of its tokens; the memory's own keys and values are :func:`memory_macs`, as they are made once.

    Args:
        keys: tokens attended to, if not ``tokens`` themselves.
        memory_tokens: of the image or question that is cross-attended; 0 for a block without.
    """
    attended = tokens if keys is None else keys
    own = tokens * (4 * width**2 + 2 * width * mlp_width) + 2 * tokens * attended * width
    if not memory_tokens:
        return own
    return own + tokens * 2 * width**2 + 2 * tokens * memory_tokens * width


def memory_macs(memory_tokens: int, memory_width: int, width: int) -> int:
    """The keys and values of a cross-attended memory, for one block."""
    return 2 * memory_tokens * memory_width * width


def decoding_macs(
    tokens: int, width: int, depth: int, mlp_width: int, vocab_size: int, *, memory_tokens: int = 0
) -> int:
    """``tokens`` written one by one with a cache: token t attends to t tokens, itself included."""
    steps = sum(
        block_macs(1, width, mlp_width, keys=place, memory_tokens=memory_tokens)
        for place in range(1, tokens + 1)
    )
    return depth * steps + tokens * width * vocab_size


def patch_count(image_size: tuple[int, int], patch_size: int) -> int:
    """Patches of a photo of (height, width) pixels."""
    return (image_size[0] // patch_size) * (image_size[1] // patch_size)


def patch_macs(image_size: tuple[int, int], patch_size: int, width: int) -> int:
    """The patches' embedding: a convolution of kernel and stride ``patch_size`` over three colours."""
    return patch_count(image_size, patch_size) * 3 * patch_size**2 * width


def attention_pool_macs(tokens: int, width: int, mlp_width: int) -> int:
    """SigLIP's pooling (Zhai et al. 2023): one learned query attends to all tokens, then an MLP."""
    return memory_macs(tokens, width, width) + 2 * width**2 + 2 * tokens * width + 2 * width * mlp_width


def resnet_macs(
    image_size: tuple[int, int], depths: Sequence[int], channels: Sequence[int], stem_channels: int
) -> int:
    """A bottleneck ResNet (He et al. 2015; the stride in the 3x3, as in torchvision and the hub's resnet-50).

    Stem: 7x7 of stride 2, then a pooling of stride 2. A block of C channels: 1x1 to C/4, 3x3, 1x1 to C; the
    first of a stage also projects its shortcut, and from the second stage on halves the sides.
    """
    height, width = _halved(image_size[0]), _halved(image_size[1])
    total = height * width * 3 * 49 * stem_channels
    height, width = _halved(height), _halved(width)
    incoming = stem_channels
    for stage, (depth, outgoing) in enumerate(zip(depths, channels, strict=True)):
        inner = outgoing // 4
        for block in range(depth):
            area_before = height * width
            if stage > 0 and block == 0:
                height, width = _halved(height), _halved(width)
            area = height * width
            total += area_before * incoming * inner + area * (9 * inner**2 + inner * outgoing)
            if block == 0:
                total += area * incoming * outgoing
            incoming = outgoing
    return total


def _halved(side: int) -> int:
    """A side after a stride of 2 with the usual padding."""
    return (side + 1) // 2
