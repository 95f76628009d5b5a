"""A VOC folder that a test fills, one image at a time."""

from pathlib import Path

from mmpd.data.voc.annotation import VOCObject, write_voc_xml
from mmpd.data.voc.dataset import PDVOCDataset

import cv2
import numpy as np

WIDTH, HEIGHT = 40, 20


class VOCFolder:
    """`add` writes an image of 40 × 20 pixels with one object of class `cat`, or what is given instead."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ids: list[str] = []
        for folder in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
            (root / folder).mkdir(parents=True)

    def add(self, image_id='a', image: bytes | None = b'', objects=None, size=(WIDTH, HEIGHT), xml=None) -> None:
        """`image`: the file's bytes; b'' draws one, None writes none. `xml` (text) replaces `objects`."""
        if image is not None:
            self.image_path(image_id).write_bytes(image or draw())
        if xml is None:
            objects = [VOCObject('cat', (5, 5, 15, 12))] if objects is None else objects
            write_voc_xml(self.xml_path(image_id), f'{image_id}.jpg', size, objects)
        else:
            self.xml_path(image_id).write_text(xml)
        self.ids.append(image_id)

    def image_path(self, image_id: str) -> Path:
        return self.root / 'JPEGImages' / f'{image_id}.jpg'

    def xml_path(self, image_id: str) -> Path:
        return self.root / 'Annotations' / f'{image_id}.xml'

    @property
    def split_path(self) -> Path:
        return self.root / 'ImageSets/Main/train.txt'

    def load(self, split: str | bytes | None = None, **kwargs) -> PDVOCDataset:
        """Write the split file (default: all ids added) and build the data set on it."""
        text = ''.join(f'{image_id}\n' for image_id in self.ids) if split is None else split
        self.split_path.write_bytes(text.encode() if isinstance(text, str) else text)
        return self.build(**kwargs)

    def build(self, **kwargs) -> PDVOCDataset:
        settings = {'metainfo': {'classes': ('cat', 'dog')}, 'pipeline': [], 'serialize_data': False, **kwargs}
        return PDVOCDataset(
            data_root=str(self.root), ann_file='ImageSets/Main/train.txt', data_prefix={'sub_data_root': ''}, **settings
        )


def draw(width: int = WIDTH, height: int = HEIGHT, suffix: str = '.jpg') -> bytes:
    """An encoded image of smooth random colours."""
    pixels = np.random.default_rng(0).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    return cv2.imencode(suffix, cv2.resize(pixels, (width, height)))[1].tobytes()
