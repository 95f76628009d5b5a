"""`mmpd init`: three layouts told apart, a config that mmpd reads, and sizes that are those of the data."""

import dataclasses
import shutil
from pathlib import Path

from mmpd.ablate.rows import ablation_chain
from mmpd.chain.chain import read_chain
from mmpd.chain.init import SPLITS, Look, advice, anchor_scales, chain_text, find_layout, look
from mmpd.cli import command
from mmpd.errors import ConfigError, DataError
from tests.check.coco_file import coco_set
from tests.data.test_yolo import yolo_set
from tests.toys import CLASSES, toy_chain

import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config


def sized(side: float, images: tuple[int, int] = (640, 480), count: int = 20) -> Look:
    """Two classes: 'big' of 200 pixels, and 'small' of about `side`."""
    boxes = np.array([[200.0, 200.0]] * count + [[side, side]] * count)
    labels = np.repeat([0, 1], count)
    return Look(('big', 'small'), np.array([images] * 5, float), boxes, labels)


def coco_root(tmp_path: Path) -> Path:
    """annotations/instances_<split>.json beside the images' folder."""
    root = tmp_path / 'set'
    (root / 'annotations').mkdir(parents=True)
    for split in ('train', 'val', 'test'):
        config = coco_set(tmp_path, split)
        shutil.copy(config['ann_file'], root / 'annotations' / f'instances_{split}.json')
        shutil.copytree(config['data_prefix']['img'], root / 'images', dirs_exist_ok=True)
    return root


def voc_root(tmp_path: Path) -> Path:
    return Path(toy_chain(tmp_path).data.train.data_root)


def yolo_root(tmp_path: Path) -> Path:
    root = yolo_set(tmp_path / 'yolo', {'a': '0 0.5 0.5 0.25 0.5', 'b': '1 0.3 0.3 0.2 0.2'})
    return yolo_set(root, {'c': '0 0.5 0.5 0.25 0.5'}, 'val', train='images/train')


@pytest.mark.parametrize(('sizes', 'scale'), [
    ([(1000, 600)] * 5 + [(600, 1000)] * 5, (1000, 600)),
    ([(1000, 600)] * 2 + [(600, 1000)] * 3, (600, 1000)),
    ([(2666, 1600)] * 2 + [(1600, 2666)], (1333, 800)),
])  # fmt: skip
def test_images_that_lie_both_ways_keep_their_size(sizes, scale):
    seen = Look(('a',), np.array(sizes, float), np.full((1, 2), 50.0), np.zeros(1, int))
    assert seen.hr_scale == scale
    assert seen.sides == pytest.approx(50 * max(scale) / max(sizes[0]))


@pytest.mark.parametrize(('make', 'kind', 'names'), [
    (coco_root, 'coco', CLASSES), (voc_root, 'voc', CLASSES), (yolo_root, 'yolo', ('cat', 'dog')),
])  # fmt: skip
def test_a_config_is_written_that_mmpd_reads_and_whose_data_sets_are_the_folders(tmp_path, make, kind, names):
    root = make(tmp_path)
    layout = find_layout(root)
    assert layout.kind == kind and list(layout.splits) == [name for name in SPLITS if name in layout.splits]
    seen = look(layout)
    assert set(seen.classes) == set(names)
    out = tmp_path / 'chain.py'
    out.write_text(chain_text(layout, seen, 2))
    chain = read_chain(Config.fromfile(out))
    assert chain.stages['student'].network.bbox_head.num_classes == len(names)
    for split in layout.splits:
        config = {**chain.config.data[split], 'pipeline': []}
        assert len(DATASETS.build(config)) > 0


def test_the_command_writes_once_and_says_what_comes_next(tmp_path, capsys):
    root, out = yolo_root(tmp_path), tmp_path / 'mine.py'
    command('init')([str(root), '--out', str(out), '--ratio', '4'])
    assert Config.fromfile(out).ratio == 4 and f'mmpd check {out}' in capsys.readouterr().out
    assert 'No split test' in out.read_text()
    with pytest.raises(ConfigError, match='--force'):
        command('init')([str(root), '--out', str(out)])
    command('init')([str(root), '--out', str(out), '--force'])


def test_a_chain_for_a_cpu_is_two_narrow_networks_from_scratch_that_can_be_ablated(tmp_path):
    root, out = yolo_root(tmp_path), tmp_path / 'mine.py'
    command('init')([str(root), '--out', str(out), '--cpu'])
    chain = read_chain(Config.fromfile(out))
    hr, lr = chain.stages.values()
    assert lr.guide is hr and lr.init_from is hr and max(chain.config.data.hr_scale) <= 320
    assert lr.network.backbone.base_channels == 32 and lr.network.backbone.get('init_cfg') is None
    assert {'lr_init', 'lr_plain', 'student'} <= ablation_chain(chain, 0).stages.keys()


def test_a_small_rare_class_decides_and_not_the_mean():
    rare = sized(12.0)
    boxes = np.concatenate([rare.boxes, [[200.0, 200.0]] * 2000])
    labels = np.concatenate([rare.labels, [0] * 2000])
    look_ = Look(rare.classes, rare.images, boxes, labels)
    assert look_.smallest == ('small', pytest.approx(12.0))
    assert any('tenth of small under 6.0' in line for line in advice(look_, (2,)))


def test_sizes_are_in_pixels_of_the_resized_images():
    assert sized(100.0, images=(2666, 2000)).hr_scale == (1333, 1000)
    assert sized(100.0, images=(2666, 2000)).smallest[1] == pytest.approx(50.0)
    small = dataclasses.replace(sized(100.0), max_side=320)
    assert small.hr_scale == (320, 240) and small.smallest[1] == pytest.approx(50.0)


@pytest.mark.parametrize('side', [8.0, 12.0, 16.0, 20.0])
@pytest.mark.parametrize('ratio', [1, 2, 4])
def test_the_smallest_anchor_finds_the_smallest_objects_or_is_as_small_as_a_cell(side, ratio):
    """In place, an anchor and an object have IoU (small / large)²; 0.5 is where an assigner takes it."""
    text = anchor_scales(sized(side), ratio, 'fine')
    smallest = eval(text)['scales'][0] * 4 if text else 16.0  # strides of 4 LR pixels
    small, large = sorted((smallest, side / ratio))
    assert (small / large) ** 2 >= 0.48 or smallest == pytest.approx(4.0)


def test_large_objects_keep_the_anchors_and_get_the_cheap_pyramid():
    seen = sized(180.0)
    assert anchor_scales(seen, 2, 'cheap') is None
    assert "student_pyramid = 'cheap'" in chain_text(find_layout_stub(), seen, 2)
    assert "student_pyramid = 'fine'" in chain_text(find_layout_stub(), sized(20.0), 2)


def find_layout_stub():
    from mmpd.chain.init import Layout

    return Layout('yolo', Path('set'), {split: dict(split=split) for split in ('train', 'val', 'test')})


def test_an_unknown_folder_says_what_is_known(tmp_path):
    with pytest.raises(DataError, match=r'data.yaml.*VOC.*COCO.*docs/data.md'):
        find_layout(tmp_path)
    with pytest.raises(DataError, match='no folder'):
        find_layout(tmp_path / 'not')
