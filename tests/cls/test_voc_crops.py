"""The converter on tiny drawn sets: geometry by hand, everything left out counted, whole or not at all."""

import json

from mmpd.cls import voc_crops
from mmpd.cls.voc_crops import CropOptions, convert, crop_window, cut
from mmpd.data.voc.annotation import VOCObject, write_voc_xml
from mmpd.errors import ConfigError, DataError

import cv2
import numpy as np
import pytest

OPTIONS = CropOptions(size=24, context=1.2, min_side=10)
WIDTH, HEIGHT = 80, 60
RED_BOX = (21, 11, 40, 30)  # as VOC writes it: columns 20..39 and rows 10..29 counted from 0


def make_set(root, objects_of):
    """A VOC-layout set of black images with a red square under RED_BOX. `objects_of`: split → image id → objects."""
    for folder in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[10:30, 20:40] = (0, 0, 255)
    for split, images in objects_of.items():
        (root / 'ImageSets/Main' / f'{split}.txt').write_text(''.join(f'{image_id}\n' for image_id in images))
        for image_id, objects in images.items():
            cv2.imwrite(str(root / 'JPEGImages' / f'{image_id}.png'), image)
            write_voc_xml(root / 'Annotations' / f'{image_id}.xml', f'{image_id}.png', (WIDTH, HEIGHT), objects)
    return root


@pytest.fixture
def source(tmp_path):
    train = {
        'a': [VOCObject('cat', RED_BOX), VOCObject('dog', RED_BOX, difficult=True), VOCObject('dog', (1, 1, 5, 5))],
        'b': [VOCObject('cat', (7, 7, 7, 30)), VOCObject('dog', (1, 1, WIDTH, 20))],
    }
    return make_set(tmp_path / 'voc', {'train': train, 'test': {'c': [VOCObject('dog', RED_BOX)]}})


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_the_window_is_centred_and_larger_by_the_context():
    assert crop_window((20, 10, 40, 20), (80, 60), 1.2) == (18, 3, 24)  # 1.2 · 20 around (30, 15)


@pytest.mark.parametrize(
    ('box', 'left', 'top'),
    [((0, 0, 20, 20), 0, 0), ((60, 40, 80, 60), 56, 36), ((0, 40, 20, 60), 0, 36)],
)
def test_the_window_is_shifted_into_the_image(box, left, top):
    assert crop_window(box, (80, 60), 1.2) == (left, top, 24)


def test_context_gives_way_before_the_window_outgrows_the_image():
    assert crop_window((10, 0, 66, 50), (80, 60), 1.2) == (8, 0, 60)


def test_a_box_longer_than_the_image_is_high_is_padded_above_and_below():
    assert crop_window((0, 20, 80, 40), (80, 60), 1.2) == (0, -10, 80)


def test_padding_repeats_the_border():
    image = np.zeros((2, 4, 3), np.uint8)
    image[0], image[1] = 10, 200
    assert cut(image, (0, -1, 4), 4)[:, 0, 0].tolist() == [10, 10, 200, 200]


def test_reduction_averages():
    """Stripes one pixel wide become grey, not black or white."""
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, ::2] = 200
    assert (cut(image, (0, 0, 16), 4) == 100).all()


def test_crops_show_the_object_and_nothing_is_lost_in_silence(source, tmp_path):
    result = convert(source, tmp_path / 'crops', OPTIONS)
    assert result['classes'] == ['cat', 'dog']
    assert result['splits']['train'] == dict(
        images=2,
        crops=dict(cat=1, dog=1),
        left_out={'boxes of zero area': 1, 'difficult': 1, 'longest side under 10 px': 1},
        padded=1,
        enlarged=0,
    )
    assert sorted(name for name in files(tmp_path / 'crops') if name.endswith('.jpg')) == [
        'test/dog/c_0.jpg',
        'train/cat/a_0.jpg',
        'train/dog/b_0.jpg',
    ]
    crop = cv2.imread(str(tmp_path / 'crops/train/cat/a_0.jpg'))
    assert crop is not None and crop.shape == (24, 24, 3)
    red = crop[..., 2] > 128
    # The crop starts at (18, 8), so the red square of 20 pixels starts 2 pixels in and ends 2 before the border.
    assert red[4:-4, 4:-4].all() and not red[0].any() and not red[:, -1].any()
    assert red.sum() == pytest.approx(400, abs=20)


