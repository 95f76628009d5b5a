"""What an image decodes to, read from its header: cv2 is asked in every case. Broken files: test_bad_input.py."""

from mmpd.data.image_header import find_image, read_image_header, to_displayed
from mmpd.errors import DataError

import cv2
import numpy as np
import pytest
from PIL import Image


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp'])
def test_the_size_is_what_cv2_decodes_and_boxes_turn_with_the_image(tmp_path, orientation, suffix):
    """A white object in the stored frame; where it is in the decoded one is read off the pixels."""
    stored = np.zeros((20, 40, 3), np.uint8)
    stored[2:10, 24:32] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f'a{suffix}'
    Image.fromarray(stored).save(path, exif=exif, **(dict(quality=100) if suffix == '.jpg' else {}))
    decoded = cv2.imread(str(path))
    header = read_image_header(path)
    assert header.size == (decoded.shape[1], decoded.shape[0]) and header.stored_size == (40, 20)
    assert header.orientation == (1 if suffix == '.webp' else orientation)  # cv2 turns no WebP
    if header.orientation >= 5 and decoded.shape[0] == 40:
        rows, columns = np.nonzero(decoded[..., 0] > 128)
        found = (columns.min(), rows.min(), columns.max(), rows.max())
        assert to_displayed((24, 2, 31, 9), header) == pytest.approx(found)


def test_the_first_known_extension_is_taken_and_none_is_named(tmp_path):
    for name in ('a.png', 'a.JPG', 'b.gif'):
        (tmp_path / name).touch()
    assert find_image(tmp_path, 'a').name == 'a.png'
    with pytest.raises(DataError, match=r'b\.jpg does not exist \(nor with \.jpeg'):
        find_image(tmp_path, 'b')
