"""PSNR and SSIM against their definitions, and the numbers that the literature has for bicubic."""

import math
import os
from fractions import Fraction
from pathlib import Path

from mmpd.data.reduction import reduce_image
from mmpd.errors import ConfigError
from mmpd.sr.metric import SRMetric, image_metrics, luma, psnr, shave, ssim

import cv2
import numpy as np
import pytest
import torch
from PIL import Image


def random_pair(height: int = 14, width: int = 13) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
    noise = torch.randint(-20, 21, target.shape, generator=generator)
    return (target + noise).clamp(0, 255).to(torch.uint8), target


def test_psnr_is_its_definition():
    image, target = random_pair()
    total = sum(
        (int(a) - int(b)) ** 2 for a, b in zip(image.flatten().tolist(), target.flatten().tolist(), strict=True)
    )
    assert psnr(image, target) == pytest.approx(10 * math.log10(255**2 / (total / image.numel())))
    assert psnr(image, image) == math.inf


def test_luma_of_white_black_and_the_primaries():
    colours = torch.tensor([[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]]).T[:, None]
    assert luma(colours)[0, 0].tolist() == pytest.approx([235, 16, 81.481, 144.553, 40.966])


def test_ssim_is_its_definition_in_a_loop():
    image, target = random_pair()
    weights = np.array([[math.exp(-(i * i + j * j) / (2 * 1.5**2)) for j in range(-5, 6)] for i in range(-5, 6)])
    weights /= weights.sum()
    c1, c2, values = (0.01 * 255) ** 2, (0.03 * 255) ** 2, []
    for x, y in zip(image.numpy().astype(float), target.numpy().astype(float), strict=True):
        for row in range(x.shape[0] - 10):
            for column in range(x.shape[1] - 10):
                a, b = (plane[row : row + 11, column : column + 11] for plane in (x, y))
                mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
                var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
                covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
                values.append(
                    (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
                    / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
                )  # fmt: skip
    assert ssim(image, target) == pytest.approx(np.mean(values))
    assert ssim(image, image) == pytest.approx(1)


def test_what_is_shaved_off_does_not_count():
    image, target = random_pair(20, 20)
    spoilt = image.clone()
    spoilt[:, :2], spoilt[:, -2:], spoilt[:, :, :2], spoilt[:, :, -2:] = 0, 255, 0, 255
    assert image_metrics(spoilt, target, 2) == image_metrics(image, target, 2)
    assert image_metrics(spoilt, target, 1) != image_metrics(image, target, 1)
    assert shave(image, 2).shape == (3, 16, 16)


def test_an_image_below_the_window_is_named():
    image, target = random_pair(10, 40)
    with pytest.raises(ConfigError, match='11×11'):
        ssim(image, target)


def sample(image: torch.Tensor, target: torch.Tensor, name: str, ratio: int = 2) -> dict:
    shape = tuple(side // ratio for side in target.shape[-2:])
    return dict(pred_img=image.flip(0), gt_img=target.flip(0), img_set=name, img_shape=shape, img_path=f'{name}.png')


def test_the_metric_shaves_the_ratio_and_tells_sets_apart():
    image, target = random_pair(20, 20)
    metric = SRMetric()
    metric.process({}, [sample(image, target, 'A'), sample(target, target // 2, 'B'), sample(image, target, 'A')])
    result = metric.compute_metrics(metric.results)
    one, other = image_metrics(image, target, 2), image_metrics(target, target // 2, 2)
    assert result['PSNR_Y'] == pytest.approx((2 * one['PSNR_Y'] + other['PSNR_Y']) / 3)
    assert result['PSNR_Y_A'] == pytest.approx(one['PSNR_Y']) and result['SSIM_RGB_B'] == other['SSIM_RGB']
    assert metric.per_class['A'] == dict(images=2.0, **one) and metric.per_class['B'] == dict(images=1.0, **other)


def test_lr_images_without_ground_truth_are_refused():
    with pytest.raises(ConfigError, match='bench.py'):
        SRMetric().process({}, [dict(pred_img=torch.zeros(3, 8, 8), img_path='lr.png')])


PUBLISHED = {  # bicubic, Y: what MATLAB's imresize gives; not Set14, whose gray image has its own range there
    ('Set5', 2): (33.66, 0.9299),
    ('Set5', 3): (30.39, 0.8682),
    ('Set5', 4): (28.42, 0.8104),
    ('B100', 2): (29.56, 0.8431),
    ('B100', 3): (27.21, 0.7385),
    ('B100', 4): (25.96, 0.6675),
}


@pytest.mark.skipif('MMPD_SR_ROOT' not in os.environ, reason='MMPD_SR_ROOT: folder of Set5 and B100')
@pytest.mark.parametrize(('name', 'ratio'), PUBLISHED)
def test_bicubic_reaches_its_published_numbers(name: str, ratio: int):
    rows = []
    for path in sorted(Path(os.environ['MMPD_SR_ROOT'], name).iterdir()):
        image = cv2.imread(str(path))[:, :, ::-1]
        height, width = (side // ratio * ratio for side in image.shape[:2])
        image = np.ascontiguousarray(image[:height, :width])
        lr = Image.fromarray(reduce_image(image, Fraction(ratio), 'bicubic'))
        back = np.asarray(lr.resize((width, height), Image.Resampling.BICUBIC))
        rows.append(image_metrics(*(torch.from_numpy(i.transpose(2, 0, 1).copy()) for i in (back, image)), ratio))
    psnr_y, ssim_y = (np.mean([row[key] for row in rows]) for key in ('PSNR_Y', 'SSIM_Y'))
    assert psnr_y == pytest.approx(PUBLISHED[name, ratio][0], abs=0.02)
    assert ssim_y == pytest.approx(PUBLISHED[name, ratio][1], abs=0.001)
