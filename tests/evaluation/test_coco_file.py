"""COCO data: PDMetric through mmdet's CocoDataset equals pycocotools on the file itself, crowds included."""

import contextlib
import io
import json
import logging
from pathlib import Path

from mmpd.chain.datasets import class_names, with_pipeline
from mmpd.errors import ConfigError
from mmpd.evaluation.metric import PDMetric

import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.config import ConfigDict
from mmengine.logging import MMLogger
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

NAMES = ('zebra', 'apple', 'bus')  # not in alphabetical order, and not COCO's


def coco_file(root: Path, seed: int = 0) -> dict:
    """A CocoDataset config: 12 images, three categories with gaps in their ids, every fourth object a crowd."""
    rng = np.random.default_rng(seed)
    images = [dict(id=10 + i, file_name=f'{i}.jpg', width=200, height=150) for i in range(12)]
    annotations = []
    for image in images:
        for index in range(6):
            x, y, w, h = (*rng.uniform(0, 90, 2), *rng.uniform(10, 60, 2))
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image['id'],
                    category_id=int(rng.choice([3, 7, 20])),
                    bbox=[x, y, w, h],
                    area=w * h,
                    iscrowd=int(index % 4 == 3),
                )
            )
    categories = [dict(id=i, name=name) for i, name in zip((3, 7, 20), NAMES, strict=True)]
    (root / 'a.json').write_text(
        json.dumps(dict(info={}, images=images, annotations=annotations, categories=categories))
    )
    return ConfigDict(type='CocoDataset', data_root=str(root), ann_file='a.json', data_prefix=dict(img=''))


def detections(truth: COCO, seed: int = 1) -> list[dict]:
    """Boxes near the objects (two for each crowd, lying inside it) and boxes of nothing."""
    rng = np.random.default_rng(seed)
    found = []
    for annotation in truth.dataset['annotations']:
        x, y, w, h = annotation['bbox']
        places = [(x, y, w, h)]
        if annotation['iscrowd']:
            places = [(x + w / 4, y + h / 4, w / 3, h / 3), (x + w / 2, y + h / 2, w / 3, h / 3)]
        for place in places:
            box = np.array(place) + rng.normal(0, 1.5, 4)
            found.append(
                dict(image_id=annotation['image_id'], category_id=annotation['category_id'], bbox=box.tolist())
            )
    for image in truth.dataset['images']:
        found.append(dict(image_id=image['id'], category_id=7, bbox=[5.0, 5.0, 30.0, 30.0]))
    scores = rng.permutation(len(found)) / len(found)
    return [dict(entry, score=float(score)) for entry, score in zip(found, scores, strict=True)]


def test_pdmetric_equals_pycocotools_on_the_file_itself(tmp_path):
    config = with_pipeline(coco_file(tmp_path), [], test_mode=True)
    dataset = DATASETS.build(config)
    truth = COCO(str(tmp_path / 'a.json'))
    found = detections(truth)
    with contextlib.redirect_stdout(io.StringIO()):
        peer = COCOeval(truth, truth.loadRes(found), 'bbox')
        peer.evaluate()
        peer.accumulate()
        peer.summarize()

    metric = PDMetric()  # the data set says that they are crowds
    metric.dataset_meta = dataset.metainfo
    label_of = {category: label for label, category in enumerate(dataset.cat_ids)}
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        own = [entry for entry in found if entry['image_id'] == info['img_id']]
        boxes = np.array([entry['bbox'] for entry in own]).reshape(-1, 4)
        parts = {}
        for name, flag in (('gt_instances', 0), ('ignored_instances', 1)):
            kept = [item for item in info['instances'] if item['ignore_flag'] == flag]
            parts[name] = dict(
                bboxes=np.array([item['bbox'] for item in kept]).reshape(-1, 4),
                labels=np.array([item['bbox_label'] for item in kept], int),
            )
        parts['pred_instances'] = dict(
            bboxes=np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1),
            labels=np.array([label_of[entry['category_id']] for entry in own], int),
            scores=np.array([entry['score'] for entry in own]),
        )
        metric.process({}, [dict(img_id=info['img_id'], scale_factor=(1.0, 1.0), **parts)])
    ours = metric.evaluate(len(dataset))
    assert ours['pd/AP'] == pytest.approx(peer.stats[0], abs=1e-9)
    assert ours['pd/coco_AP50'] == pytest.approx(peer.stats[1], abs=1e-9)
    assert ours['pd/AP75'] == pytest.approx(peer.stats[2], abs=1e-9)
    assert ours['pd/AP_small'] == pytest.approx(peer.stats[3], abs=1e-9)
    assert ours['pd/AP_medium'] == pytest.approx(peer.stats[4], abs=1e-9)


def test_the_names_are_the_files_and_not_cocos(tmp_path):
    config = coco_file(tmp_path)
    assert class_names(config, 'data.train') == NAMES
    dataset = DATASETS.build(with_pipeline(config, [], test_mode=True))
    assert tuple(dataset.metainfo['classes']) == NAMES
    assert sum(len(dataset.get_data_info(i)['instances']) for i in range(len(dataset))) == 72  # none is dropped


def test_what_ignored_may_be():
    with pytest.raises(ConfigError, match="'crowds'.*'crowd'"):
        PDMetric(ignored='crowds')


def test_a_file_is_opened_without_a_word(tmp_path, capsys):
    heard = []
    logger = MMLogger.get_instance('words_of_a_file', log_level='WARNING')
    logger.addFilter(lambda record: heard.append(record.getMessage()) if record.levelno >= logging.INFO else False)
    DATASETS.build(with_pipeline(coco_file(tmp_path), []))
    assert capsys.readouterr().out == '' and heard == []
