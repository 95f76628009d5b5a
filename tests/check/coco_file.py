"""The drawn toy set once more, as a COCO file."""

import json
from pathlib import Path

from mmpd.data.voc.annotation import read_voc_xml
from tests.toys import CLASSES, toy_chain


def coco_set(root: Path, split: str = 'train', names: tuple[str, ...] = CLASSES, file: str = '') -> dict:
    """A CocoDataset config of a split of the toy chain's set in `root`, whose file `<split>.json` is written.

    Args:
        names: categories of the file, in its order.
        file: name of the annotation file.
    """
    voc = Path(toy_chain(root).data.train.data_root)  # draws the set
    ids = (voc / f'ImageSets/Main/{split}.txt').read_text().split()
    categories = [dict(id=i + 1, name=n) for i, n in enumerate(names)]
    content: dict = dict(info={}, images=[], annotations=[], categories=categories)
    for number, image_id in enumerate(ids):
        content['images'].append(dict(id=number, file_name=f'{image_id}.png', width=64, height=48))
        for item in read_voc_xml(voc / f'Annotations/{image_id}.xml').objects:
            if item.name in names:
                x1, y1, x2, y2 = item.box
                shared = dict(id=len(content['annotations']), image_id=number, iscrowd=0)
                box = dict(bbox=[x1 - 1, y1 - 1, x2 - x1, y2 - y1], area=(x2 - x1) * (y2 - y1))
                content['annotations'].append({**shared, **box, 'category_id': names.index(item.name) + 1})
    path = root / (file or f'{split}.json')
    path.write_text(json.dumps(content))
    return dict(
        type='CocoDataset',
        ann_file=str(path),
        data_prefix=dict(img=f'{voc}/JPEGImages/'),
        metainfo=dict(classes=CLASSES),
    )
