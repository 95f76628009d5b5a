import mmpd  # noqa: F401  (installs the stand-in)

import pytest
import torch
from mmcv.ops import sigmoid_focal_loss, softmax_focal_loss
from torch.autograd import gradcheck

DEVICES = ['cpu', *(['cuda'] if torch.cuda.is_available() else [])]
TARGET = torch.tensor([0, 3, 1, 2, 3])  # 3 is background: three classes


def logits(device='cpu'):
    return torch.randn(5, 3, dtype=torch.double, generator=torch.Generator().manual_seed(0)).to(device).requires_grad_()


def sigmoid_definition(x, target, gamma, alpha):
    result = torch.zeros_like(x)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            p = torch.sigmoid(x[n, c])
            if target[n] == c:
                result[n, c] = -alpha * (1 - p) ** gamma * torch.log(p)
            else:
                result[n, c] = -(1 - alpha) * p**gamma * torch.log(1 - p)
    return result


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, 0.25), (0.5, 0.6), (0.0, 0.5)])
def test_sigmoid_focal_loss(device, gamma, alpha):
    x, target = logits(device), TARGET.to(device)
    loss = sigmoid_focal_loss(x, target, gamma, alpha, None, 'none')
    expected = sigmoid_definition(x, target, gamma, alpha)
    assert torch.allclose(loss, expected)
    gradient = torch.autograd.grad(loss.sum(), x)[0]
    assert torch.allclose(gradient, torch.autograd.grad(expected.sum(), x)[0])


def test_sigmoid_focal_loss_weighs_rows_by_their_class_and_background_by_one():
    weight = torch.tensor([2.0, 3.0, 5.0], dtype=torch.double)
    plain = sigmoid_focal_loss(logits(), TARGET, 2.0, 0.25, None, 'none')
    weighted = sigmoid_focal_loss(logits(), TARGET, 2.0, 0.25, weight, 'none')
    assert torch.allclose(weighted, plain * torch.tensor([2.0, 1, 3, 5, 1], dtype=torch.double)[:, None])


@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
def test_sigmoid_focal_loss_gradcheck(reduction):
    weight = torch.tensor([2.0, 3.0, 5.0], dtype=torch.double)
    assert gradcheck(lambda x: sigmoid_focal_loss(x, TARGET, 2.0, 0.25, weight, reduction), logits())


def test_sigmoid_focal_loss_stays_finite_on_extreme_logits():
    x = torch.tensor([[-300.0, 300.0, 0.0]], requires_grad=True)
    loss = sigmoid_focal_loss(x, torch.tensor([0]), 2.0, 0.25, None, 'sum')
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(x.grad).all()
    assert loss > 0.25 * 300, 'a positive at logit -300 costs 300, not the log of the smallest float'


def softmax_definition(x, target, gamma, alpha, weight):
    losses = []
    for n, label in enumerate(target.tolist()):
        p = torch.softmax(x[n], dim=0)[label] if label >= 0 else x.new_ones(())
        losses.append(-alpha * weight[max(label, 0)] * (1 - p) ** gamma * torch.log(p))
    return torch.stack(losses)


@pytest.mark.parametrize('device', DEVICES)
def test_softmax_focal_loss(device):
    x, target = logits(device), torch.tensor([0, -1, 1, 2, 2], device=device)
    weight = torch.tensor([2.0, 3.0, 5.0], dtype=torch.double, device=device)
    loss = softmax_focal_loss(x, target, 2.0, 0.25, weight, 'sum')
    expected = softmax_definition(x, target, 2.0, 0.25, weight).sum()
    assert torch.allclose(loss, expected)
    assert torch.allclose(torch.autograd.grad(loss, x)[0], torch.autograd.grad(expected, x)[0])
    assert gradcheck(lambda y: softmax_focal_loss(y, target, 1.5, 0.25, weight, 'mean'), x)
