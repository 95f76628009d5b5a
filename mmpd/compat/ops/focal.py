"""Focal losses of `mmcv._ext` (Lin et al., 2017, eq. 5), in closed form: N predictions over C classes.

With p_t the probability of what is right, `FL = -a_t (1 - p_t)^gamma log p_t`, and with z its logit (sigmoid)
`dFL/dz = -a_t (1 - p_t)^gamma (1 - p_t - gamma p_t log p_t)`.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import full_precision


def _class_weight(weight: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """(N,) weight of each target's class; 1 for a target that is no class (background has no entry in `weight`)."""
    is_class = (target >= 0) & (target < num_classes)
    return torch.where(is_class, weight[target.clamp(0, num_classes - 1)], weight.new_ones(()))


def _sigmoid_parts(
    logits: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """sign (+1 at the target's class, else -1), p_t, log p_t and a_t, each (N, C)."""
    classes = torch.arange(logits.shape[1], device=logits.device)
    positive = target[:, None] == classes
    sign = torch.where(positive, 1.0, -1.0).to(logits)
    alpha_t = torch.where(positive, alpha, 1 - alpha).to(logits)
    if weight.numel():
        alpha_t = alpha_t * _class_weight(weight, target, logits.shape[1])[:, None]
    # logsigmoid and not log(sigmoid): the latter is -inf, and its gradient NaN, for logits below about -100.
    return sign, torch.sigmoid(sign * logits), F.logsigmoid(sign * logits), alpha_t


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the loss of every (prediction, class) to output.

    Args:
        input: (N, C) logits. target: (N,) int64; every value outside 0 … C-1 is background.
        weight: (C,) factors by the target's class, or empty.
        output: (N, C), written.
    """
    logits, weight = full_precision(input, weight)
    _, p_t, log_p_t, alpha_t = _sigmoid_parts(logits, target, weight, alpha)
    output.copy_(-alpha_t * (1 - p_t).pow(gamma) * log_p_t)


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write d loss / d logit, (N, C), to grad_input; the caller multiplies the incoming gradient."""
    logits, weight = full_precision(input, weight)
    sign, p_t, log_p_t, alpha_t = _sigmoid_parts(logits, target, weight, alpha)
    grad_input.copy_(-sign * alpha_t * (1 - p_t).pow(gamma) * (1 - p_t - gamma * p_t * log_p_t))


def _softmax_parts(softmax: Tensor, target: Tensor, weight: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """p_t, log p_t and a_t, each (N,); a_t is 0 for ignored targets (< 0)."""
    p_t = softmax.gather(1, target.clamp(min=0)[:, None]).squeeze(1)
    alpha_t = torch.where(target >= 0, alpha, 0.0).to(softmax)
    if weight.numel():
        alpha_t = alpha_t * _class_weight(weight, target, softmax.shape[1])
    return p_t, p_t.clamp(min=torch.finfo(p_t.dtype).tiny).log(), alpha_t


def softmax_focal_loss_forward(
    softmax: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the loss of every prediction, (N,), to output.

    Args:
        softmax: (N, C) probabilities. target: (N,) int64 in 0 … C-1; negative ones are ignored.
        weight: (C,) or empty.
    """
    softmax, weight = full_precision(softmax, weight)
    p_t, log_p_t, alpha_t = _softmax_parts(softmax, target, weight, alpha)
    output.copy_(-alpha_t * (1 - p_t).pow(gamma) * log_p_t)


def softmax_focal_loss_backward(
    softmax: Tensor, target: Tensor, weight: Tensor, buff: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write d loss / d logit, (N, C), to grad_input and the factor common to a row, (N,), to buff."""
    softmax, weight = full_precision(softmax, weight)
    p_t, log_p_t, alpha_t = _softmax_parts(softmax, target, weight, alpha)
    q_t = 1 - p_t
    row = alpha_t * (gamma * q_t.pow(gamma - 1) * p_t * log_p_t - q_t.pow(gamma))
    one_hot = F.one_hot(target.clamp(min=0), softmax.shape[1]).to(softmax)
    buff.copy_(row)
    grad_input.copy_(row[:, None] * (one_hot - softmax))


OPERATORS: dict[str, Callable[..., Any]] = {
    'sigmoid_focal_loss_forward': sigmoid_focal_loss_forward,
    'sigmoid_focal_loss_backward': sigmoid_focal_loss_backward,
    'softmax_focal_loss_forward': softmax_focal_loss_forward,
    'softmax_focal_loss_backward': softmax_focal_loss_backward,
}
