"""Every default of every term on levels of real sizes: the toys override anchors, levels and weights elsewhere."""

from tests.align.test_positives import VOCLike, count, real_retinanet
from tests.toys import build_distiller, first_losses, toy_pair_batch, unfrozen

import pytest
import torch

TERMS = {
    name: dict(type=f'{kind}Term')
    for name, kind in dict(
        feature='Feature', response='Response', isrd='ISRD', fsr='FSR', adversarial='Adversarial',
        resolution='Resolution', pairwise='Pairwise', mmd='MMD',
    ).items()
}  # fmt: skip
PAIRS = {'fine, ratio 2': (2, 0), 'cheap, ratio 2': (2, 1), 'ratio 4': (4, 0), 'ratio 3/2': ('3/2', 1)}


@pytest.mark.parametrize('pair', PAIRS)
def test_every_term_is_finite_and_reaches_the_student(tmp_path, pair):
    """mmdet's anchors (nine a cell, strides 8–128 at HR), images of 320 × 240 HR pixels, levels without a positive."""
    ratio, start_level = PAIRS[pair]
    student = unfrozen(real_retinanet(start_level))
    distiller = build_distiller(tmp_path, guide=real_retinanet(1), student=student, ratio=ratio, terms=TERMS).train()
    scale = float(distiller.alignment.ratio)
    count(distiller, VOCLike(ratio=scale))
    assert 0 in distiller.alignment.positives
    sizes = ((round(240 / scale), round(320 / scale)), (round(240 / scale), round(300 / scale)))
    losses = first_losses(distiller, toy_pair_batch(ratio, sizes))
    terms = [name for name in losses if name.startswith('loss_') and name not in ('loss_cls', 'loss_bbox')]
    assert len(terms) == len(TERMS) + 2  # class and box of the two response terms
    parameters = list(distiller.student.parameters())
    for name in terms:
        assert torch.isfinite(losses[name]) and (losses[name].detach() > 0 or name == 'loss_mmd'), name
        gradients = torch.autograd.grad(losses[name], parameters, retain_graph=True, allow_unused=True)
        assert any(g is not None and g.abs().sum() > 0 for g in gradients), name
        assert all(g is None or g.isfinite().all() for g in gradients), name
