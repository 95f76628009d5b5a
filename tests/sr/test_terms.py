"""The terms of super-resolution: what they compare, which gradients flow, and what is refused."""

from pathlib import Path

from mmpd.errors import ConfigError
from mmpd.sr import terms as terms_module
from mmpd.sr.model import hr_targets
from mmpd.sr.upcycling import augment, undo, zoom_out
from tests.sr.toys import build_distiller, pair_batch, step, toy_edsr

import pytest
import torch

ALL = dict(
    logits=dict(type='LogitsTerm'),
    zoom_in=dict(type='ZoomInTerm'),
    zoom_out=dict(type='ZoomOutTerm'),
    consistency=dict(type='ConsistencyTerm'),
    affinity=dict(type='AffinityTerm'),
)


@pytest.mark.parametrize('name', ALL)
def test_each_term_alone_reaches_the_student_and_not_the_guide(tmp_path: Path, name: str):
    distiller = build_distiller(tmp_path, toy_edsr(), toy_edsr(6), **{name: ALL[name]})
    losses = step(distiller, pair_batch())
    assert set(losses) == {'loss_rec', f'loss_{name}'}
    losses[f'loss_{name}'].backward()
    assert losses[f'loss_{name}'] > 0
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in distiller.student.parameters())
    assert all(p.grad is None for p in distiller.guide.parameters())


@pytest.mark.parametrize('name', ['logits', 'zoom_in', 'affinity'])
def test_a_student_equal_to_its_guide_has_nothing_to_learn(tmp_path: Path, name: str):
    config = {**ALL[name], **(dict(consistency=0.0) if name == 'zoom_in' else {})}
    distiller = build_distiller(tmp_path, toy_edsr(), **{name: config})
    distiller.student.load_state_dict(distiller.guide.state_dict())
    assert step(distiller, pair_batch())[f'loss_{name}'].item() == pytest.approx(0, abs=1e-6)


def test_zoom_out_is_supervised_by_the_lr_patch_and_by_the_guide(tmp_path: Path):
    distiller = build_distiller(
        tmp_path, toy_edsr(), toy_edsr(6), zoom_out=dict(type='ZoomOutTerm', consistency=0.0, loss_weight=0.5)
    )
    batch = pair_batch()
    losses = step(distiller, batch)
    images_lr = distiller.data_preprocessor(batch, True)['inputs']['lr']
    small = zoom_out(images_lr, 2)
    assert small.shape[-2:] == (6, 6)
    output, label = distiller.student(small), distiller.guide(small)
    expected = 0.5 * ((output - images_lr).abs().mean() + (output - label).abs().mean())
    torch.testing.assert_close(losses['loss_zoom_out'], expected)


@pytest.mark.parametrize('names', [('transpose', 'hflip'), ('invert', 'vflip', 'transpose')])
def test_the_student_sees_the_augmented_tile_and_its_output_is_undone_in_reverse_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
):
    distiller = build_distiller(tmp_path, toy_edsr(), toy_edsr(6), zoom_in=dict(type='ZoomInTerm', tiles=4))
    monkeypatch.setattr(terms_module, 'draw_augmentations', lambda probability: names)
    monkeypatch.setattr(terms_module, 'random_tiles', lambda images, scale, n: images[..., :12, :12])
    batch = pair_batch()
    loss = step(distiller, batch)['loss_zoom_in']
    tiles = hr_targets(batch['data_samples'])[..., :12, :12]
    expected = (undo(distiller.student(augment(tiles, names)), names) - distiller.guide(tiles)).abs().mean()
    torch.testing.assert_close(loss, expected)


def test_all_losses_are_in_one_step_of_the_optimiser(tmp_path: Path):
    """The gradient of a step is that of the weighted sum, taken once: nothing is kept from step to step."""
    weights = dict(logits=0.2, zoom_in=0.3, zoom_out=0.4)
    terms = {name: dict(ALL[name], loss_weight=weight) for name, weight in weights.items()}
    distiller = build_distiller(tmp_path, toy_edsr(), toy_edsr(6), **terms)
    batch = pair_batch()
    torch.manual_seed(0)
    losses = step(distiller, batch)
    expected = torch.autograd.grad(sum(losses.values()), list(distiller.student.parameters()))
    from mmengine.optim import OptimWrapper

    seen: list[list[torch.Tensor]] = []

    class Recorder(torch.optim.SGD):
        def step(self, closure=None):
            seen.append([p.grad.clone() for p in distiller.student.parameters()])

    wrapper = OptimWrapper(Recorder(distiller.student.parameters(), lr=0.0))
    for _ in range(2):
        torch.manual_seed(0)
        distiller.train_step(batch, wrapper)
    assert len(seen) == 2
    for grads in seen:
        torch.testing.assert_close(grads, list(expected))


@pytest.mark.parametrize(
    ('term', 'message'),
    [
        (dict(type='ZoomInTerm', tiles=5), 'tiles = 5'),
        (dict(type='ZoomInTerm', tiles=0), 'tiles = 0'),
        (dict(type='ZoomOutTerm', consistency=1.5), 'consistency = 1.5'),
        (dict(type='ConsistencyTerm', consistency=0), 'consistency = 0'),
        (dict(type='ZoomInTerm', tile=2), 'terms.bad'),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, term: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        build_distiller(tmp_path, toy_edsr(), bad=term)
