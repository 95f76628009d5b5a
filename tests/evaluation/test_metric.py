"""PDMetric against hand calculations, mmdet's VOCMetric and a straight pycocotools run."""

import contextlib
import io
import json
from fractions import Fraction

from mmpd.errors import ConfigError, DataError
from mmpd.evaluation.metric import APS, PDMetric
from mmpd.evaluation.voc_ap import eleven_point_ap

import numpy as np
import pytest
import torch
from mmdet.evaluation import VOCMetric
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

CLASSES = ('cat', 'dog')


def sample(gt, found, difficult=(), **meta) -> dict:
    """gt, difficult: lists of (x1, y1, x2, y2, label); found: lists of (x1, y1, x2, y2, label, score)."""

    def part(rows):
        rows = torch.tensor(rows, dtype=torch.float64) if len(rows) else torch.zeros(0, 6)
        return {'bboxes': rows[:, :4], 'labels': rows[:, 4].long(), 'scores': rows[:, 5:].flatten()}

    parts = {'gt_instances': part(gt), 'ignored_instances': part(difficult), 'pred_instances': part(found)}
    return {'img_id': 'x', 'scale_factor': (1.0, 1.0), **meta, **parts}


def evaluate(samples, classes=CLASSES, **kwargs) -> dict[str, float]:
    metric = PDMetric(**kwargs)
    metric.dataset_meta = {'classes': classes}
    metric.process({}, samples)
    return {key.removeprefix('pd/'): value for key, value in metric.evaluate(len(samples)).items()}


def random_samples(count=12, with_difficult=True, seed=0) -> list[dict]:
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        gt = [(*corner, *(corner + rng.uniform(8, 150, 2)), rng.integers(2)) for corner in rng.uniform(0, 100, (6, 2))]
        difficult = gt[4:] if with_difficult else []
        found = [(*(np.array(row[:4]) + rng.normal(0, 4, 4)), row[4], rng.random()) for row in gt + gt[:2]]
        found = [(x1, y1, max(x2, x1 + 1), max(y2, y1 + 1), *rest) for x1, y1, x2, y2, *rest in found]
        found += [(10, 10, 10 + size, 10 + size, rng.integers(2), rng.random()) for size in (20, 50, 120)]
        samples.append(sample(gt[: 6 - len(difficult)], found, difficult))
    return samples


def test_perfect_predictions_score_one_everywhere():
    boxes = [(0, 0, 20, 20, 0), (30, 30, 80, 80, 1), (0, 0, 200, 100, 0)]
    metrics = evaluate([sample(boxes, [(*box, 0.9 - 0.1 * i) for i, box in enumerate(boxes)])])
    assert metrics == pytest.approx(
        {'gt_small': 1, 'gt_medium': 1, 'gt_large': 1}
        | dict.fromkeys(('AP', 'coco_AP50', 'AP75', 'AP50', 'AP50_11', 'AP_small', 'AP_medium', 'AP_large'), 1.0)
    )


def test_what_can_choose_a_checkpoint_is_what_is_computed():
    sides = (20, 50, 150)
    found = evaluate([sample([(0, 0, a, a, 0)], [(0, 0, a, a, 0, 0.9)]) for a in sides])
    assert {name for name in found if not name.startswith('gt_')} == set(APS)


def test_average_precision_by_hand():
    """Three objects; hit (.9), miss (.8), hit (.7): precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3."""
    gt = [(0, 0, 20, 20, 0), (50, 0, 70, 20, 0), (100, 0, 120, 20, 0)]
    found = [(*gt[0], 0.9), (0, 100, 20, 120, 0, 0.8), (*gt[1], 0.7)]
    metrics = evaluate([sample(gt, found)], classes=('cat',))
    assert metrics['AP50'] == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    assert metrics['AP50_11'] == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)  # recalls 0–.3 and .4–.6
    assert metrics['coco_AP50'] == pytest.approx((34 * 1 + 33 * 2 / 3) / 101)  # recalls 0–.33 and .34–.66
    assert metrics['AP'] == pytest.approx(metrics['coco_AP50'])  # exact boxes: every threshold is passed


