"""Padding: no more than the grids need, the same in training, testing and deployment, and both pyramids still meet."""

from fractions import Fraction
from functools import cache
from pathlib import Path

from mmpd.chain.chain import read_chain
from mmpd.chain.deploy import bench_config, deploy_config
from mmpd.chain.detector import detector_config, takes_any_size
from mmpd.chain.stage_config import stage_config
from mmpd.check.config import padding_finding
from mmpd.data.preprocessor import PairDataPreprocessor
from mmpd.data.sizes import pair_divisor
from mmpd.distill.distiller import Distiller
from mmpd.errors import ConfigError
from mmpd.evaluation.measure import check_pixels, network_of
from tests.toys import build_distiller, toy_chain, toy_pair_batch, toy_retinanet, unfrozen

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

RETINANET = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
DIVISORS = st.sampled_from([1, 8, 32, 64])
FRACTIONS = st.sampled_from([Fraction(text) for text in ('1', '2', '4', '3', '3/2', '4/3', '5/2', '19/10')])


@given(DIVISORS, DIVISORS, FRACTIONS)
def test_the_pair_divisor_is_the_least_that_both_networks_need(student, guide, ratio):
    def serves(side: int) -> bool:
        hr = side * ratio
        return side % student == 0 and hr.denominator == 1 and hr % guide == 0

    expected = next(side for side in range(1, 100_000) if serves(side))
    assert pair_divisor(student, guide, ratio) == expected


@pytest.mark.parametrize(
    ('file', 'divisor'),
    [
        ('retinanet/retinanet_r18_fpn_1x_coco.py', 1),
        ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 1),
        ('gfl/gfl_r50_fpn_1x_coco.py', 1),
        ('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', 1),
        ('efficientnet/retinanet_effb3_fpn_8xb4-crop896-1x_coco.py', 1),
        ('swin/retinanet_swin-t-p4-w7_fpn_1x_coco.py', 32),
        ('yolof/yolof_r50-c5_8xb8-1x_coco.py', 32),
        ('hrnet/fcos_hrnetv2p-w32-gn-head_4xb4-1x_coco.py', 32),
        ('nas_fpn/retinanet_r50_nasfpn_crop640-50e_coco.py', 128),
    ],
)
def test_networks_that_need_a_divisor_keep_it(file, divisor):
    model = detector_config(f'mmdet::{file}', num_classes=3, pretrained=False)
    assert model.data_preprocessor.pad_size_divisor == divisor


def test_a_divisor_in_overrides_is_kept():
    model = detector_config(RETINANET, dict(data_preprocessor=dict(pad_size_divisor=32)))
    assert model.data_preprocessor.pad_size_divisor == 32
    neck = [dict(type='FPN'), dict(type='FSR')]
    assert not takes_any_size(dict(backbone=dict(type='ResNet'), neck=neck))
    enlarging = dict(type='FPN', upsample_cfg=dict(scale_factor=2))
    assert not takes_any_size(dict(backbone=dict(type='ResNet'), neck=enlarging))


NARROW = {
    'ResNet': dict(depth=18, base_channels=4),
    'ResNetV1d': dict(depth=50, stem_channels=4, base_channels=4),
    'ResNeXt': dict(depth=50, groups=2, base_width=2),
    'Res2Net': dict(depth=50, base_channels=4, scales=2, base_width=4),
    'RegNet': dict(arch='regnetx_400mf'),
    'MobileNetV2': dict(widen_factor=0.25, out_indices=(1, 2, 4, 7)),
    'EfficientNet': dict(arch='b0', out_indices=(2, 3, 4, 5)),
}


