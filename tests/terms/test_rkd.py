"""The terms of resolution-aware distillation on detectors."""

from types import SimpleNamespace

from mmpd.distill.matched import MapPair
from mmpd.errors import ConfigError
from mmpd.heads.base import responses
from mmpd.losses.resolution import FLOOR, score_divergence
from mmpd.terms import adversarial, crkd
from mmpd.terms.adversarial import MEMORY, PATIENCE, AdversarialTerm
from mmpd.terms.crkd import MMDTerm
from tests.distill.test_distiller import guide_file
from tests.toys import build_distiller, build_model, first_losses, save_weights, toy_pair_batch, toy_retinanet, unfrozen

import pytest
import torch
from mmengine.logging import MMLogger

RKD = dict(
    adversarial=dict(type='AdversarialTerm'),
    resolution=dict(type='ResolutionTerm'),
    pairwise=dict(type='PairwiseTerm'),
    mmd=dict(type='MMDTerm'),
)
NAMES = {'loss_adversarial', 'loss_resolution_cls', 'loss_resolution_bbox', 'loss_pairwise', 'loss_mmd'}
LOGGED = {'adversarial_accuracy', 'adversarial_gradient', 'adversarial_ramp'}
OWN = {'loss_cls', 'loss_bbox'}
PAIRS = {
    'fine, ratio 2': {},
    'ratio 3/2': dict(ratio='3/2', student=unfrozen(toy_retinanet())),
    'ratio 4': dict(ratio=4),
    'compression, ratio 1': dict(ratio=1, student=unfrozen(toy_retinanet())),
    'other widths': dict(student=unfrozen(toy_retinanet(start_level=0, out_channels=12))),
}


def summed(losses: dict) -> torch.Tensor:
    return sum(value for name, value in losses.items() if 'loss' in name)


@pytest.mark.parametrize('pair', PAIRS)
def test_every_term_is_finite_and_reaches_the_student(tmp_path, pair):
    """MMD² alone may be negative: it is unbiased, and sets that are alike are as often below zero as above."""
    distiller = build_distiller(tmp_path, terms=RKD, **PAIRS[pair]).train()
    losses = first_losses(distiller)
    assert losses.keys() == OWN | NAMES | LOGGED
    for name in NAMES:
        assert torch.isfinite(losses[name]) and (losses[name].detach() > 0 or name == 'loss_mmd'), name
        gradients = torch.autograd.grad(
            losses[name], list(distiller.student.parameters()), retain_graph=True, allow_unused=True
        )
        assert any(g is not None and g.abs().sum() > 0 for g in gradients), name
    assert not any(losses[name].requires_grad for name in LOGGED)
    assert 0 <= losses['adversarial_accuracy'] <= 1 and losses['adversarial_gradient'] > 0


def test_only_losses_are_summed(tmp_path):
    distiller = build_distiller(tmp_path, terms=RKD)
    losses = first_losses(distiller)
    total, logged = distiller.parse_losses(losses)
    torch.testing.assert_close(total, summed(losses))
    assert logged.keys() >= LOGGED


def test_nothing_of_a_term_is_in_the_student(tmp_path):
    distiller = build_distiller(tmp_path, terms=RKD)
    assert any('discriminator' in key for key in distiller.state_dict())
    assert (
        distiller.student.state_dict().keys() == build_model(unfrozen(toy_retinanet(start_level=0))).state_dict().keys()
    )


@pytest.mark.parametrize('pair', ['fine, ratio 2', 'ratio 3/2', 'other widths'])
def test_no_parameter_is_unused(tmp_path, pair):
    """As DDP wants it, also where no image of the batch has an object."""
    distiller = build_distiller(tmp_path, terms=RKD, **PAIRS[pair]).train()
    for empty in (False, True):
        distiller.zero_grad()
        batch = toy_pair_batch(distiller.alignment.ratio)
        if empty:
            for sample in batch['data_samples']:
                sample.gt_instances = sample.gt_instances[:0]
        losses = first_losses(distiller, batch)
        summed(losses).backward()
        assert [name for name, p in distiller.named_parameters() if p.grad is None] == []
        if empty:
            assert losses['loss_pairwise'] == losses['loss_mmd'] == 0


