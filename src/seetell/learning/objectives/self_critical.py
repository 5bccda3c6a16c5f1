"""Self-critical sequence training (Rennie et al. 2017): captions the model draws itself are made more or less
likely by how well they score.

The baseline of each is the mean of the photo's other ones (Luo 2020), which needs no second decoding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from seetell.evaluation.caption_tokens import caption_tokens
from seetell.evaluation.cider import Rarity


class CaptionReward:
    """CIDEr-D of captions beside those people gave the photo, n-grams weighed by the photos learned from.

    captions: language -> photo -> its captions. decode: token ids of words to text.
    """

    def __init__(
        self, captions: Mapping[str, Mapping[str, Sequence[str]]], decode: Callable[[Iterable[int]], str]
    ) -> None:
        self._decode = decode
        self._references = {
            language: {
                photo: [caption_tokens(one, language) for one in several] for photo, several in of.items()
            }
            for language, of in captions.items()
        }
        self._rarity = {language: Rarity(of.values()) for language, of in self._references.items()}

    def knows(self, photo: str, language: str) -> bool:
        """Whether people captioned the photo in this language."""
        return photo in self._references.get(language, {})

    def __call__(self, photo: str, language: str, ids: Sequence[int]) -> float:
        """The reward of one caption; 0 for an empty one. Raises KeyError for a photo it does not know."""
        tokens = caption_tokens(self._decode(ids), language)
        return self._rarity[language].score(tokens, self._references[language][photo])


def advantages(rewards: Tensor) -> Tensor:
    """float[P, S], of S captions of each of P photos -> the same less the mean of the photo's other ones."""
    samples = rewards.shape[1]
    if samples < 2:
        raise ValueError("a caption is judged beside others of its photo: draw two or more")
    others = (rewards.sum(dim=1, keepdim=True) - rewards) / (samples - 1)
    return rewards - others


def self_critical_loss(logits: Tensor, labels: Tensor, advantage: Tensor) -> Tensor:
    """Mean over the drawn tokens of -advantage log p(token): its gradient is that of the expected reward.

    logits: float[M, V]; labels: int64[M]; advantage: float[M], of the caption each belongs to.
    """
    return (F.cross_entropy(logits.float(), labels, reduction="none") * advantage).mean()


def drawn(logits: Tensor, banned: Tensor) -> Tensor:
    """One token of each row by its probability. logits: float[R, V]; banned: int64[n], never drawn."""
    open_ = logits.float().index_fill(1, banned, -torch.inf)
    return torch.multinomial(open_.softmax(dim=1), 1)[:, 0]
