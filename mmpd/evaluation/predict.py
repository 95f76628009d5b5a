"""One network on single images: what it saw and what it found."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..data.reduction import pad_to_ratio, reduce_image
from ..errors import DataError
from ..io.read import dataset_meta, load_checkpoint
from ..io.state import load_into
from ..runtime.description import Description
from ..runtime.detector import Prediction, Raw
from .measure import Network, network_of

__all__ = ['Prediction', 'Predictor', 'TorchBackend', 'open_weights', 'reduce_hr']


class Predictor:
    """A network with its weights, ready for image files.

    Args:
        network: which network, and the pipeline from the file to its input.
        checkpoint: plain weights or a Runner checkpoint.
        device: 'cpu', 'cuda', …; None takes a GPU where there is one.

    Raises:
        CheckpointError: the file is damaged or does not fit the network.
    """

    def __init__(self, network: Network, checkpoint: str | Path, device: str | None = None) -> None:
        self.model = build_network(network, checkpoint, device)
        self.pipeline = Compose(network.pipeline)
        self.classes: tuple[str, ...] = tuple(dataset_meta(load_checkpoint(checkpoint)).get('classes', ()))

    @torch.no_grad()
    def __call__(self, image: str | Path) -> Prediction:
        """Detect in one image file.

        Raises:
            DataError: no such file, or not an image.
        """
        if not Path(image).is_file():
            raise DataError(f'image {image}: no such file')
        try:
            data = self.pipeline(dict(img_path=str(image), img_id=0, instances=[]))
        except (AssertionError, AttributeError, ValueError, OSError) as error:  # what cv2 cannot read is None
            raise DataError(f'image {image} cannot be read: {error}') from error
        found = self.model.test_step(dict(inputs=[data['inputs']], data_samples=[data['data_samples']]))[0]
        instances = found.pred_instances.cpu().numpy()
        order = np.argsort(-instances.scores, kind='stable')
        seen = data['inputs'].numpy()[::-1].transpose(1, 2, 0)  # mmdet loads BGR
        return Prediction(
            np.ascontiguousarray(seen), instances.bboxes[order], instances.scores[order], instances.labels[order]
        )


class TorchBackend:
    """A detector in torch, as the runtime calls it: RGB images of any sizes as one batch, boxes in their pixels.

    Args:
        model: the plain detector with its weights, on its device, in eval.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    @torch.no_grad()
    def __call__(self, images: Sequence[np.ndarray]) -> list[Raw]:
        inputs = [torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))) for image in images]
        samples = []
        for image in images:
            shape = image.shape[:2]
            samples.append(DetDataSample(metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0))))
        found = []
        for sample in self.model.test_step(dict(inputs=inputs, data_samples=samples)):
            instances = sample.pred_instances.cpu().numpy()
            order = np.argsort(-instances.scores, kind='stable')
            found.append((instances.bboxes[order], instances.scores[order], instances.labels[order]))
        return found


def open_weights(
    weights: Path, description: Description, threads: int | None = None, device: str | None = None
) -> TorchBackend:
    """The network of a deploy folder, from its config and weights (fp32 or half precision).

    Raises:
        DataError: the config that deploy.json names is not there.
        CheckpointError: the weights are damaged or do not fit.
    """
    file = weights.parent / (description.config or 'deploy.py')
    if not file.is_file():
        raise DataError(f'{file} is missing: the weights {weights.name} need the config of their network')
    if threads:
        torch.set_num_threads(threads)
    return TorchBackend(build_network(network_of(Config.fromfile(file)), weights, device))


def build_network(network: Network, checkpoint: str | Path, device: str | None = None) -> Any:
    """The plain detector with its weights, in eval, on `device` (None: a GPU where there is one)."""
    init_default_scope(network.config.get('default_scope', 'mmdet'))
    model = MODELS.build(network.config.model)
    load_into(model, checkpoint)
    return model.to(device or ('cuda' if torch.cuda.is_available() else 'cpu')).eval()


def reduce_hr(image: np.ndarray, ratio: Fraction, operator: str) -> np.ndarray:
    """HR to LR by any registered operator."""
    return reduce_image(pad_to_ratio(image, ratio), ratio, operator)