def test_ap_counts_the_thresholds_a_box_passes():
    metrics = evaluate([sample([(0, 0, 100, 100, 0)], [(0, 0, 77, 100, 0, 0.9)])])  # IoU .77: .50 … .75
    assert metrics['AP'] == pytest.approx(0.6) and metrics['AP75'] == pytest.approx(1)


def test_no_prediction_scores_zero():
    metrics = evaluate([sample([(0, 0, 20, 20, 0)], [])])
    assert metrics['AP'] == metrics['AP50'] == metrics['AP50_11'] == metrics['AP_small'] == 0


@pytest.mark.parametrize(
    ('meta', 'size'),
    [
        ({}, 'medium'),
        ({'scale_factor': (0.5, 0.5)}, 'small'),
        ({'scale_factor': (0.5, 0.5), 'hr_scale_factor': (3.0, 3.0)}, 'large'),
        ({'scale_factor': (0.8, 0.8)}, 'medium'),  # exactly 32²
        ({'scale_factor': (2.4, 2.4)}, 'large'),  # exactly 96²
    ],
)
def test_sizes_are_in_hr_pixels(meta, size):
    metrics = evaluate([sample([(0, 0, 40, 40, 0)], [(0, 0, 40, 40, 0, 0.9)], **meta)])
    assert {key for key in metrics if key.startswith('AP_')} == {f'AP_{size}'}
    assert metrics[f'AP_{size}'] == pytest.approx(1) and metrics[f'gt_{size}'] == 1


def test_scaled_images_score_the_same_at_the_same_hr_size():
    samples = random_samples()
    scaled = []
    for item in samples:
        scaled.append(dict(item, scale_factor=(1 / 3, 1 / 3)))
        for part in ('gt_instances', 'ignored_instances', 'pred_instances'):
            scaled[-1][part] = dict(item[part], bboxes=item[part]['bboxes'] * 3)
    before, after = evaluate(samples), evaluate(scaled)
    for metrics in (before, after):  # VOC's +1 pixel depends on the scale, by definition
        del metrics['AP50'], metrics['AP50_11']
    assert before == pytest.approx(after) and 0.1 < before['AP'] < 0.9 and len(before) == 9


def test_difficult_objects_neither_cost_nor_gain():
    gt, found = [(0, 0, 20, 20, 0)], [(0, 0, 20, 20, 0, 0.5)]
    difficult = [(50, 50, 80, 80, 0), (100, 100, 150, 150, 0)]
    hit_one = [*found, (50, 50, 80, 80, 0, 0.9)]
    metrics = evaluate([sample(gt, hit_one, difficult)])
    assert [metrics[key] for key in ('AP', 'AP50', 'AP50_11')] == pytest.approx([1, 1, 1])
    assert (metrics['gt_small'], metrics['gt_medium']) == (1, 0)


@pytest.mark.parametrize('boxes', [0, 1, 2, 5])
def test_any_number_of_boxes_on_a_difficult_object_is_ignored(boxes):
    gt, difficult = (0, 0, 20, 20, 0), (50, 50, 80, 80, 0)
    found = [(*gt, 0.5)] + [(50, 50, 80 + i / 10, 80, 0, 0.9 + i / 100) for i in range(boxes)]
    metrics = evaluate([sample([gt], found, [difficult])])
    assert [metrics[key] for key in ('AP', 'coco_AP50', 'AP75', 'AP50', 'AP50_11')] == pytest.approx([1] * 5)


def test_coco_numbers_equal_the_definition_with_difficult_objects():
    samples = [*random_samples(30, seed=3), sample([], [(0, 0, 40, 40, 0, 0.3)], [(0, 0, 40, 40, 0)])]
    for item in samples:  # three boxes on each difficult object, and none on some of the others
        difficult, found = item['ignored_instances'], item['pred_instances']
        for shift in (0, 1, 2):
            found['bboxes'] = torch.cat([found['bboxes'], difficult['bboxes'] + shift])
            found['labels'] = torch.cat([found['labels'], difficult['labels']])
            found['scores'] = torch.cat([found['scores'], torch.full((len(difficult['labels']),), 0.9 - shift / 10)])
    metrics = evaluate(samples)
    expected = [[ap_by_definition(samples, label, thr / 100) for label in (0, 1)] for thr in range(50, 100, 5)]
    assert metrics['AP'] == pytest.approx(np.mean(expected)) and 0.1 < metrics['AP'] < 0.9
    assert metrics['coco_AP50'] == pytest.approx(np.mean(expected[0]))
    assert metrics['AP75'] == pytest.approx(np.mean(expected[5]))