@pytest.mark.parametrize('kind', sorted(NARROW))
def test_backbones_without_a_divisor_give_full_grids_at_any_size(kind):
    with DefaultScope.overwrite_default_scope('mmdet'):
        net = MODELS.build(dict(type=kind, **NARROW[kind]))
    net.eval()
    for height, width in ((57, 80), (33, 95), (61, 47), (31, 129)):
        with torch.no_grad():
            maps = net(torch.zeros(1, 3, height, width))
        grids = [tuple(level.shape[-2:]) for level in maps]
        assert grids == [(-(-height // stride), -(-width // stride)) for stride in (4, 8, 16, 32)]


def toy(kind: str, divisor: int) -> dict:
    """A toy network that takes any size (FPN), or one whose neck keeps its divisor."""
    model = toy_retinanet()
    model['data_preprocessor']['pad_size_divisor'] = divisor
    if kind == 'needy':
        model['neck'] = dict(model['neck'], upsample_cfg=dict(scale_factor=2))
    return model


@pytest.mark.parametrize(
    ('ratio', 'guide', 'student', 'divisor'),
    [
        (2, 'any', 'any', 1),
        ('3/2', 'any', 'any', 2),
        ('19/10', 'any', 'any', 10),
        (4, 'needy', 'any', 8),
        (2, 'any', 'needy', 32),
        (2, 'needy', 'needy', 32),
        ('3/2', 'needy', 'any', 64),
    ],
)
def test_training_testing_and_deployment_pad_alike(tmp_path, ratio, guide, student, divisor):
    chain = toy_chain(tmp_path, ratio=ratio)
    chain.student_pyramid, chain.data.hr_scale = 'cheap', (192, 144)
    chain.stages.assistant.detector = toy(guide, 32)
    chain.stages.student.detector = toy(student, 32)
    chain = read_chain(chain)
    model = stage_config(chain.stages['student'], tmp_path, {}).model
    trained = PairDataPreprocessor(
        *(
            DetDataPreprocessor(pad_size_divisor=model[who].data_preprocessor.pad_size_divisor)
            for who in ('student', 'guide')
        ),
        Fraction(model.ratio),
    )
    tested, deployed = (make(chain.stages['student']).model.data_preprocessor for make in (bench_config, deploy_config))
    divisors = (trained.paired_student, tested, deployed)
    assert [part.pad_size_divisor for part in divisors] == [divisor] * 3


@cache
def pair(ratio: int, folder: Path) -> Distiller:
    """Guide and 'fine' student without a divisor; at ratio 4 the guide begins where the student's finest level is."""
    levels = {1: 1, 2: 0, 4: 0}[ratio]
    shrink = {1: 8, 2: 4, 4: 4}[ratio]
    guide = toy_retinanet() if ratio < 4 else toy_retinanet(start_level=2)
    student = unfrozen(toy_retinanet(start_level=levels, strides=[shrink * 2**i for i in range(4)]))
    for model in (guide, student):
        model['data_preprocessor']['pad_size_divisor'] = 1
    folder = folder / f'pair{ratio}'
    folder.mkdir()
    return build_distiller(folder, guide=guide, student=student, ratio=ratio)


@settings(max_examples=25, deadline=None)
@given(
    ratio=st.sampled_from([1, 2, 4]),
    sizes=st.lists(st.tuples(st.integers(9, 90), st.integers(9, 90)), min_size=1, max_size=2),
)
def test_windows_still_meet_on_unpadded_images(tmp_path_factory, ratio, sizes):
    """Equal grids and equal priors in HR pixels, by mmdet's own prior generators."""
    distiller = pair(ratio, tmp_path_factory.getbasetemp())
    distiller.eval()  # batch norm takes no single cell in training
    data = distiller.data_preprocessor(toy_pair_batch(ratio, tuple(sizes)), True)
    lr, hr = data['inputs']['lr'], data['inputs']['hr']
    assert lr.shape[-2:] == tuple(
        max(side) for side in zip(*sizes, strict=True)
    )  # not a pixel of padding but the batch's
    with torch.no_grad():
        maps = {
            who: view.run(images)['features']
            for who, view, images in (('guide', distiller.guide_view, hr), ('student', distiller.student_view, lr))
        }
    exact = [match for match in distiller.alignment.plan.matches if match.exact]
    assert len(exact) == 4
    for match in exact:
        student, guide = maps['student'][match.student].shape[-2:], maps['guide'][match.guides[0]].shape[-2:]
        assert student == guide
        priors = [
            net.bbox_head.prior_generator.single_level_grid_priors(grid, level, device='cpu')
            for net, grid, level in (
                (distiller.student, student, match.student),
                (distiller.guide, guide, match.guides[0]),
            )
        ]
        assert torch.equal(priors[0] * ratio, priors[1])


@pytest.mark.parametrize('size', [(80, 60), (320, 240)])
def test_bccd_is_not_padded(size):
    """To a multiple of 32 it was 28 % and 7 % more pixels."""
    model = detector_config(RETINANET, num_classes=3, pretrained=False)
    images = [torch.zeros(3, size[1], size[0], dtype=torch.uint8)]
    with DefaultScope.overwrite_default_scope('mmdet'):
        batch = MODELS.build(model.data_preprocessor)(dict(inputs=images, data_samples=None))
    assert batch['inputs'].shape[-2:] == (size[1], size[0])


def test_weights_are_measured_and_taught_from_with_the_padding_they_were_trained_with(tmp_path):
    old = toy_chain(tmp_path)
    for stage in old.stages.values():
        stage.overrides = dict(data_preprocessor=dict(pad_size_divisor=32))
    bench_config(read_chain(old).stages['assistant']).dump(tmp_path / 'bench.py')
    weights = str(tmp_path / 'student_best.pth')
    new = toy_chain(tmp_path)
    with pytest.raises(ConfigError, match=r'padded to multiples of 32, .* multiples of 1: set .*pad_size_divisor'):
        check_pixels(new, network_of(new, 'assistant'), weights)
    check_pixels(old, network_of(old, 'assistant'), weights)
    found = padding_finding('assistant', read_chain(new).stages['assistant'].network, weights)
    assert found and not found.error and 'set it to 32' in found.text and 'stages.assistant' in found.key
    assert padding_finding('assistant', read_chain(old).stages['assistant'].network, weights) is None
