"""Many images: names that do not collide, bad files that do not stop a run, and formats that others read back."""

import csv
import json
from pathlib import Path

from mmpd.data.voc.annotation import read_voc_xml
from mmpd.errors import DataError
from mmpd.runtime.backends import GraphBackend
from mmpd.runtime.detector import Detector, Prediction
from mmpd.runtime.infer import infer
from mmpd.runtime.inputs import find_inputs, output_names, stream_names
from mmpd.runtime.outputs import FORMATS, draw
from tests.runtime.test_images import description

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO


class BrightSpots:
    """A network without weights: one box around what is brighter than 200, and one of low score."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, images):
        self.batches.append(len(images))
        found = []
        for image in images:
            y, x = np.nonzero(image[..., 0] > 200)
            box = [x.min(), y.min(), x.max() + 1, y.max() + 1]
            found.append((np.array([box, [0, 0, 5, 5]], np.float32), np.array([0.9, 0.1]), np.array([1, 0])))
        return found


@pytest.fixture
def detector() -> Detector:
    return Detector.of(description(classes=('cat', 'dog & co')), BrightSpots(), None)


def write(path: Path, box: tuple[int, int, int, int] = (10, 8, 30, 20), size: tuple[int, int] = (64, 48)) -> Path:
    image = np.full((size[1], size[0], 3), 90, np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 250
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def write_video(path: Path) -> None:
    """Four frames with a spot that moves by 8 pixels."""
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 5, (64, 48))
    for index in range(4):
        frame = np.full((48, 64, 3), 40, np.uint8)
        frame[10:20, 10 + 8 * index : 20 + 8 * index] = 255
        video.write(frame)
    video.release()


def test_equal_names_in_two_folders_do_not_write_over_each_other(detector, tmp_path) -> None:
    names = [write(tmp_path / f'{camera}/0001.png') for camera in ('cam1', 'cam2')]
    infer(detector, find_inputs(map(str, names)).items(), tmp_path / 'out')
    written = {path.relative_to(tmp_path / 'out').as_posix() for path in (tmp_path / 'out').rglob('*.*')}
    assert written == {'pictures/cam1/0001.png', 'pictures/cam2/0001.png'}


@pytest.mark.parametrize(
    ('files', 'names'),
    [
        (['a/1.jpg'], ['1']),
        (['a/1.jpg', 'a/2.jpg'], ['1', '2']),
        (['a/1.jpg', 'a/1.png'], ['1.jpg', '1.png']),
        (['a/1.jpg', 'a/b/1.jpg', 'c/1.jpg'], ['a/1', 'a/b/1', 'c/1']),
        (['A/x.jpg', 'a/X.png'], ['A/x.jpg', 'a/X.png']),
    ],
)
def test_output_names_are_short_and_unique(files, names) -> None:
    assert list(output_names(map(Path, files)).values()) == names


def test_streams_have_names_of_their_own() -> None:
    assert stream_names(['x/a.mp4', 'y/A.mp4', 'z/a_1.mp4', 'camera:0']) == ['a', 'A_1', 'a_1_1', 'camera_0']
    assert stream_names(['x/a.mp4', 'b.mp4'], ['a', 'a_1']) == ['a_2', 'b']


def test_a_video_and_a_folder_of_one_name_do_not_write_over_each_other(tmp_path) -> None:
    files = [write(tmp_path / name) for name in ('clip/000001.png', 'other.png')]
    write_video(tmp_path / 'clip.avi')
    names = [item.name for item in find_inputs(map(str, [*files, tmp_path / 'clip.avi'])).items(1)]
    assert names == ['clip/000001', 'other', 'clip_1/000001']


def test_a_bad_image_is_named_skipped_and_counted(detector, tmp_path) -> None:
    good = [write(tmp_path / f'{i}.png') for i in range(5)]
    (tmp_path / '1a.png').write_text('no image')
    told = []
    summary = infer(
        detector, find_inputs([str(tmp_path)]).items(), tmp_path / 'out', batch=2, tell=lambda *args: told.append(args)
    )
    assert (summary.images, summary.boxes, len(summary.skipped)) == (5, 5, 1)
    assert '1a.png' in summary.skipped[0]
    assert sorted(detector.backend.batches) == [1, 2, 2]
    assert [Path(item.file).name for item, problem in told if problem] == ['1a.png']
    assert sorted(Path(item.file) for item, problem in told if not problem) == good


class OneSize(GraphBackend):
    """An exported file that takes one size and finds nothing."""

    fixed = (48, 64)

    def run(self, batch, sizes):
        return np.zeros((1, 1, 4)), -np.ones((1, 1)), np.zeros((1, 1), int)


def test_images_of_impossible_sizes_are_named_and_skipped(tmp_path) -> None:
    """One too thin for any network, one that lies the other way than an exported file of one size."""
    for name, size in (('a', (64, 48)), ('thin', (1000, 1)), ('upright', (48, 64)), ('z', (64, 48))):
        write(tmp_path / f'in/{name}.png', size=size)
    one_size = Detector.of(description(), OneSize(), None)
    inputs = find_inputs([str(tmp_path / 'in')])
    summary = infer(one_size, inputs.items(), tmp_path / 'out', ['coco'])
    assert [
        Path(image['file_name']).stem for image in json.loads((tmp_path / 'out/coco.json').read_text())['images']
    ] == ['a', 'z']
    assert summary.images == 2 and len(summary.skipped) == 2
    for problem, words in zip(summary.skipped, (('thin.png', '1000×1'), ('upright.png', '48×64')), strict=True):
        assert all(word in problem for word in words)
    assert [Path(file).stem for file in one_size.that_fit([file for file in inputs.files if file.stem != 'thin'])] == [
        'a',
        'z',
    ]


def test_inputs_of_every_kind(tmp_path) -> None:
    for name in ('a/1.png', 'a/b/2.PNG', 'c/3.jpg'):
        write(tmp_path / name)
    (tmp_path / 'a/notes.txt').write_text('')
    (tmp_path / 'empty').mkdir()
    found = find_inputs([str(tmp_path / 'a'), str(tmp_path / 'c/*.jpg'), '-'], [f'{tmp_path}/a/1.png\n', '\n'])
    assert [path.name for path in found.files] == ['1.png', '2.PNG', '3.jpg']  # the one twice named is taken once
    nothing = find_inputs([str(tmp_path / 'empty'), str(tmp_path / 'gone.jpg'), str(tmp_path / '*.tif')])
    assert not nothing.files and len(nothing.problems) == 3
    for problem, word in zip(nothing.problems, ('empty', 'gone.jpg', '*.tif'), strict=True):
        assert word in problem


def test_frames_of_a_video(detector, tmp_path) -> None:
    write_video(tmp_path / 'clip.avi')
    summary = infer(detector, find_inputs([str(tmp_path / 'clip.avi')]).items(3), tmp_path / 'out', ['csv', 'voc'])
    assert summary.images == 3
    rows = list(csv.DictReader((tmp_path / 'out/boxes.csv').read_text().splitlines()))
    np.testing.assert_allclose([float(row['x1']) for row in rows], [10, 18, 26], atol=2)  # the codec is lossy
    assert (tmp_path / 'out/voc/clip/000003.xml').is_file()
    (tmp_path / 'broken.mp4').write_text('no video')
    with pytest.raises(DataError, match=r'broken\.mp4'):
        list(find_inputs([str(tmp_path / 'broken.mp4')]).items())


def test_every_format_is_read_back_as_what_was_found(detector, tmp_path) -> None:
    """An HR image of twice the size: boxes are in its pixels, whatever the network saw."""
    write(tmp_path / 'in/one.png', (20, 16, 60, 40), (128, 96))
    write(tmp_path / 'in/two.png', (4, 4, 20, 20), (64, 48))
    out = tmp_path / 'out'
    summary = infer(detector, find_inputs([str(tmp_path / 'in')]).items(), out, list(FORMATS), score=0.5)
    assert (summary.images, summary.boxes, summary.hr) == (2, 2, 1)
    expected = {'one': [20, 16, 60, 40], 'two': [4, 4, 20, 20]}

    coco = COCO.__new__(COCO)
    coco.__init__(str(out / 'coco.json'))
    for image in coco.dataset['images']:
        (annotation,) = coco.loadAnns(coco.getAnnIds(image['id']))
        x, y, w, h = annotation['bbox']
        assert [x, y, x + w, y + h] == expected[Path(image['file_name']).stem]
        assert coco.loadCats(annotation['category_id'])[0]['name'] == 'dog & co'
        assert annotation['score'] == 0.9

    rows = {Path(row['image']).stem: row for row in csv.DictReader((out / 'boxes.csv').read_text().splitlines())}
    classes = (out / 'yolo/classes.txt').read_text().splitlines()
    for name, box in expected.items():
        annotation = read_voc_xml(out / f'voc/{name}.xml')
        (thing,) = annotation.objects
        assert thing.name == 'dog & co' and list(thing.box) == [box[0] + 1, box[1] + 1, box[2], box[3]]
        assert [float(rows[name][key]) for key in ('x1', 'y1', 'x2', 'y2')] == box

        label, cx, cy, w, h, score = map(float, (out / f'yolo/{name}.txt').read_text().split())
        width, height = annotation.size
        corners = [(cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height]
        np.testing.assert_allclose(corners, box, atol=0.01)
        assert classes[int(label)] == 'dog & co' and score == 0.9

        picture = cv2.imread(str(out / f'pictures/{name}.png'))
        zoom = picture.shape[0] / height
        inside = picture[int(box[3] * zoom) - 8, int(box[2] * zoom) - 8]
        edge = picture[int(box[3] * zoom), int((box[0] + box[2]) / 2 * zoom)]
        assert (inside == 250).all() and not (edge == 250).all()


def test_least_score(detector, tmp_path) -> None:
    file = write(tmp_path / 'a.png')
    counts = [
        infer(detector, find_inputs([str(file)]).items(), tmp_path / 'out', [], score).boxes for score in (None, 0.05)
    ]
    assert counts == [1, 2]  # 0.3 is the description's


def test_boxes_end_where_the_file_ends(tmp_path) -> None:
    """321×241 HR pixels are padded to 324×244 at ratio 4: a box there is cut, one in the padding alone is none."""

    class Everything:
        def __call__(self, images):
            boxes = [[0, 0, images[0].shape[1], images[0].shape[0]], [80.5, 0, 81, 61]]
            return [(np.array(boxes, np.float32), np.array([0.9, 0.9]), np.array([0, 0]))]

    hr = description(size=(81, 61), hr_size=(321, 241), ratio='4')
    detector = Detector.of(hr, Everything(), None, 'hr')
    assert detector([np.zeros((241, 321, 3), np.uint8)])[0].boxes[0].tolist() == [0, 0, 324, 244]  # measured as it is
    inputs = find_inputs([str(write(tmp_path / 'a.png', size=(321, 241)))])
    assert infer(detector, inputs.items(), tmp_path, list(FORMATS)).boxes == 1
    (annotation,) = json.loads((tmp_path / 'coco.json').read_text())['annotations']
    assert annotation['bbox'] == [0, 0, 321, 241]
    assert read_voc_xml(tmp_path / 'voc/a.xml').objects[0].box == (1, 1, 321, 241)
    assert (tmp_path / 'yolo/a.txt').read_text() == '0 0.500000 0.500000 1.000000 1.000000 0.900000\n'


def test_a_picture_that_cannot_be_written_is_an_error(detector, tmp_path) -> None:
    """cv2.imwrite only returns False on a full disk."""
    pictures = tmp_path / 'out/pictures'
    pictures.mkdir(parents=True)
    (pictures / 'a.png').symlink_to('/dev/full')
    with pytest.raises(DataError, match=r'a\.png could not be written: No space left on device'):
        infer(detector, find_inputs([str(write(tmp_path / 'a.png'))]).items(), tmp_path / 'out')


def test_json_names_are_text(tmp_path) -> None:
    detector = Detector.of(description(classes=('Katze', 'Hündin')), BrightSpots(), None)
    infer(detector, find_inputs([str(write(tmp_path / 'ä.png'))]).items(), tmp_path, ['coco'])
    assert json.loads((tmp_path / 'coco.json').read_text())['categories'][1]['name'] == 'Hündin'


def test_a_label_at_the_right_edge_is_whole() -> None:
    boxes = np.array([[100, 100, 110, 150], [628, 100, 638, 150]], np.float32)
    drawn = [
        draw(np.zeros((480, 640, 3), np.uint8), Prediction(None, box[None], np.array([0.9]), np.array([0])))
        for box in boxes
    ]
    inside, edge = (picture[80:97].any(axis=(0, 2)).sum() for picture in drawn)  # columns of the label above the box
    assert edge == inside > 20
