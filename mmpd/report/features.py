"""What guide and student see on a level that they share: their feature maps on the student's grid."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from mmcv.transforms import Compose
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor

from ..align.plan import AlignmentPlan
from ..chain.detector import bare_type
from ..data.reduction import pad_to_ratio, parse_ratio, reduce_image
from ..evaluation.measure import network_of
from ..io.state import load_into
from .gather import NetworkFacts


def distiller_of(network: NetworkFacts) -> Any:
    """The Distiller that a network was trained in, without weights; None where it has no guide."""
    if not network.guided:
        return None
    config = Config.fromfile(network.folder / f'{network.name}.py')
    with DefaultScope.overwrite_default_scope(config.get('default_scope', 'mmdet')):
        return MODELS.build(config.model)


def plan_of(distiller: Any) -> AlignmentPlan | None:
    """The alignment that a network was trained with."""
    return getattr(getattr(distiller, 'alignment', None), 'plan', None)


@torch.no_grad()
def feature_maps(
    distiller: Any, student: NetworkFacts, others: Sequence[NetworkFacts], guide_file: str | Path, image: str | Path
) -> str:
    """PNG data of a guide's and its student's map of the finest level that both have, on the student's grid.

    A map's picture is the mean over its channels of |z|, z standardised per channel over the cells on the image: where
    something is that the level reacts to. r is the correlation of the guide's and a network's map, channel by channel,
    averaged: what the feature term pulls up. It is told where both have the same number of channels.

    Args:
        others: networks of the student's architecture, to be shown beside it.
        guide_file: the guide's weights. image: file.
    """
    pair = pair_of(Config.fromfile(student.folder / 'bench.py'), distiller.alignment.ratio, image)
    data = distiller.data_preprocessor(pair, False)['inputs']
    load_into(distiller.guide, guide_file)
    distiller.guide.eval()
    distiller.student.eval()
    guides = distiller.guide_view.feature_maps(distiller.guide_view.run(data['hr'], with_head=False)['features'])
    shown: list[tuple[str, np.ndarray, Tensor]] = []
    for network in (*others, student):
        load_into(distiller.student, network.checkpoint)
        view = distiller.student_view
        own = view.feature_maps(view.run(data['lr'], with_head=False)['features'])
        aligned = distiller.alignment.features(guides, [(one.shape[-2], one.shape[-1]) for one in own])[0]
        shown.append((network.name, pair['inputs']['lr'][0].numpy(), own[aligned.student][0]))
    lr = pair['inputs']['lr'][0]
    rows, columns = (
        math.ceil(n * lr.shape[axis] / data['lr'].shape[axis])  # the rest is padding
        for n, axis in zip(aligned.features.shape[-2:], (-2, -1), strict=True)
    )
    shown = [(name, pixels, features[:, :rows, :columns]) for name, pixels, features in shown]
    guide = aligned.features[0, :, :rows, :columns]
    panels = [('guide', pair['inputs']['hr'][0].numpy(), guide), *shown]
    return _draw(panels, guide)


def pair_of(bench: Config, ratio: Fraction, image: str | Path) -> dict:
    """A batch of one image as guide and student get it, as the test pipeline of the student makes it.

    Args:
        ratio: guide's side / student's side.
    """
    pipeline = network_of(bench).pipeline
    kinds = [bare_type(step) for step in pipeline]
    before = kinds.index('ReduceResolution') if 'ReduceResolution' in kinds else len(kinds) - 1
    steps = [step for step in pipeline[:before] if bare_type(step) != 'LoadAnnotations']
    pixels = Compose(steps)(dict(img_path=str(image), img_id=0, instances=[]))['img']
    reduce = pipeline[before] if 'ReduceResolution' in kinds else {}
    whole, operator = parse_ratio(reduce.get('ratio', 1)), reduce.get('operator', 'area')
    pixels = pad_to_ratio(pixels, whole)
    hr, lr = (reduce_image(pixels, r, operator) if r > 1 else pixels for r in (whole / ratio, whole))
    sample = DetDataSample(metainfo=dict(img_shape=lr.shape[:2], ori_shape=lr.shape[:2], scale_factor=(1.0, 1.0)))
    tensors = [torch.from_numpy(np.ascontiguousarray(one.transpose(2, 0, 1))) for one in (hr, lr)]
    return dict(inputs=dict(hr=[tensors[0]], lr=[tensors[1]]), data_samples=[sample])


def standardised(features: Tensor) -> Tensor:
    """(C, h, w) with mean 0 and deviation 1 per channel; constant channels are 0."""
    centred = features - features.mean(dim=(-2, -1), keepdim=True)
    return centred / centred.pow(2).mean(dim=(-2, -1), keepdim=True).sqrt().clamp_min(1e-6)


def correlation(one: Tensor, other: Tensor) -> float:
    """Mean over channels of the correlation of two maps (C, h, w) over the grid, in −1..1."""
    return float((standardised(one) * standardised(other)).mean())


def _draw(panels: Sequence[tuple[str, np.ndarray, Tensor]], guide: Tensor) -> str:
    """Images (3, h, w) uint8 BGR above, maps (C, h, w) below."""
    height, width = panels[0][1].shape[-2:]
    figure = Figure(figsize=(2.6 * len(panels), 2 * 2.6 * height / width + 0.6), dpi=100)
    grid = figure.subplots(2, len(panels), squeeze=False)
    for column, (name, image, features) in enumerate(panels):
        side = f'{image.shape[-1]}×{image.shape[-2]}'
        grid[0, column].imshow(image[::-1].transpose(1, 2, 0), interpolation='nearest')
        grid[0, column].set_title(f'{name}, {side}', fontsize=10)
        energy = standardised(features).abs().mean(0).numpy()
        grid[1, column].imshow(energy, interpolation='nearest', cmap='viridis')
        same = column and features.shape == guide.shape
        text = f'{energy.shape[1]}×{energy.shape[0]} cells' if not column else ''
        grid[1, column].set_title(f'r = {correlation(guide, features):.2f}' if same else text, fontsize=10)
    for axes in grid.flat:
        axes.set_axis_off()
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=1 - 0.3 / figure.get_figheight(), wspace=0.03)
    data = io.BytesIO()
    figure.savefig(data, format='png')
    return base64.b64encode(data.getvalue()).decode()
