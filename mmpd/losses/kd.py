"""Knowledge distillation of class logits: KD and DKD.

Legend: logits (B, C). The guide gets no gradient.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError


def kd_loss(student_logits: Tensor, guide_logits: Tensor, temperature: float = 4.0) -> Tensor:
    """Knowledge distillation: T² · KL(softmax(guide / T) ‖ softmax(student / T)), mean over the batch.

    Source: Hinton et al. 2015, section 2 (T² keeps the gradient's size independent of T). The default T = 4 and the
    weights 0.1 · CE + 0.9 · KD that go with it are the reference values of the Pixel Distillation classification code.
    Deviation: Hinton's soft cross-entropy carries the guide's entropy as a constant; KL leaves it out, so that equal
    logits give 0.

    Args:
        student_logits: (B, C), before softmax.
        guide_logits: (B, C), before softmax.
        temperature: T > 0.

    Returns:
        Scalar ≥ 0.

    Raises:
        ConfigError: T is not positive, or the two class counts differ.
    """
    return kd_rows(student_logits, guide_logits, temperature).mean()


def kd_rows(student_logits: Tensor, guide_logits: Tensor, temperature: float = 4.0) -> Tensor:
    """`kd_loss` by sample: (B,); arguments and errors as there."""
    _check_logits(student_logits, guide_logits, temperature)
    log_p_student = F.log_softmax(_full(student_logits) / temperature, dim=1)
    log_p_guide = F.log_softmax(_full(guide_logits).detach() / temperature, dim=1)
    return temperature**2 * _kl_rows(log_p_student, log_p_guide)


def dkd_loss(
    student_logits: Tensor,
    guide_logits: Tensor,
    labels: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    """Decoupled knowledge distillation: T² · (alpha · TCKD + beta · NCKD), mean over the batch.

    TCKD is the KL of the two-way split (p_label, 1 − p_label), NCKD the KL among the other classes, renormalised.
    Plain KD is the special case beta = 1 − p_guide(label), sample by sample.

    Source: Zhao et al. 2022 (CVPR), sections 3.1 and 3.2; default alpha, beta and T are the paper's for CIFAR-100.
    Deviations: the other classes are taken out exactly, not pushed away by a large constant; the linear warm-up of
    the authors' code is a schedule, not part of the loss, and is left out.

    Args:
        student_logits: (B, C), before softmax, C ≥ 2.
        guide_logits: (B, C), before softmax.
        labels: (B,) class indices (long).
        alpha: weight of TCKD.
        beta: weight of NCKD.
        temperature: T > 0.

    Returns:
        Scalar ≥ 0 for alpha, beta ≥ 0.

    Raises:
        ConfigError: T is not positive, the two class counts differ, or C < 2.
    """
    tckd, nckd = dkd_parts(student_logits, guide_logits, labels, temperature)
    return temperature**2 * (alpha * tckd + beta * nckd).mean()


def dkd_parts(
    student_logits: Tensor, guide_logits: Tensor, labels: Tensor, temperature: float = 4.0
) -> tuple[Tensor, Tensor]:
    """The two halves of `dkd_loss` by sample, without T²: (TCKD (B,), NCKD (B,)); arguments and errors as there."""
    _check_logits(student_logits, guide_logits, temperature)
    if student_logits.shape[1] < 2:
        raise ConfigError(
            f'DKD splits the label from the other classes; num_classes={student_logits.shape[1]} has none'
        )
    target_student, others_student = _split_label(_full(student_logits) / temperature, labels)
    target_guide, others_guide = _split_label(_full(guide_logits).detach() / temperature, labels)
    return _kl_rows(target_student, target_guide), _kl_rows(others_student, others_guide)


def _full(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _kl_rows(log_p_student: Tensor, log_p_guide: Tensor) -> Tensor:
    """KL(guide ‖ student) of each row of two (B, C) log-probability tensors: (B,)."""
    return F.kl_div(log_p_student, log_p_guide, reduction='none', log_target=True).sum(1)


def _split_label(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C) logits to log-probabilities (B, 2) of label / any other class, and (B, C−1) among the others.

    log(1 − p) is summed from the other classes: taken from p itself it is −inf as soon as p rounds to 1.
    """
    is_label = F.one_hot(labels, logits.shape[1]).bool()
    others = logits[~is_label].view(len(logits), -1)
    two_way = torch.stack([logits[is_label], others.logsumexp(1)], dim=1)
    return F.log_softmax(two_way, dim=1), F.log_softmax(others, dim=1)


def _check_logits(student_logits: Tensor, guide_logits: Tensor, temperature: float) -> None:
    if temperature <= 0:
        raise ConfigError(f'temperature={temperature} must be positive')
    if student_logits.shape != guide_logits.shape:
        raise ConfigError(
            f'student logits {tuple(student_logits.shape)} and guide logits {tuple(guide_logits.shape)} differ: '
            'set the same num_classes in both heads'
        )