def test_a_term_set_to_none_is_off(tmp_path):
    distiller = build_distiller(tmp_path, terms={**RKD, 'adversarial': None, 'mmd': None})
    assert set(distiller.terms) == {'resolution', 'pairwise'}


def test_a_student_that_is_its_guide_has_nothing_to_learn(tmp_path):
    """Ratio 1 and equal weights, in eval: pairs, sets and answers are the same, and D cannot tell."""
    config, file = unfrozen(toy_retinanet()), tmp_path / 'guide.pth'
    save_weights(config, file)
    distiller = build_distiller(
        tmp_path, guide=config, student=config, ratio=1, guide_checkpoint=str(file), terms=RKD
    ).eval()
    distiller.student.load_state_dict(guide_file(distiller))
    losses = first_losses(distiller)
    for name in NAMES - {'loss_adversarial'}:
        assert abs(float(losses[name])) < 1e-6, name
    assert losses['loss_adversarial'] >= torch.log(torch.tensor(2.0)) - 1e-6
    assert losses['adversarial_accuracy'] == 0.5


# --- resolution-aware responses ---


def resolution_losses(tmp_path, **options) -> dict[str, torch.Tensor]:
    distiller = build_distiller(tmp_path, terms=dict(r=dict(type='ResolutionTerm', **options)))
    return first_losses(distiller)


def test_switched_off_it_is_the_response_term_and_the_guide_runs_once(tmp_path, monkeypatch):
    plain = first_losses(build_distiller(tmp_path, terms=dict(r=dict(type='ResponseTerm', loss_weight=2.0))))
    distiller = build_distiller(tmp_path, terms=dict(r=dict(type='ResolutionTerm', loss_weight=2.0, aware=False)))
    calls = []
    run = type(distiller.guide_view).run
    monkeypatch.setattr(
        type(distiller.guide_view), 'run', lambda *args, **options: calls.append(1) or run(*args, **options)
    )
    losses = first_losses(distiller)
    for part in ('cls', 'bbox'):
        torch.testing.assert_close(losses[f'loss_resolution_{part}'], plain[f'loss_response_{part}'])
    assert len(calls) == 1
    distiller.terms['r'].aware = True
    first_losses(distiller)
    assert len(calls) == 3


def test_the_weights_have_mean_one_and_no_gradient_and_are_one_where_lr_is_hr(tmp_path, monkeypatch):
    seen = []
    weigh = crkd.resolution_weights
    monkeypatch.setattr(crkd, 'resolution_weights', lambda *args: seen.append(weigh(*args)) or seen[-1])
    resolution_losses(tmp_path)
    assert float(seen[0].mean()) == pytest.approx(1.0, rel=1e-4) and float(seen[0].std()) > 0.01
    assert not seen[0].requires_grad
    student = unfrozen(toy_retinanet())
    first_losses(build_distiller(tmp_path, terms=dict(r=dict(type='ResolutionTerm')), ratio=1, student=student))
    torch.testing.assert_close(seen[1], torch.ones_like(seen[1]))


def test_the_second_forward_goes_through_the_guides_cache(tmp_path):
    terms = dict(r=dict(type='ResolutionTerm'))
    plain = first_losses(build_distiller(tmp_path, terms=terms))
    cached = build_distiller(tmp_path, terms=terms, guide_cache=64)
    for hits in (0, 4):  # two images, each at HR and enlarged
        losses = first_losses(cached)
        assert cached.guide_cache.hits == hits
        torch.testing.assert_close(losses['loss_resolution_cls'], plain['loss_resolution_cls'])


