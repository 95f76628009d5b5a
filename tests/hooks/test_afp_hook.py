"""AFPHook stops a run whose networks do not line up, and leaves no trace in one that does."""

import logging
from types import SimpleNamespace

from mmpd.errors import ConfigError
from mmpd.hooks.afp_hook import AFPHook, describe_plan, verify_alignment
from tests.toys import build_distiller, toy_retinanet, unfrozen

import pytest
import torch


def runner(model) -> SimpleNamespace:
    """What the hook needs of a Runner, with a training set that has no boxes."""
    logger, loader = logging.getLogger('toy'), SimpleNamespace(dataset=[])
    return SimpleNamespace(model=model, logger=logger, train_dataloader=loader)


@pytest.fixture
def distiller(tmp_path):
    return build_distiller(tmp_path)


@pytest.mark.parametrize(
    ('ratio', 'start_level'), [(2, 0), (2, 1), (1, 1), ('3/2', 1), ('4/3', 1), (4, 0)], ids=lambda v: str(v)
)
def test_pairs_that_line_up_pass(tmp_path, ratio, start_level):
    model = build_distiller(
        tmp_path,
        ratio=ratio,
        student=unfrozen(toy_retinanet(start_level=start_level)),
        terms=dict(f=dict(type='FeatureTerm')),
    )
    verify_alignment(model.alignment, (32, 96), 32)


def test_a_head_that_assumes_another_stride_is_named(tmp_path):
    wrong = unfrozen(toy_retinanet(start_level=0, strides=[8, 16, 32, 64]))
    model = build_distiller(tmp_path, student=wrong, ratio=1)
    with pytest.raises(ConfigError, match=r'student level 0: the head assumes stride 8.* has stride 4.*overrides'):
        verify_alignment(model.alignment, (97, 161), 1)


def test_verification_changes_neither_modes_nor_statistics(distiller):
    distiller.train()
    before = {key: value.clone() for key, value in distiller.state_dict().items()}
    AFPHook().before_train(runner(distiller))
    assert all(module.training for module in distiller.modules())
    assert not any(module.training for module in distiller.guide.modules())
    assert all(torch.equal(value, before[key]) for key, value in distiller.state_dict().items())


def test_the_plan_is_told_level_by_level_in_hr_pixels(distiller):
    text = describe_plan(distiller.alignment)
    assert 'window plan at ratio 2' in text
    assert 'student level 0: stride 8, objects of about 16 ← guide level 0 (stride 8' in text


def test_masked_and_unused_levels_are_told(tmp_path):
    model = build_distiller(tmp_path, student=unfrozen(toy_retinanet()), align='window')
    text = describe_plan(model.alignment)
    assert 'no guide level, masked' in text and 'guide level 0 (stride 8, objects of about 16) serves no' in text


def test_a_stage_without_a_guide_is_left_alone():
    AFPHook().before_train(SimpleNamespace(model=torch.nn.Linear(1, 1), logger=None))


def test_the_plan_is_logged(distiller, caplog):
    with caplog.at_level(logging.INFO):
        AFPHook(size=(32, 64)).before_train(runner(distiller))
    assert 'AFP: window plan' in caplog.text