def test_a_crop_one_pixel_over_the_border_counts_as_padded(tmp_path):
    source = make_set(tmp_path / 'voc', {'train': {'a': [VOCObject('cat', (1, 1, HEIGHT + 1, 20))]}})
    assert convert(source, tmp_path / 'crops', OPTIONS)['splits']['train']['padded'] == 1


def test_every_split_has_every_class_folder(source, tmp_path):
    convert(source, tmp_path / 'crops', OPTIONS)
    assert sorted(path.name for path in (tmp_path / 'crops/test').iterdir()) == ['cat', 'dog']


def test_two_runs_give_the_same_bytes(source, tmp_path):
    convert(source, tmp_path / 'one', OPTIONS)
    convert(source, tmp_path / 'two', OPTIONS)
    assert files(tmp_path / 'one') == files(tmp_path / 'two')


def test_a_finished_set_is_left_alone(source, tmp_path):
    first = convert(source, tmp_path / 'crops', OPTIONS)
    (tmp_path / 'crops/train/cat/a_0.jpg').write_bytes(b'untouched')
    assert convert(source, tmp_path / 'crops', OPTIONS) == first
    assert (tmp_path / 'crops/train/cat/a_0.jpg').read_bytes() == b'untouched'


def test_a_failed_run_leaves_nothing_behind(source, tmp_path, monkeypatch):
    def full_disk(*args):
        raise OSError('no space left')

    monkeypatch.setattr(voc_crops, '_write_jpeg', full_disk)
    with pytest.raises(OSError, match='no space'):
        convert(source, tmp_path / 'out' / 'crops', OPTIONS)
    assert list((tmp_path / 'out').iterdir()) == []


def test_other_options_other_data_or_foreign_files_are_not_overwritten(source, tmp_path):
    target = tmp_path / 'crops'
    convert(source, target, OPTIONS)
    before = files(target)
    with pytest.raises(DataError, match='other options'):
        convert(source, target, CropOptions(size=32))
    write_voc_xml(source / 'Annotations/c.xml', 'c.png', (WIDTH, HEIGHT), [VOCObject('cat', RED_BOX)])
    with pytest.raises(DataError, match='other source_sha256'):
        convert(source, target, OPTIONS)
    assert files(target) == before
    (target / 'crops.json').write_text('[]')
    with pytest.raises(DataError, match='choose another folder'):
        convert(source, target, OPTIONS)
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/notes.txt').write_text('keep')
    with pytest.raises(DataError, match='is no set of crops'):
        convert(source, tmp_path / 'mine', OPTIONS)


def test_the_marker_does_not_name_machine_paths(source, tmp_path):
    convert(source, tmp_path / 'crops', OPTIONS)
    marker = (tmp_path / 'crops/crops.json').read_text()
    assert str(tmp_path) not in marker and json.loads(marker)['options']['size'] == 24


def test_an_image_in_two_splits_is_refused(tmp_path):
    images = {'a': [VOCObject('cat', RED_BOX)]}
    source = make_set(tmp_path / 'voc', {'train': images, 'val': images})
    with pytest.raises(DataError, match='image a is in the splits train and val'):
        convert(source, tmp_path / 'crops', OPTIONS)


@pytest.mark.parametrize('name', ['../up', 'a/b', '.hidden', '..'])
def test_a_class_name_that_is_no_folder_name_is_refused(tmp_path, name):
    source = make_set(tmp_path / 'voc', {'train': {'a': [VOCObject(name, RED_BOX)]}})
    with pytest.raises(DataError, match='cannot be the name of a folder'):
        convert(source, tmp_path / 'crops', OPTIONS)


def test_a_missing_annotation_is_named(source, tmp_path):
    (source / 'Annotations/c.xml').unlink()
    with pytest.raises(DataError, match=r'c\.xml'):
        convert(source, tmp_path / 'crops', OPTIONS)
    assert not (tmp_path / 'crops').exists()


@pytest.mark.parametrize('bad', [dict(size=0), dict(min_side=0), dict(context=0.9), dict(context=float('nan'))])
def test_options_are_checked(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        CropOptions(**bad)
