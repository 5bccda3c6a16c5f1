"""The role of an encoder that reads a text beside an image, whatever model it is part of."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping

from torch import Tensor

from seetell.bundle.manifest import Role
from seetell.modeling.export.roles.base import RoleModule, Specs, spec, text_inputs


class FusionRole(RoleModule):
    """``heads``: by output, what makes it of the fused tokens float[B, T, D]."""

    role: Role = "fusion_encoder"
    heads: Mapping[str, Callable[[Tensor], Tensor]]

    def __init__(
        self,
        image_dim: int,
        *,
        fused_dim: int | None,
        match: bool = False,
        vocab_size: int | None = None,
        num_answers: int | None = None,
        without: Collection[str],
    ) -> None:
        """image_dim: of the image's tokens. fused_dim: of the text's tokens once fused. match, vocab_size and
        num_answers: the heads there are; None or 0 stands for none."""
        inputs = {
            **text_inputs(),
            "image_tokens": spec("float32", "B", "N", image_dim),
            "image_mask": spec("bool", "B", "N"),
        }
        outputs: Specs = {}
        if fused_dim:
            outputs["fused_tokens"] = spec("float32", "B", "T", fused_dim)
        if match:
            outputs["match_logits"] = spec("float32", "B", 2)
        if vocab_size:
            outputs["token_logits"] = spec("float32", "B", "T", vocab_size)
        if num_answers:
            outputs["answer_logits"] = spec("float32", "B", num_answers)
        super().__init__(inputs, outputs, without)

    @abstractmethod
    def _fused(
        self, input_ids: Tensor, attention_mask: Tensor, image_tokens: Tensor, image_mask: Tensor
    ) -> Tensor:
        """float[B, T, D], the text's tokens having seen the image's."""

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, image_tokens: Tensor, image_mask: Tensor
    ) -> tuple[Tensor, ...]:
        fused = self._fused(input_ids, attention_mask, image_tokens, image_mask)
        heads = {name: self.heads[name](fused) for name in self.outputs if name != "fused_tokens"}
        return self._chosen({"fused_tokens": fused, **heads})
