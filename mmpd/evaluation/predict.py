"""One network on single images: what it saw and what it found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from ..errors import DataError
from ..io.read import dataset_meta, load_checkpoint
from ..io.state import load_into
from .measure import Network


@dataclass(frozen=True)
class Prediction:
    """Result on one image.

    Attributes:
        seen: (h, w, 3) uint8 RGB, the network's input before normalisation and padding.
        boxes: (n, 4) x1, y1, x2, y2 in pixels of the image file. scores: (n,) in 0..1, falling. labels: (n,).
    """

    seen: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


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
        init_default_scope(network.config.get('default_scope', 'mmdet'))
        self.pipeline = Compose(network.pipeline)
        self.model = MODELS.build(network.config.model)
        load_into(self.model, checkpoint)
        self.model.to(device or ('cuda' if torch.cuda.is_available() else 'cpu')).eval()
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
