"""What the preflight must not stumble over, and must not miss, kind by kind; families as a whole: test_zoo.py."""

from __future__ import annotations

from fractions import Fraction

from mmpd.chain.chain import read_chain
from mmpd.chain.detector import detector_config, nothing_frozen
from mmpd.check.config import config_findings, ema_finding
from mmpd.check.preflight import _settle, check_stage, quiet
from mmpd.distill.view import view_of
from mmpd.errors import ConfigError
from mmpd.heads.base import family_of
from mmpd.hooks.afp_hook import verify_strides
from tests.toys import build_model, toy_chain, toy_retinanet
from tests.zoo import shrunk

import mmdet.models.dense_heads as dense_heads
import pytest
import torch
from mmdet.registry import HOOKS
from mmengine.config import Config
from mmengine.logging import MessageHub

SWITCH = dict(switch_epoch=1, switch_pipeline=[])


@pytest.mark.parametrize('prefix', ['', 'mmdet.', 'mmengine.'])
def test_hooks_are_seen_under_their_registrys_name_too(prefix):
    hooks = [dict(type=f'{prefix}PipelineSwitchHook', **SWITCH), dict(type=f'{prefix}EMAHook', strict_load=False)]
    found = [str(one) for one in config_findings(Config(dict(model={}, custom_hooks=hooks)), 'student')]
    assert len(found) == 2 and 'PipelineSwitchHook' in found[0] and 'strict_load' in found[1]
    assert 'momentum' in str(ema_finding(Config(dict(custom_hooks=hooks)), iterations=10))


@pytest.mark.parametrize(
    ('chosen', 'known'), [('pd/AP55', False), ('AP', False), ('pd/AP_small', True), ('auto', True)]
)
def test_a_metric_that_nothing_computes_chooses_no_checkpoint(chosen, known):
    config = dict(model={}, default_hooks=dict(checkpoint=dict(save_best=chosen)), val_evaluator=dict(type='PDMetric'))
    found = config_findings(Config(config), 'student')
    assert [chosen in str(one) and 'pd/AP50' in str(one) for one in found] == ([] if known else [True])


@pytest.mark.parametrize(
    ('metrics', 'told'),
    [
        (dict(type='VOCMetric'), True),
        ([dict(type='VOCMetric'), dict(type='PDMetric')], False),
        (dict(type='VOCMetric', prefix='pd'), False),
        (dict(type='DumpDetResults', out_file_path='f.pkl'), False),
    ],
)
def test_a_checkpoint_cannot_be_chosen_by_another_metrics_name(metrics, told):
    config = dict(model={}, default_hooks=dict(checkpoint=dict(save_best='pd/AP50')), val_evaluator=metrics)
    assert ['pascal_voc/*' in str(one) for one in config_findings(Config(config), 'student')] == [True] * told


def test_a_stage_that_counts_iterations_is_told_what_to_set():
    config = Config(dict(model={}, train_cfg=dict(type='IterBasedTrainLoop', max_iters=2)))
    (said,) = map(str, config_findings(config, 'student'))
    assert 'stages.student.runner.train_cfg' in said and 'schedule.max_epochs' in said


@pytest.mark.parametrize(('epochs', 'told'), [(8, True), (9, False), (30, False)])
def test_a_learning_rate_that_never_falls_is_told(epochs, told):
    schedulers = [dict(type='LinearLR', end=5), dict(type='MultiStepLR', milestones=[8, 11])]
    config = dict(model={}, train_cfg=dict(max_epochs=epochs), param_scheduler=schedulers)
    found = [str(one) for one in config_findings(Config(config), 'student') if not one.error]
    assert ['[8, 11]' in one and f'after {epochs} epochs' in one for one in found] == ([True] if told else [])


@pytest.mark.parametrize(('chosen', 'told'), [('pd/PSNR', True), ('pd/PSNR_Y', False), ('pd/SSIM_RGB_Set14', False)])
def test_a_metric_of_super_resolution_may_be_of_one_set(chosen, told):
    import mmpd.sr.register  # noqa: F401

    config = dict(model={}, default_hooks=dict(checkpoint=dict(save_best=chosen)), val_evaluator=dict(type='SRMetric'))
    assert ['PSNR_Y' in str(one) for one in config_findings(Config(config), 'student')] == [True] * told


def test_hooks_that_are_classes_are_seen():
    hooks = dict(model={}, custom_hooks=[dict(type=HOOKS.get('PipelineSwitchHook'), **SWITCH)])
    assert len(config_findings(Config(hooks), 'student')) == 1


@pytest.mark.parametrize(
    'name', ['VFNetHead', 'TOODHead', 'RTMDetInsHead', 'YOLACTHead', 'CondInstBboxHead', 'GARetinaHead', 'GARPNHead']
)
def test_a_head_that_changes_its_outputs_is_no_member_of_its_parents_family(name):
    """VFNet's third output are boxes, RTMDet-Ins's are kernels; their parents' is a centerness, or is not there."""
    kind = getattr(dense_heads, name)
    assert family_of(kind.__new__(kind)) is None


@pytest.mark.parametrize(
    'name', ['PISARetinaHead', 'FreeAnchorRetinaHead', 'NASFCOSHead', 'LDHead', 'LADHead', 'PAAHead']
)
def test_a_head_that_changes_only_its_training_is(name):
    kind = getattr(dense_heads, name)
    assert family_of(kind.__new__(kind)) is not None


