"""AP of a deployed detector: the same metric, on the same split, from image files."""

from __future__ import annotations

import numpy as np
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..chain.datasets import check_labels
from ..data.second_camera import lr_file
from ..errors import ConfigError
from ..runtime.detector import Detector
from .measure import Measurement, network_of
from .metric import PDMetric


def measure_detector(detector: Detector, config: Config, split: str = 'test', batch: int = 1) -> Measurement:
    """Metrics of a detector on the split of a config, `bench.py` or `deploy.py`; fractions 0..1. Images that do not fit
    into an exported file of one size are left out. Where the split has a second camera's LR files, the detector sees
    those, and its boxes are brought to the HR ones.

    Raises:
        ConfigError: the split has other classes than the detector, or a COCO file that numbers them otherwise.
    """
    network = network_of(config, split=split)
    init_default_scope(network.config.get('default_scope', 'mmdet'))
    dataset = DATASETS.build(network.config.test_dataloader.dataset)
    classes = tuple(dataset.metainfo.get('classes', ()))
    if classes != detector.classes:
        raise ConfigError(f'the detector knows the classes {detector.classes}, the {split} split has {classes}')
    check_labels(network.config.test_dataloader.dataset, classes)
    prefix, ratio = network.second_camera or ('', 1)
    metric = PDMetric()
    metric.dataset_meta = dataset.metainfo
    for start in range(0, len(dataset), batch):
        samples = [dataset[index]['data_samples'].to_dict() for index in range(start, min(start + batch, len(dataset)))]
        files = [str(lr_file(one['img_path'], prefix)) if prefix else one['img_path'] for one in samples]
        fitting = detector.that_fit(files)
        if not fitting:
            continue
        samples = [one for one, file in zip(samples, files, strict=True) if file in fitting]
        for sample, found in zip(samples, detector(fitting), strict=True):
            boxes = np.asarray(found.boxes) * float(ratio)
            sample['pred_instances'] = dict(
                bboxes=boxes, scores=np.asarray(found.scores), labels=np.asarray(found.labels)
            )
        metric.process({}, samples)
    metrics = metric.evaluate(len(dataset))
    return Measurement({key.rpartition('/')[2]: float(value) for key, value in metrics.items()}, metric.per_class)