def ap_by_definition(samples: list[dict], label: int, threshold: float) -> float:
    """COCO's AP in plain loops: each detection takes the free object that it overlaps most, else is ignored where it
    overlaps a difficult one, else is wrong; mean precision envelope at the recalls 0, .01 … 1."""
    outcomes, objects = [], 0
    for item in samples:
        rows = {name: item[name]['bboxes'][item[name]['labels'] == label].tolist() for name in item if '_inst' in name}
        free = list(rows['gt_instances'])
        objects += len(free)
        scores = item['pred_instances']['scores'][item['pred_instances']['labels'] == label].tolist()
        for score, box in sorted(zip(scores, rows['pred_instances'], strict=True), key=lambda row: -row[0]):
            best = max(free, key=lambda other: iou(box, other), default=None)
            if best is not None and iou(box, best) >= threshold:
                free.remove(best)
                outcomes.append((score, True))
            elif all(iou(box, other) < threshold for other in rows['ignored_instances']):
                outcomes.append((score, False))
    hits, points = 0, []
    for count, (_, hit) in enumerate(sorted(outcomes, key=lambda row: -row[0]), start=1):
        hits += hit
        points.append((hits / objects, hits / count))
    return np.mean([max((p for r, p in points if r >= recall), default=0) for recall in np.linspace(0, 1, 101)])


def iou(a, b) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


@pytest.mark.parametrize('objects', [*range(1, 31), 1000])
def test_eleven_points_equal_the_definition_at_every_recall(objects):
    for hits in {*range(min(objects, 30) + 1), objects * 9 // 10}:
        recall = np.arange(1, hits + 1) / objects
        ap = eleven_point_ap(recall, np.ones(hits))
        reached = [tenth for tenth in range(11) if hits and Fraction(hits, objects) >= Fraction(tenth, 10)]
        assert ap == pytest.approx(len(reached) / 11), hits


@pytest.mark.parametrize(('hits', 'expected'), [(9, 10), (5, 6), (2, 3), (3, 4), (6, 7), (7, 8)])
def test_eleven_points_of_perfect_hits(hits, expected):
    """Also mmdet's VOCMetric, but for 3, 6 and 7 tenths: its thresholds there lie one rounding above the tenth."""
    gt = [(100 * i, 0, 100 * i + 50, 50, 0) for i in range(10)]
    samples = [sample(gt, [(*box, 0.9 - i / 100) for i, box in enumerate(gt[:hits])])]
    metrics = evaluate(samples, classes=('cat',))
    assert metrics['AP50_11'] == pytest.approx(expected / 11)
    reference = VOCMetric(eval_mode='11points')
    reference.dataset_meta = {'classes': ('cat',)}
    reference.process({}, samples)
    missed = 1 / 11 if hits in (3, 6, 7) else 0
    assert reference.compute_metrics(reference.results)['mAP'] == pytest.approx(expected / 11 - missed, abs=1e-3)


def test_a_detection_inside_a_difficult_object_is_no_match_for_it():
    """pycocotools' crowd rule would forgive it: the detection lies wholly inside."""
    gt, found = [(0, 0, 20, 20, 0)], [(0, 0, 20, 20, 0, 0.5), (60, 60, 80, 80, 0, 0.9)]
    metrics = evaluate([sample(gt, found, [(50, 50, 100, 100, 0)])])
    assert metrics['coco_AP50'] == pytest.approx(0.5) and metrics['AP50'] == pytest.approx(0.5)


def test_voc_numbers_equal_vocmetric():
    samples = random_samples()
    metrics = evaluate(samples)
    for mode, key in (('area', 'AP50'), ('11points', 'AP50_11')):
        reference = VOCMetric(eval_mode=mode)
        reference.dataset_meta = {'classes': CLASSES}
        reference.process({}, samples)
        assert metrics[key] == pytest.approx(reference.compute_metrics(reference.results)['mAP'], abs=1e-6)
    assert 0.1 < metrics['AP50'] < 0.95


def test_coco_numbers_equal_pycocotools_without_difficult_objects():
    samples = random_samples(with_difficult=False)
    truth, found = [], []
    for image_id, item in enumerate(samples):
        for name, target in (('gt_instances', truth), ('pred_instances', found)):
            for i, (x1, y1, x2, y2) in enumerate(item[name]['bboxes'].tolist()):
                entry = {'image_id': image_id, 'category_id': int(item[name]['labels'][i]) + 1, 'iscrowd': 0}
                entry |= {'bbox': [x1, y1, x2 - x1, y2 - y1], 'area': (x2 - x1) * (y2 - y1), 'id': len(target) + 1}
                target.append(entry if target is truth else entry | {'score': float(item[name]['scores'][i])})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            'info': {},
            'images': [{'id': i} for i in range(len(samples))],
            'categories': [{'id': 1}, {'id': 2}],
            'annotations': truth,
        }
        coco.createIndex()
        reference = COCOeval(coco, coco.loadRes(found), 'bbox')
        reference.evaluate(), reference.accumulate(), reference.summarize()
    metrics = evaluate(samples)
    keys = ('AP', 'coco_AP50', 'AP75', 'AP_small', 'AP_medium', 'AP_large')
    assert [metrics[key] for key in keys] == pytest.approx(reference.stats[:6])