def test_the_weight_is_that_of_the_guides_location_that_the_students_hears(tmp_path, monkeypatch):
    """By hand: the guide run twice, the divergence where each answer comes from; a resample plan moves answers."""
    distiller = build_distiller(
        tmp_path, terms=dict(r=RKD['resolution']), ratio='3/2', student=unfrozen(toy_retinanet())
    )
    steps, term = [], distiller.terms['r']
    emphasis = type(term).emphasis
    monkeypatch.setattr(type(term), 'emphasis', lambda term, of: steps.append((of, emphasis(term, of))) or steps[-1][1])
    first_losses(distiller)
    step, weights = steps[0]
    head = distiller.guide.bbox_head
    enlarged = torch.nn.functional.interpolate(step.images_lr, step.images_hr.shape[-2:], mode='bilinear')
    with torch.no_grad():
        said = [
            torch.cat([level.logits for level in responses(head, head(distiller.guide.extract_feat(images)))], dim=1)
            for images in (step.images_hr, enlarged)
        ]
    cost = score_divergence(*said) + FLOOR
    sure = torch.maximum(*(logits.sigmoid().amax(2) for logits in said)) >= term.threshold
    source = torch.cat([aligned.response.source for aligned in step.aligned_responses], dim=1)
    heard, counted = cost.gather(1, source), sure.gather(1, source)
    expected = torch.where(counted, heard / heard[counted].mean(), torch.ones_like(heard))
    torch.testing.assert_close(torch.cat(list(weights), dim=1), expected, rtol=1e-3, atol=1e-4)
    logits = torch.cat([aligned.response.logits for aligned in step.aligned_responses], dim=1)
    own = said[0].gather(1, source[..., None].expand_as(logits))
    assert (torch.isclose(logits, own, atol=1e-4) | (logits < own)).all(), 'heard there, or hushed on the background'


# --- vectors ---


@pytest.mark.parametrize('term', ['PairwiseTerm', 'MMDTerm'])
def test_a_thinned_set_is_the_same_every_time_and_draws_no_random_number(tmp_path, term):
    distiller = build_distiller(tmp_path, terms=dict(t=dict(type=term, max_cells=3)))
    name = dict(PairwiseTerm='loss_pairwise', MMDTerm='loss_mmd')[term]
    state = torch.get_rng_state()
    first, again = (float(first_losses(distiller.eval())[name]) for _ in range(2))
    assert first == again and torch.equal(torch.get_rng_state(), state)
    assert first != float(first_losses(build_distiller(tmp_path, terms=dict(t=dict(type=term))).eval())[name])


def test_one_cell_is_no_pair(tmp_path):
    with pytest.raises(ConfigError, match='MMDTerm: max_cells = 1'):
        build_distiller(tmp_path, terms=dict(t=dict(type='MMDTerm', max_cells=1)))


# --- the discriminator at work ---


class TwoGaussians:
    """A step whose guide features are N(0, I) and whose student features are N(mean, I); `mean` learns."""

    images_lr = torch.zeros(1)

    def __init__(self, distance: float, dim: int = 4) -> None:
        self.mean = torch.nn.Parameter(torch.full((dim,), distance / dim**0.5))
        self.alignment = SimpleNamespace(
            student=SimpleNamespace(pooled=True),
            student_feats=[SimpleNamespace(channels=dim)],
            guide_feats=[SimpleNamespace(channels=dim)],
        )

    @property
    def map_pairs(self) -> list[MapPair]:
        hr, lr = torch.randn(2, 64, len(self.mean), 1, 1)
        return [MapPair(0, lr + self.mean[:, None, None], hr, torch.ones(64, 1, 1, 1, dtype=torch.bool))]

    def vector_pairs(self, limit: int) -> list:
        return [pair.vectors(pair.valid, limit) for pair in self.map_pairs]


def train(step: TwoGaussians, term: torch.nn.Module, steps: int) -> list[dict]:
    optimiser = torch.optim.Adam([step.mean, *term.parameters()], lr=0.02)
    seen = []
    for _ in range(steps):
        optimiser.zero_grad()
        losses = term(step)
        summed(losses).backward()
        optimiser.step()
        seen.append({name: float(value.detach()) for name, value in losses.items()})
    return seen


def test_the_discriminator_tells_two_gaussians_apart_and_the_student_moves_towards_the_guide():
    torch.manual_seed(0)
    step = TwoGaussians(3.0)
    blind = AdversarialTerm(step.alignment, loss_weight=0.0, width=16)
    assert train(step, blind, 60)[-1]['adversarial_accuracy'] > 0.85
    assert float(step.mean.norm()) == pytest.approx(3.0), 'weight 0: D learns, the student does not'
    seen = train(step, AdversarialTerm(step.alignment, width=16, ramp_iters=20), 200)
    assert float(step.mean.norm()) < 1.0
    late = [losses['adversarial_accuracy'] for losses in seen[-50:]]
    assert sum(late) / len(late) < 0.65


def test_mmd_moves_the_two_gaussians_together_as_well():
    torch.manual_seed(0)
    step = TwoGaussians(3.0)
    train(step, MMDTerm(step.alignment), 150)
    assert float(step.mean.norm()) < 1.0


