"""PDVOCDataset on good input; what is bad is in test_bad_input.py."""

from mmpd.data.voc.annotation import VOCObject, read_voc_xml, write_voc_xml
from mmpd.data.voc.dataset import PDVOCDataset, fit_box
from mmpd.errors import ConfigError
from tests.data.voc_folder import draw

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st


def instances(dataset, index=0):
    return dataset.get_data_info(index)['instances']


def test_boxes_follow_mmdet_and_keep_fractions(voc):
    from mmdet.datasets import VOCDataset

    voc.add('a', objects=[VOCObject('cat', (3, 4, 20, 11)), VOCObject('dog', (1, 1, 40, 20), difficult=True)])
    ours = voc.load()
    theirs = VOCDataset(
        data_root=str(voc.root),
        ann_file='ImageSets/Main/train.txt',
        data_prefix={'sub_data_root': ''},
        metainfo={'classes': ('cat', 'dog')},
        pipeline=[],
    )
    assert instances(ours) == instances(theirs)
    assert [item['ignore_flag'] for item in instances(ours)] == [0, 1]

    voc.add('b', objects=[VOCObject('cat', (3.5, 4.25, 20.5, 11))])  # mmdet would cut these to integers
    assert instances(voc.load(), 1)[0]['bbox'] == [2.5, 3.25, 19.5, 10]


def test_the_twenty_voc_classes_are_the_default(voc):
    voc.add('a', objects=[VOCObject('tvmonitor', (3, 4, 20, 11))])
    assert instances(voc.load(metainfo=None))[0]['bbox_label'] == 19


def test_report_counts_what_a_split_holds(voc):
    voc.add('a', objects=[VOCObject('cat', (3, 4, 20, 11)), VOCObject('dog', (3, 4, 9, 11), difficult=True)])
    voc.add('b', objects=[])
    report = voc.load().report
    assert (report.images, report.boxes, report.difficult, report.negatives) == (2, 1, 1, 1)
    assert '2 images, 1 boxes, 1 difficult, 1 images without a box' in report.summary()


def test_negatives_are_kept_unless_filtered_and_never_dropped_in_a_test(voc):
    voc.add('a')
    voc.add('b', objects=[])
    assert len(voc.load()) == 2
    filtered = voc.load(filter_cfg={'filter_empty_gt': True})
    assert len(filtered) == 1 and filtered.report.dropped == {'images without an object': ['b']}
    assert len(voc.load(filter_cfg={'filter_empty_gt': True}, test_mode=True)) == 2


def test_images_smaller_than_min_size_are_dropped_and_counted(voc):
    voc.add('a')
    voc.add('b', image=draw(10, 10), size=(10, 10), objects=[VOCObject('cat', (2, 2, 8, 8))])

    assert len(voc.load(filter_cfg={'min_size': 15})) == 1


def test_the_pipeline_gets_pixels_that_fit_the_recorded_size(voc):
    voc.add('a')
    pipeline = [
        {'type': 'LoadImageFromFile'},
        {'type': 'LoadAnnotations', 'with_bbox': True},
        {'type': 'mmdet.PackDetInputs'},
    ]
    sample = voc.load(pipeline=pipeline)[0]
    assert sample['inputs'].shape == (3, 20, 40)
    np.testing.assert_allclose(sample['data_samples'].gt_instances.bboxes.numpy(), [[4, 4, 14, 11]])


@pytest.mark.parametrize(
    ('classes', 'message'),
    [('cat', "the string 'cat'"), (('cat', 'cat'), 'twice'), ((), 'tuple of class names'), ((1, 2), 'tuple of class')],
)
def test_classes_that_cannot_work(voc, classes, message):
    voc.add('a')
    with pytest.raises(ConfigError, match=message):
        voc.load(metainfo={'classes': classes})


def test_unknown_classes_takes_two_values(voc):
    voc.add('a')
    with pytest.raises(ConfigError, match="unknown_classes is 'ignore'"):
        voc.load(unknown_classes='ignore')


def test_sub_data_root_defaults_to_data_root(voc):
    voc.add('a')
    voc.load()
    dataset = PDVOCDataset(
        data_root=str(voc.root), ann_file='ImageSets/Main/train.txt', metainfo={'classes': ('cat',)}, pipeline=[]
    )
    assert len(dataset) == 1


NAMES = st.text(st.characters(categories=('L', 'N', 'P', 'S')), min_size=1, max_size=20)
CORNERS = st.floats(allow_nan=False, allow_infinity=False)
OBJECTS = st.lists(st.builds(VOCObject, NAMES, st.tuples(CORNERS, CORNERS, CORNERS, CORNERS), st.booleans()))


@given(objects=OBJECTS, size=st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)))
def test_what_is_written_is_read_back(tmp_path_factory, objects, size):
    path = tmp_path_factory.mktemp('xml') / 'a.xml'
    write_voc_xml(path, 'a.jpg', size, objects)
    annotation = read_voc_xml(path)
    assert annotation.size == size and list(annotation.objects) == objects


@given(box=st.tuples(*[st.floats(-100, 200)] * 4), size=st.tuples(st.integers(8, 100), st.integers(8, 100)))
def test_a_fitted_box_has_an_area_inside_the_image(box, size):
    fitted, reason, _ = fit_box(box, size)
    if fitted is None:
        assert reason
    else:
        x1, y1, x2, y2 = fitted
        assert 0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1] and not reason
