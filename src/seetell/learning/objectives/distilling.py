"""Learning from another model's outputs: every loss is 0, and its gradient too, where student equals teacher.

Teachers' tensors come without a gradient and get none. All sums are in float32.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def soft_target_loss(logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """``T^2 * KL(softmax(teacher / T) || softmax(student / T))``, the mean over rows.

    Source: Hinton, Vinyals and Dean 2015, section 2: a higher temperature T shows which wrong answers the
    teacher finds less wrong, and T^2 keeps the gradient's size the same as T changes. Their cross-entropy
    differs from the divergence by the teacher's entropy, which has no gradient here.

    logits, teacher_logits: float[M, C]. No rows at all give 0 that carries a gradient.
    """
    if logits.shape[0] == 0:
        return logits.float().sum()
    student = (logits.float() / temperature).log_softmax(dim=-1)
    teacher = (teacher_logits.detach().float() / temperature).log_softmax(dim=-1)
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def affinity_loss(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Affinity mimicking: how alike the teacher finds each photo of the batch and each text.

    Source: TinyCLIP (Wu et al. 2023), the affinity mimicking loss: the softmax of a photo's similarities to
    the batch's texts, and of a text's to its photos, each model's at its own temperature, from teacher to
    student. Here the divergence in the place of their cross-entropy (the same gradient), and the mean of the
    two directions in the place of their sum.

    logits, teacher_logits: float[B, R], similarities of photos and texts times the model's scale.
    """
    photos_to_texts = soft_target_loss(logits, teacher_logits)
    texts_to_photos = soft_target_loss(logits.T, teacher_logits.T)
    return (photos_to_texts + texts_to_photos) / 2


def feature_loss(embeds: Tensor, teacher_embeds: Tensor) -> Tensor:
    """Feature mimicking: the squared distance between embeddings of the same photo or text, mean over rows.

    Source: CLIP-KD (Yang et al. 2024), feature distillation; the student's are projected where its space is
    of another width. At unit length it is ``2 - 2 cos``, so that both models' spaces weigh alike.

    embeds, teacher_embeds: float[M, S], of any length; they are normalised here.
    """
    student = F.normalize(embeds.float(), dim=-1)
    teacher = F.normalize(teacher_embeds.detach().float(), dim=-1)
    return (student - teacher).square().sum(dim=-1).mean()


def matched_layers(student_depth: int, teacher_depth: int) -> list[int]:
    """Which of the teacher's layers each of the student's learns from: evenly, the last from the last.

    Source: TinyBERT (Jiao et al. 2020, section 4.1) maps every k-th layer; here the depths need not divide.
    """
    return [
        max((2 * (layer + 1) * teacher_depth + student_depth) // (2 * student_depth) - 1, 0)
        for layer in range(student_depth)
    ]


def hidden_loss(maps: Tensor, teacher_maps: Tensor) -> Tensor:
    """The squared difference of one layer's states, mean over photos, places and channels.

    Source: TinyBERT (Jiao et al. 2020, equation 8), where a learned matrix takes the student's states to the
    teacher's width. Each place is first brought to mean 0 and deviation 1 over its channels, as Wei et al.
    2022 ("Feature distillation") do with the teacher's: few channels of a vision transformer are far larger
    than all others and would be all there is to learn.

    maps: float[B, C, h, w], already at the teacher's width; teacher_maps: float[B, C, H, W]. The finer of two
    grids is averaged over the cells of the coarser.
    """
    (height, width), (its_height, its_width) = maps.shape[2:], teacher_maps.shape[2:]
    grid = (min(height, its_height), min(width, its_width))
    student, teacher = (
        F.layer_norm(F.adaptive_avg_pool2d(one.float(), grid).movedim(1, -1), one.shape[1:2])
        for one in (maps, teacher_maps.detach())
    )
    return F.mse_loss(student, teacher)