def test_the_ramp_goes_on_from_the_checkpoint():
    step = TwoGaussians(1.0)
    term = AdversarialTerm(step.alignment, ramp_iters=100)
    train(step, term, 3)
    resumed = AdversarialTerm(step.alignment, ramp_iters=100)
    resumed.load_state_dict(term.state_dict())
    assert train(step, resumed, 1)[0]['adversarial_ramp'] == pytest.approx(float(torch.tanh(torch.tensor(5 * 0.04))))
    with pytest.raises(ConfigError, match='ramp_iters = -1'):
        AdversarialTerm(step.alignment, ramp_iters=-1)


@pytest.fixture
def warnings_logged(monkeypatch) -> list[str]:
    texts: list[str] = []
    monkeypatch.setattr(adversarial, 'print_log', lambda text, logger, level: texts.append(text))
    return texts


def watched(accuracy: float, gradient: float, steps: int) -> None:
    step = TwoGaussians(1.0)
    term = AdversarialTerm(step.alignment)
    for _ in range(steps):
        term.steps += 1
        term._watch(dict(accuracy=torch.tensor(accuracy), gradient=torch.tensor(gradient)))


def test_a_discriminator_that_stays_sure_or_silent_is_told_once(warnings_logged):
    watched(0.97, 0.5, 3 * PATIENCE)
    assert len(warnings_logged) == 1 and 'right in 96.2%' in warnings_logged[0]
    warnings_logged.clear()
    watched(0.6, 1e-6, 3 * PATIENCE)
    assert len(warnings_logged) == 1 and 'vanished' in warnings_logged[0]


def test_a_discriminator_that_is_sure_for_a_while_is_not(warnings_logged):
    watched(0.97, 0.5, PATIENCE - 1)
    watched(0.9, 0.5, 3 * PATIENCE)
    assert not warnings_logged and MEMORY < 1


def test_bf16_gives_nearly_the_losses_of_fp32(tmp_path):
    distiller = build_distiller(tmp_path, terms=RKD).eval()
    plain = first_losses(distiller)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = first_losses(distiller)
    for name in NAMES:
        assert half[name].dtype == torch.float32
        torch.testing.assert_close(half[name], plain[name], rtol=0.1, atol=0.05)
    summed(half).backward()
    assert all(p.grad.isfinite().all() for p in distiller.parameters() if p.grad is not None)


def test_fp16_with_a_scaled_loss_gives_the_gradients_of_fp32(tmp_path):
    """The reversed gradient is scaled with the loss and unscaled with it; what is logged of it was never scaled."""
    distiller = build_distiller(tmp_path, terms=dict(a=dict(type='AdversarialTerm', ramp_iters=0))).eval()
    sides = [list(net.parameters()) for net in (distiller.student.backbone, distiller.terms['a'].discriminator)]

    def gradients() -> list[torch.Tensor]:
        return [torch.cat([p.grad.flatten() for p in side if p.grad is not None]) for side in sides]

    plain = first_losses(distiller)
    plain['loss_adversarial'].backward()
    expected = gradients()
    distiller.zero_grad()
    scaler = torch.amp.GradScaler('cpu', init_scale=2.0**12)
    with torch.autocast('cpu', dtype=torch.float16):
        half = first_losses(distiller)
    scaler.scale(half['loss_adversarial']).backward()
    scaler.unscale_(torch.optim.SGD([p for p in distiller.parameters() if p.requires_grad], lr=1.0))
    for found, exact in zip(gradients(), expected, strict=True):
        assert exact.norm() > 0
        assert (found - exact).norm() < 0.05 * exact.norm()
    for name in ('loss_adversarial', 'adversarial_gradient'):
        torch.testing.assert_close(half[name], plain[name], rtol=0.02, atol=1e-3)


def test_the_warning_reaches_the_runs_log(tmp_path):
    MMLogger.get_instance('rkd_test', logger_name='rkd_test', log_file=str(tmp_path / 'log.txt'))
    watched(0.99, 0.5, PATIENCE)
    assert 'AdversarialTerm, iteration 200' in next(tmp_path.rglob('log.txt')).read_text()
    MMLogger._instance_dict.pop('rkd_test')