def test_per_class_values_average_to_the_metric_and_are_written(tmp_path):
    samples = random_samples()
    metric = PDMetric(outfile=str(tmp_path / 'sub' / 'ap.json'))
    metric.dataset_meta = {'classes': (*CLASSES, 'absent')}
    metric.process({}, samples)
    metrics = metric.evaluate(len(samples))
    assert set(metric.per_class) == set(CLASSES)
    for key in ('AP', 'AP50', 'AP50_11'):
        assert np.mean([values[key] for values in metric.per_class.values()]) == pytest.approx(metrics[f'pd/{key}'])
    written = json.loads((tmp_path / 'sub' / 'ap.json').read_text())
    assert written['per_class'] == metric.per_class and written['metrics']['AP'] == metrics['pd/AP']


def test_data_samples_go_through_the_evaluator_and_print_nothing_of_pycocotools(capsys):
    boxes, labels = torch.tensor([[0.0, 0, 40, 40]]), torch.tensor([1])
    data_sample = DetDataSample(metainfo={'img_id': 'a', 'scale_factor': (0.5, 0.5)})
    data_sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
    data_sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=labels[:0])
    data_sample.pred_instances = InstanceData(bboxes=boxes, labels=labels, scores=torch.tensor([0.9]))
    evaluator = Evaluator({'type': 'mmdet.PDMetric'})
    evaluator.dataset_meta = {'classes': CLASSES}
    evaluator.process(data_samples=[data_sample])
    metrics = evaluator.evaluate(1)
    assert metrics['pd/AP'] == pytest.approx(1) and metrics['pd/gt_small'] == 1
    printed = capsys.readouterr().out
    assert 'index' not in printed and 'DONE' not in printed


def test_what_cannot_be_evaluated_is_refused():
    box = (0, 0, 20, 20, 0)
    with pytest.raises(DataError, match='no object to find'):
        evaluate([sample([], [(*box, 0.5)], [box])])
    with pytest.raises(DataError, match='image x contain NaN or Inf'):
        evaluate([sample([box], [(*box, float('nan'))])])
    with pytest.raises(ConfigError, match='class index 7.*num_classes'):
        evaluate([sample([box], [(0, 0, 20, 20, 7, 0.5)])])


def test_ap_without_each_group_of_images_is_that_of_the_rest():
    samples = random_samples(count=10)
    metric = PDMetric(groups=4)
    metric.dataset_meta = {'classes': CLASSES}
    metric.process({}, samples)
    metrics = metric.evaluate(len(samples))
    rest = [[one for index, one in enumerate(samples) if index % 4 != group] for group in range(4)]
    assert metric.without == pytest.approx([evaluate(some)['AP'] for some in rest])
    assert len(set(metric.without)) == 4 and metrics == {f'pd/{k}': v for k, v in evaluate(samples).items()}


def test_fewer_images_than_groups_say_nothing_of_the_choice_of_images():
    metric = PDMetric(groups=4)
    metric.dataset_meta = {'classes': CLASSES}
    metric.process({}, random_samples(count=3))
    metric.evaluate(3)
    assert metric.without == []