def test_every_part_of_an_efficientnet_trains():
    """It counts frozen parts from 0, and refuses the -1 of others."""
    model = detector_config('mmdet::efficientnet/retinanet_effb3_fpn_8xb4-crop896-1x_coco.py', pretrained=False)
    assert model.backbone.frozen_stages == 0 == nothing_frozen(model.backbone)
    backbone = build_model({**model.backbone, 'arch': 'b0'})
    backbone.train()  # returns nothing
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    assert config_findings(Config(dict(model=model)), 'teacher') == []
    model.backbone.frozen_stages = 1
    (finding,) = config_findings(Config(dict(model=model)), 'teacher')
    assert finding.error and 'set it to 0' in str(finding)
    assert nothing_frozen(dict(type='ResNet')) == -1


@pytest.mark.parametrize(
    'detector',
    ['sabl/sabl-retinanet_r50_fpn_1x_coco.py', 'reppoints/reppoints-moment_r50_fpn_1x_coco.py',
     'vfnet/vfnet_r50_fpn_1x_coco.py', 'foveabox/fovea_r50_fpn_4xb4-1x_coco.py',
     'guided_anchoring/ga-retinanet_r50_fpn_1x_coco.py'],
)  # fmt: skip
def test_a_finer_pyramid_has_the_heads_strides_whatever_they_are_called(detector):
    """Trained on the strides of another pyramid, a detector learns boxes elsewhere, and no loss tells."""
    coarse = detector_config(f'mmdet::{detector}', pretrained=False)
    fine = detector_config(f'mmdet::{detector}', pretrained=False, finer_levels=1)
    nets = [build_model(shrunk_copy(model)) for model in (coarse, fine)]
    for net, first in zip(nets, (8, 4), strict=True):
        view = view_of(net)
        assert view.head_strides() == [first * 2**level for level in range(5)]
        verify_strides('student', view, view.probe(256, 256)[1], 256)
    generators = [getattr(net.bbox_head, 'atss_prior_generator', None) for net in nets]
    if generators[0] is not None:
        assert [stride[0] for stride in generators[1].strides] == [4, 8, 16, 32, 64]


def shrunk_copy(model: dict) -> dict:
    return (
        shrunk(model, bbox_head=dict(norm_cfg=dict(type='GN', num_groups=4))) if 'VF' in model.type else shrunk(model)
    )


def test_fovea_looks_for_the_same_objects_in_a_finer_pyramid():
    detector = 'mmdet::foveabox/fovea_r50_fpn_4xb4-1x_coco.py'
    coarse, fine = (detector_config(detector, pretrained=False, finer_levels=n).bbox_head for n in (0, 1))
    assert [2 * edge for edge in fine.base_edge_list] == list(coarse.base_edge_list)
    assert [[2 * side for side in pair] for pair in fine.scale_ranges] == [list(pair) for pair in coarse.scale_ranges]


def test_weights_of_the_older_kind_are_left_out_as_well():
    """DetectoRS has a second backbone with `pretrained='torchvision://resnet50'`."""
    model = detector_config('mmdet::detectors/cascade-rcnn_r50-rfp_1x_coco.py', pretrained=False)
    assert 'torchvision' not in str(model)


def test_strides_that_differ_are_named_for_a_head_of_unknown_family_too():
    model = shrunk('reppoints/reppoints-moment_r50_fpn_1x_coco.py')
    model.bbox_head.point_strides = [4, 8, 16, 32, 64]
    view = view_of(build_model(model))
    assert view.head is None
    with pytest.raises(ConfigError, match='level 0: the head assumes stride 4, .* has stride 8'):
        verify_strides('student', view, view.probe(256, 256)[1], 256)


def test_a_detector_may_ask_how_far_the_training_is():
    """TOOD asks for the epoch, YOLOX's batch augmentation for the iteration; before a training there was None."""
    before = dict(MessageHub._instance_dict)
    with quiet():
        hub = MessageHub.get_current_instance()
        assert (hub.get_info('epoch'), hub.get_info('iter')) == (0, 0)
    assert MessageHub._instance_dict == before


def test_a_network_for_one_image_size_is_probed_at_that_size():
    head = dict(detector_config('mmdet::ssd/ssd300_coco.py', pretrained=False).bbox_head, in_channels=(8,) * 6)
    net = build_model(toy_retinanet())
    assert view_of(net).probe_side is None
    net.bbox_head = build_model(head)
    assert view_of(net).probe_side == 300
    from mmpd.align.alignment import probe_side

    any_size = view_of(build_model(toy_retinanet()))
    assert probe_side(view_of(net), any_size, Fraction(2)) == 150
    with pytest.raises(ConfigError, match='made for images of 300 pixels, the student for 300: at ratio 2 it sees 150'):
        probe_side(view_of(net), view_of(net), Fraction(2))


def test_weights_that_mmdet_leaves_uninitialised_are_no_false_alarm():
    """TridentConv's are memory as it was found until pretrained ones are read, which a preflight does not fetch."""
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.Conv2d(1, 1, 1))
    kept = net[1].weight.clone()
    torch.nn.init.constant_(net[0].weight, float('nan'))
    torch.nn.init.constant_(net[0].bias, 1e30)
    _settle(net)
    assert all(parameter.abs().max() < 1 for parameter in net[0].parameters()) and torch.equal(net[1].weight, kept)


@pytest.mark.parametrize(('kind', 'refused'), [('SyncBN', False), ('MMSyncBN', True)])
def test_synchronised_norms_are_plain_ones_in_one_process(kind, refused, tmp_path_factory):
    """A Runner makes torch's so; the preflight did not, and refused a training that works. mmcv's cannot be built."""
    model = toy_retinanet()
    model['backbone']['norm_cfg'] = dict(type=kind, requires_grad=True)
    chain = read_chain(toy_chain(tmp_path_factory.getbasetemp(), **{'stages.student.detector': model}))
    found = [str(finding) for finding in check_stage(chain.stages['student'], {}).errors]
    assert any("use 'SyncBN'" in one for one in found) if refused else found == []
