"""Every kind of bad image, annotation and split: a clear error before training, or a counted and logged change.

Config and checkpoint cases are with the code that reads them.
"""

import io
import struct
import zlib

from mmpd.data.voc.annotation import VOCAnnotation, VOCObject, read_voc_xml
from mmpd.errors import DataError
from tests.data.voc_folder import HEIGHT, WIDTH, draw

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.transforms import LoadImageFromFile
from PIL import Image

GOOD_XML = (
    '<annotation><size><width>40</width><height>20</height></size><object><name>cat</name><difficult>0</difficult>'
    '<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>15</xmax><ymax>12</ymax></bndbox></object></annotation>'
)


def encode(mode='RGB', file_format='JPEG', size=(WIDTH, HEIGHT), **save) -> bytes:
    buffer = io.BytesIO()
    pixels = Image.open(io.BytesIO(draw(*size, suffix='.png'))).convert('RGB')
    if mode == 'I;16':
        converted = Image.fromarray(np.asarray(pixels.convert('L')).astype(np.uint16) * 257)
    else:
        converted = pixels.convert(mode)
    converted.save(buffer, file_format, **save)
    return buffer.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def png_claiming(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels: what a decompression bomb looks like to a header check."""
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    chunks = ((b'IHDR', header), (b'IDAT', zlib.compress(b'')), (b'IEND', b''))
    parts = (
        struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body)) for kind, body in chunks
    )
    return b'\x89PNG\r\n\x1a\n' + b''.join(parts)


# --- images -----------------------------------------------------------------------------------------------------------

REFUSED_IMAGES = {
    'missing': (None, r'a.jpg does not exist'),
    'zero bytes': (b'', r'a.jpg is empty \(0 bytes\)'),
    'truncated JPEG': (draw(400, 400)[:-3000], 'cut off or damaged'),
    'truncated PNG': (draw(400, 400, '.png')[:-3000], 'cut off or damaged'),
    'text': (b'not an image', 'is no readable image'),
    '1 x 1': (encode(size=(1, 1)), '1 × 1 pixels; at least 8'),
    '20000 x 20': (draw(20000, 20), '20000 × 20 pixels.*at most 100:1'),
    '20000 x 20000': (png_claiming(20000, 20000), 'too large to decode safely'),
}


@pytest.mark.parametrize(('image', 'message'), REFUSED_IMAGES.values(), ids=REFUSED_IMAGES)
def test_refused_image(voc, image, message):
    voc.add('a')
    if image is None:
        voc.image_path('a').unlink()
    else:
        voc.image_path('a').write_bytes(image)
    with pytest.raises(DataError, match=message):
        voc.load()


READ_IMAGES = {
    'grayscale JPEG': (encode('L'), ''),
    'CMYK JPEG': (encode('CMYK'), ''),
    'RGBA PNG': (encode('RGBA', 'PNG'), ''),
    'palette PNG': (encode('P', 'PNG'), ''),
    '16-bit PNG': (encode('I;16', 'PNG'), '16-bit image, read as 8-bit'),
    'PNG named .jpg': (encode('RGB', 'PNG'), ''),
    'bytes after the end': (draw() + b'\0' * 100, ''),
    'EXIF, mirrored': (encode(exif=exif(2)), 'turned by EXIF orientation'),
    'EXIF, upside down': (encode(exif=exif(3)), 'turned by EXIF orientation'),
}


@pytest.mark.parametrize(('image', 'change'), READ_IMAGES.values(), ids=READ_IMAGES)
def test_unusual_image_becomes_three_channels(voc, image, change):
    voc.add('a', image=image)
    dataset = voc.load()
    info = dataset.get_data_info(0)
    pixels = LoadImageFromFile()(info)['img']
    assert pixels.dtype == np.uint8 and pixels.shape == (info['height'], info['width'], 3) == (HEIGHT, WIDTH, 3)
    assert pixels.std() > 20
    assert dataset.report.changed == ({change: ['a']} if change else {})


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('frame', ['displayed', 'stored'])
def test_boxes_stay_on_an_exif_turned_object(voc, orientation, frame):
    """A white object at columns 20–29, rows 4–7 of the stored pixels, annotated by a tool that applies EXIF or not."""
    stored = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stored[4:8, 20:30] = 255
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, 'PNG', exif=exif(orientation))
    voc.add('a', image=buffer.getvalue())
    voc.load()
    shown = LoadImageFromFile()({'img_path': str(voc.image_path('a'))})['img'][..., 0]
    marked = shown if frame == 'displayed' or orientation < 5 else stored[..., 0]
    rows, columns = np.flatnonzero(marked.any(1)) + 1, np.flatnonzero(marked.any(0)) + 1
    box = tuple(map(float, (columns[0], rows[0], columns[-1], rows[-1])))

    voc.ids.clear()
    voc.add('a', image=buffer.getvalue(), objects=[VOCObject('cat', box)], size=marked.shape[::-1])
    info = voc.load().get_data_info(0)
    x1, y1, x2, y2 = map(int, info['instances'][0]['bbox'])
    assert (info['height'], info['width']) == shown.shape
    assert shown[y1 : y2 + 1, x1 : x2 + 1].all() and shown.sum() == 255 * (y2 + 1 - y1) * (x2 + 1 - x1)


@pytest.mark.parametrize('extension', ['.png', '.jpeg', '.JPG'])
def test_image_with_another_extension_is_found(voc, extension):
    voc.add('a')
    voc.image_path('a').rename(voc.image_path('a').with_suffix(extension))
    assert voc.load().get_data_info(0)['img_path'].endswith(f'a{extension}')


def test_image_that_breaks_after_the_check_is_named_when_it_is_decoded(voc):
    voc.add('a', image=draw(400, 400), size=(400, 400))
    dataset = voc.load(pipeline=[{'type': 'LoadImageFromFile'}])
    voc.image_path('a').write_bytes(draw(400, 400)[:2000])
    with pytest.raises(AssertionError, match=r'a\.jpg'):
        dataset[0]


# --- annotations ------------------------------------------------------------------------------------------------------

BOMB = (
    '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'
    '<annotation><object><name>&c;</name></object></annotation>'
)
EXTERNAL = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><annotation><folder>&x;</folder></annotation>'
REFUSED_XML = {
    'not well-formed': (GOOD_XML[:-20], 'a.xml is not well-formed XML'),
    'zero bytes': ('', 'a.xml is not well-formed XML'),
    'entity bomb': (BOMB, 'a.xml is refused, it declares XML entities'),
    'external entity': (EXTERNAL, 'a.xml is refused, it declares XML entities'),
    'another root': ('<html></html>', 'its root is <html>, not <annotation>'),
    'unknown encoding': ('<?xml version="1.0" encoding="nope"?>' + GOOD_XML, 'a.xml is not well-formed XML'),
    'unknown class': (GOOD_XML.replace('cat', 'catt'), r"class 'catt' is not one of \['cat', 'dog'\].*unknown_classes"),
    'object without name': (GOOD_XML.replace('<name>cat</name>', ''), '<object> without <name>'),
    'empty name': (GOOD_XML.replace('cat', ' '), '<object> without <name>'),
    'object without box': (GOOD_XML.replace('bndbox', 'polygon'), "class 'cat' has no <bndbox>"),
    'box without xmax': (GOOD_XML.replace('xmax', 'right'), '<bndbox> without <xmax>'),
    'NaN': (GOOD_XML.replace('<xmin>5', '<xmin>nan'), "<xmin> is 'nan', which is no finite number"),
    'infinity': (GOOD_XML.replace('<ymax>12', '<ymax>1e999'), "<ymax> is '1e999', which is no finite number"),
    'words for numbers': (GOOD_XML.replace('<xmin>5', '<xmin>five'), "<xmin> is 'five', which is no finite number"),
    'size in words': (GOOD_XML.replace('<width>40', '<width>wide'), "<width> is 'wide'"),
}


@pytest.mark.parametrize(('xml', 'message'), REFUSED_XML.values(), ids=REFUSED_XML)
def test_refused_annotation(voc, xml, message):
    voc.add('a', xml=xml)
    with pytest.raises(DataError, match=message):
        voc.load()


def test_missing_annotation_is_named(voc):
    voc.add('a')
    voc.xml_path('a').unlink()
    with pytest.raises(DataError, match=r'a\.xml cannot be read: No such file'):
        voc.load()


def box_xml(xmin, ymin, xmax, ymax, name='cat', difficult=0):
    box = f'<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>'
    return f'<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{box}</bndbox></object>'


# What is added to a good annotation, the boxes then kept (mmdet's coordinates), and the count of dropped or changed.
COUNTED_BOXES = {
    'zero area': (box_xml(5, 5, 5, 5), [], {'boxes of zero area': ['a']}, {}),
    'zero width': (box_xml(5, 5, 5, 9), [], {'boxes of zero area': ['a']}, {}),
    'outside': (box_xml(50, 5, 60, 9), [], {'boxes outside the image': ['a']}, {}),
    'partly outside': (box_xml(31, 11, 60, 90), [[30, 10, 40, 20]], {}, {'boxes clipped to the image': ['a']}),
    'reversed': (box_xml(15, 12, 5, 5), [[4, 4, 14, 11]], {}, {'reversed corners put in order': ['a']}),
    '0-based': (box_xml(0, 0, 9, 9), [[0, 0, 8, 8]], {}, {}),
    'fractions': (box_xml('5.5', ' 5.25 ', '9.0', '1.2e1'), [[4.5, 4.25, 8, 11]], {}, {}),
}


@pytest.mark.parametrize(('extra', 'kept', 'dropped', 'changed'), COUNTED_BOXES.values(), ids=COUNTED_BOXES)
def test_counted_box(voc, extra, kept, dropped, changed):
    voc.add('a', xml=GOOD_XML.replace('</annotation>', extra + '</annotation>'))
    dataset = voc.load()
    assert [item['bbox'] for item in dataset.get_data_info(0)['instances']] == [[4, 4, 14, 11], *kept]
    assert (dataset.report.dropped, dataset.report.changed) == (dropped, changed)
    assert all(reason in dataset.report.summary() for reason in (*dropped, *changed))


def test_unknown_classes_can_be_left_out_and_are_counted(voc):
    voc.add('a', xml=GOOD_XML.replace('</annotation>', box_xml(1, 1, 9, 9, 'cow') * 2 + '</annotation>'))
    dataset = voc.load(unknown_classes='skip')
    assert dataset.report.dropped == {'of unknown class cow': ['a', 'a']} and dataset.report.boxes == 1


SIZES = {
    'no size': (GOOD_XML.replace('size>', 'area>'), {}),
    'size 0 x 0': (GOOD_XML.replace('>40<', '>0<').replace('>20<', '>0<'), {}),
    'fractional size': (GOOD_XML.replace('>40<', '>40.0<'), {}),
    'size that disagrees': (
        GOOD_XML.replace('>40<', '>640<'),
        {'size in the XML is not that of the image, which is used': ['a']},
    ),
}


@pytest.mark.parametrize(('xml', 'changed'), SIZES.values(), ids=SIZES)
def test_the_size_of_the_image_counts(voc, xml, changed):
    voc.add('a', xml=xml)
    dataset = voc.load()
    info = dataset.get_data_info(0)
    assert (info['width'], info['height']) == (WIDTH, HEIGHT) and dataset.report.changed == changed


def test_all_difficult_counts_as_empty_when_empty_images_are_filtered(voc):
    voc.add('a')
    voc.add('b', objects=[VOCObject('cat', (2, 2, 9, 9), difficult=True)])
    assert len(voc.load()) == 2
    dataset = voc.load(filter_cfg={'filter_empty_gt': True})
    assert len(dataset) == 1 and dataset.report.dropped == {'images with difficult objects only': ['b']}


@pytest.mark.parametrize('test_mode', [False, True])
def test_split_without_one_object_to_find(voc, test_mode):
    voc.add('a', objects=[])
    voc.add('b', objects=[VOCObject('cat', (2, 2, 9, 9), difficult=True)])
    with pytest.raises(DataError, match='no object is left to train on or to find'):
        voc.load(test_mode=test_mode)


# --- splits -----------------------------------------------------------------------------------------------------------

REFUSED_SPLITS = {
    'empty': ('', 'ann_file.*names no image'),
    'blank lines only': ('\n \r\n\t\n', 'ann_file.*names no image'),
    'absent id': ('a\nzebra\n', 'zebra.jpg does not exist'),
    'an id twice': ('a\nb\na\n', 'ann_file.*names images twice: a$'),
    'a class in no image': ('a -1\nb -1\n', 'ann_file.*names no image'),
    'flags here and there': ('a  1\nb\n', 'a  1.jpg does not exist'),
    'an id with and without extension': ('a\na.jpg\n', 'ann_file.*names images twice: a$'),
    'not text': (b'\xff\xfe\x00a', 'ann_file.*not UTF-8 text'),
}


@pytest.mark.parametrize(('split', 'message'), REFUSED_SPLITS.values(), ids=REFUSED_SPLITS)
def test_refused_split(voc, split, message):
    voc.add('a')
    voc.add('b')
    with pytest.raises(DataError, match=message):
        voc.load(split)


def test_missing_split_names_the_key(voc):
    with pytest.raises(DataError, match=r'train.txt \(config key `ann_file`\) cannot be read: No such file'):
        voc.build()


def test_split_that_is_a_folder(voc):
    voc.split_path.mkdir()
    with pytest.raises(DataError, match=r'train.txt \(config key `ann_file`\) cannot be read: Is a directory'):
        voc.build()


READ_SPLITS = {
    'CRLF': 'a\r\nb\r\n',
    'trailing blanks': 'a  \nb\t\n',
    'blank lines': '\na\n\n\nb\n\n',
    'no newline at the end': 'a\nb',
    'byte order mark': '\ufeffa\nb\n',
    'image extensions': 'a.jpg\nb.JPEG\n',
    'a class split': 'a  1\nb  0\n',
}


@pytest.mark.parametrize('split', READ_SPLITS.values(), ids=READ_SPLITS)
def test_split_that_is_read(voc, split):
    voc.add('a')
    voc.add('b')
    dataset = voc.load(split)
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == ['a', 'b']


def test_a_class_split_leaves_out_images_without_the_class_and_counts_them(voc):
    for image_id in 'abc':
        voc.add(image_id)
    dataset = voc.load('a  1\nb -1\nc.jpg  0\n')
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == ['a', 'c']
    assert dataset.report.dropped == {'images without the class of the split file (-1)': ['b']}


def test_problems_are_shown_together_up_to_ten(voc):
    for index in range(15):
        voc.add(f'image{index}', xml='<annotation>')
    with pytest.raises(DataError) as caught:
        voc.load()
    assert str(caught.value).count('not well-formed') == 10 and 'the rest was not checked' in str(caught.value)


# --- bounded fuzz -----------------------------------------------------------------------------------------------------

EDITS = st.lists(st.tuples(st.integers(0, len(GOOD_XML) - 1), st.binary(max_size=3)), max_size=6)


@settings(deadline=None)
@given(edits=EDITS)
def test_mutated_xml_is_read_or_refused(tmp_path_factory, edits):
    content = bytearray(GOOD_XML.encode())
    for position, replacement in edits:
        content[position : position + 1] = replacement
    path = tmp_path_factory.mktemp('fuzz') / 'a.xml'
    path.write_bytes(bytes(content))
    try:
        annotation = read_voc_xml(path)
    except DataError as error:
        assert 'a.xml' in str(error)
    else:
        assert isinstance(annotation, VOCAnnotation)
        assert all(np.isfinite(item.box).all() and item.name for item in annotation.objects)


@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused_as_annotation(tmp_path_factory, content):
    path = tmp_path_factory.mktemp('fuzz') / 'a.xml'
    path.write_bytes(content)
    with pytest.raises(DataError, match=r'a\.xml'):
        read_voc_xml(path)
