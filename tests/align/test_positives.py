"""Levels that train are taught, levels without a positive are not; real level sizes, default arguments."""

import copy
import logging
from types import SimpleNamespace

from mmpd.align.positives import Annotated, annotated_images, count_positives
from mmpd.hooks.afp_hook import AFPHook, describe_plan
from tests.toys import build_distiller, toy_pair_batch, toy_retinanet, unfrozen

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

REAL = dict(  # mmdet's RetinaNet: 32–813 pixels on strides 8–128
    type='AnchorGenerator', octave_base_scale=4, scales_per_octave=3, ratios=[0.5, 1.0, 2.0]
)
FEATURE = dict(feature=dict(type='FeatureTerm'))


def real_retinanet(start_level: int) -> dict:
    model = toy_retinanet(start_level=start_level, num_outs=5)
    strides = [4 * 2 ** (start_level + level) for level in range(5)]
    model['bbox_head'] = {**model['bbox_head'], 'anchor_generator': {**REAL, 'strides': strides}}
    return model


class VOCLike:
    """Images of 320 × 240 HR pixels at ratio 2 with boxes as VOC has them: log-normal around a third of the image."""

    def __init__(self, n: int = 40, ratio: float = 2.0) -> None:
        rng = np.random.default_rng(0)
        self.samples = []
        for _ in range(n):
            sides = np.exp(rng.normal(np.log(95), 0.65, (2, 2))).clip(8, [310, 230])
            corners = rng.uniform(0, 1, (2, 2)) * ([320, 240] - sides)
            boxes = torch.tensor(np.concatenate([corners, corners + sides], 1) / ratio, dtype=torch.float)
            self.samples.append(
                DetDataSample(
                    metainfo=dict(img_shape=(round(240 / ratio), round(320 / ratio))),
                    gt_instances=InstanceData(bboxes=boxes, labels=torch.zeros(2, dtype=torch.long)),
                    ignored_instances=InstanceData(bboxes=torch.zeros(0, 4)),
                )
            )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict:
        return dict(data_samples=self.samples[index])


def count(distiller, dataset) -> None:
    loader = SimpleNamespace(dataset=dataset)
    AFPHook().before_train(SimpleNamespace(model=distiller, train_dataloader=loader, logger=logging.getLogger('toy')))


@pytest.fixture
def distiller(tmp_path):
    made = build_distiller(
        tmp_path, guide=real_retinanet(1), student=unfrozen(real_retinanet(0)), terms=FEATURE
    )  # fmt: skip
    count(made, VOCLike())
    return made


def test_p5_of_320_pixel_images_trains_and_p7_does_not(distiller):
    positives = distiller.alignment.positives
    assert positives[2] > 0.2 * sum(positives)  # the guide's P5: a rule by size left it out
    assert positives[3] > 0 and positives[4] == 0
    text = describe_plan(distiller.alignment)
    assert f'{positives[2] / sum(positives):.1%} of the positives' in text and 'no positive' in text.splitlines()[5]
    data = distiller.data_preprocessor(toy_pair_batch(2, ((120, 160), (120, 152))), True)
    distiller(**data, mode='loss')['loss_feature'].backward()
    moved = [bool(conv.conv.weight.grad.any()) for conv in distiller.student.neck.fpn_convs[:4]]
    extra = distiller.student.neck.fpn_convs[4].conv.weight.grad
    assert all(moved) and (extra is None or not extra.any())


def test_the_mean_is_over_the_levels_that_are_left(distiller, monkeypatch):
    term = distiller.terms['feature']
    monkeypatch.setattr(term, 'loss', lambda feature, guide, valid: feature.sum() * 0 + 1)
    data = distiller.data_preprocessor(toy_pair_batch(2, ((120, 160),)), True)
    assert distiller(**data, mode='loss')['loss_feature'] == 1.0
    distiller.alignment.positives = None  # not counted: every level
    assert distiller(**data, mode='loss')['loss_feature'] == 1.0


def test_adapters_of_levels_that_are_left_out_still_belong_to_the_graph(tmp_path):
    """DDP stops on a parameter that no loss reaches."""
    student = real_retinanet(0)
    student['neck']['out_channels'] = student['bbox_head']['in_channels'] = 12
    made = build_distiller(tmp_path, guide=real_retinanet(1), student=unfrozen(student), terms=FEATURE)
    made.alignment.positives = (1, 0, 1, 1, 0)
    data = made.data_preprocessor(toy_pair_batch(2, ((120, 160),)), True)
    made(**data, mode='loss')['loss_feature'].backward()
    grads = [made.terms['feature'].adapters[str(level)].weight.grad for level in range(5)]
    assert [bool(grad.any()) for grad in grads] == [True, False, True, True, False]


def test_counting_twice_gives_the_same_and_moves_no_generator(distiller):
    class Random(VOCLike):
        def __getitem__(self, index):
            sample = copy.deepcopy(super().__getitem__(index)['data_samples'])
            sample.gt_instances.bboxes = sample.gt_instances.bboxes * float(torch.rand(()) + np.random.rand())
            return dict(data_samples=sample)

    dataset = Random()
    head, levels = distiller.alignment.student.head, distiller.alignment.plan.student
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = count_positives(head, levels, annotated_images(dataset))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7), np.random.rand(7)
    assert count_positives(head, levels, annotated_images(dataset)) == first


@pytest.mark.parametrize(('total', 'n', 'expected'), [(7, 10, range(7)), (10, 4, [0, 2, 5, 7]), (3, 3, range(3))])
def test_the_images_are_spread_over_the_set(total, n, expected):
    seen = []

    class Watched(VOCLike):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    list(annotated_images(Watched(total), n))
    assert seen == list(expected)


def test_what_cannot_be_counted_masks_nothing(tmp_path, distiller):
    head, levels = distiller.alignment.student.head, distiller.alignment.plan.student
    assert count_positives(None, levels, annotated_images(VOCLike(2))) is None
    assert count_positives(head, levels, []) is None
    empty = Annotated((120, 160), torch.zeros(0, 4), torch.zeros(0, 4))
    assert count_positives(head, levels, [empty]) is None
    no_boxes = [dict(data_samples=DetDataSample(metainfo=dict(img_shape=(8, 8))))]
    assert list(annotated_images(no_boxes)) == []
    distiller.alignment.positives = None
    assert all(distiller.alignment.trains(level) for level in range(5))
