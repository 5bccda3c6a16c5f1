"""ROUGE-L (Lin 2004): the longest common subsequence of a caption and its references, as in coco-caption.

Precision and recall are each taken from the reference where they are best, and combined with beta 1.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from seetell.evaluation.bleu import Tokens

_BETA = 1.2


def rouge_l(caption: Tokens, references: Sequence[Tokens]) -> float:
    """ROUGE-L of one caption in 0..1; a corpus's is the mean over its captions."""
    common = [longest_common_subsequence(caption, reference) for reference in references]
    precision = max(common) / max(1, len(caption))
    recall = max(
        length / max(1, len(reference)) for length, reference in zip(common, references, strict=True)
    )
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def longest_common_subsequence(first: Tokens, second: Tokens) -> int:
    """Its length; tokens in between may be skipped."""
    above = [0] * (len(second) + 1)
    for token in first:
        row = [0]
        for column, other in enumerate(second):
            row.append(above[column] + 1 if token == other else max(row[column], above[column + 1]))
        above = row
    return above[-1]
