"""Upscaling files, the gallery, the int8 student: on a trained toy chain."""

import json
from pathlib import Path

from mmpd.chain.chain import read_chain
from mmpd.cli import command
from mmpd.errors import ConfigError
from mmpd.evaluation.measure import measure
from mmpd.run.stages import run_stages
from mmpd.sr.gallery import Crop, crops_of, finished_networks, worst_and_best
from mmpd.sr.model import to_uint8
from mmpd.sr.quantise import cpu_seconds, quantise, stored_bytes
from tests.sr.toys import build, toy_chain, toy_edsr, write_images

import cv2
import pytest
import torch
from mmengine.config import Config


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with chain.py and its finished stages in work/."""
    root = tmp_path_factory.mktemp('sr')
    config = toy_chain(root)
    config.custom_imports = dict(imports=['mmpd.sr.register'], allow_failed_imports=False)
    config.dump(root / 'chain.py')
    run_stages(read_chain(config), root / 'work', announce=False)
    return root


def sr(*argv: object) -> None:
    command('sr')([str(argument) for argument in argv])


def infer(*argv: object) -> int:
    return command('infer')([str(argument) for argument in argv])


def test_infer_upscales_files_and_folders_of_lr_images(trained: Path, tmp_path: Path, capsys):
    write_images(tmp_path / 'lr', [(21, 17), (40, 33)])
    (tmp_path / 'lr' / 'notes.txt').write_text('no image')
    student = trained / 'work' / 'student'
    assert infer(student, tmp_path / 'lr', '--out-dir', tmp_path / 'out', '--tile', 16, '--device', 'cpu') == 0
    assert sorted(path.name for path in (tmp_path / 'out').rglob('*.png')) == ['000.png', '001.png']
    assert '21×17 → 42×34' in capsys.readouterr().out
    net = finished_networks(Config.fromfile(trained / 'chain.py'), trained / 'work', ['student'])[0]
    image = cv2.imread(str(tmp_path / 'lr' / '001.png'))
    with torch.no_grad():
        whole = to_uint8(net(torch.from_numpy(image[:, :, ::-1].copy()).permute(2, 0, 1)[None] / 255)[0])
    written = torch.from_numpy(cv2.imread(str(next((tmp_path / 'out').rglob('001.png'))))).permute(2, 0, 1)
    assert (whole.int() - written.int()).abs().max() <= 1  # tiled, then rounded


def test_the_chain_with_weights_upscales_too(trained: Path, tmp_path: Path):
    write_images(tmp_path / 'lr', [(21, 17)])
    weights = trained / 'work' / 'teacher' / 'teacher_best.pth'
    infer(trained / 'chain.py', weights, tmp_path / 'lr', '--stage', 'teacher', '--out-dir', tmp_path / 'out')
    assert cv2.imread(str(next((tmp_path / 'out').rglob('000.png')))).shape == (34, 42, 3)


def test_options_of_detection_and_what_is_no_image_are_named(trained: Path, tmp_path: Path, capsys):
    student = trained / 'work' / 'student'
    write_images(tmp_path, [(20, 20)])
    with pytest.raises(ConfigError, match='--score is no option for SuperResolver'):
        infer(student, tmp_path / '000.png', '--score', 0.5, '--out-dir', tmp_path / 'out')
    (tmp_path / 'no.png').write_text('no image')
    assert infer(student, tmp_path / 'no.png', tmp_path / '000.png', '--out-dir', tmp_path / 'out') == 1
    assert 'no.png' in capsys.readouterr().err
    assert [path.name for path in (tmp_path / 'out').rglob('*.png')] == ['000.png']


def test_a_gallery_shows_where_the_student_gains_least_and_most(trained: Path, tmp_path: Path):
    out = tmp_path / 'gallery.png'
    sr('gallery', trained / 'chain.py', trained / 'work', trained / 'A', '--side', 16, '--rows', 2, '--out', out)
    assert cv2.imread(str(out)).std() > 10
    net = finished_networks(Config.fromfile(trained / 'chain.py'), trained / 'work', ['student'])[0]
    crops = crops_of(sorted((trained / 'A').iterdir()), [net], 2, 'bicubic', 16)
    # 33 × 31 cut to 32 × 30: two crops; 40 × 36: four
    assert len(crops) == 6 and all(image.shape == (3, 16, 16) for crop in crops for image in crop.images)
    gains = [[crop.gain for crop in crops if crop.image == image] for image in ('000', '001')]
    expected = [*sorted(map(min, gains)), *sorted(map(max, gains))]  # one crop of each image
    assert [crop.gain for crop in worst_and_best(crops, 2)] == expected
    assert len(worst_and_best(crops[:1], 2)) == 1


def test_flat_crops_say_nothing_whatever_their_colour():
    orange = torch.tensor([40, 150, 220], dtype=torch.uint8).view(3, 1, 1).expand(3, 4, 4)
    flat = Crop('flat 0,0', (orange,) * 3, (99.0, 70.0))
    noisy = torch.randint(0, 256, (3, 4, 4), dtype=torch.uint8)
    lively = Crop('lively 0,0', (noisy,) * 3, (20.0, 21.0))
    assert worst_and_best([flat, lively], 1) == [lively]


def test_an_unfinished_stage_is_named(trained: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match='stage student is not finished'):
        finished_networks(Config.fromfile(trained / 'chain.py'), tmp_path, ['student'])


def test_an_int8_student_is_smaller_and_near_the_float_one():
    torch.manual_seed(0)
    net = build(toy_edsr(16, 2, scale=2, bicubic_skip=True)).eval()
    images = [torch.rand(1, 3, 12, 12) for _ in range(4)]
    before = {key: value.clone() for key, value in net.state_dict().items()}
    int8 = quantise(net, images)
    assert any('quantized' in type(module).__module__ for module in int8.modules())
    with torch.no_grad():
        error = (int8(images[0]) - net(images[0])).abs()
    assert 0 < error.mean() < 0.01
    assert stored_bytes(int8) < stored_bytes(net)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert cpu_seconds(lambda: int8(images[0]), 1) > 0
    with pytest.raises(ConfigError, match='no calibration image'):
        quantise(net, [])


def test_time_is_measured_on_one_thread_whatever_the_session_has():
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        cpu_seconds(lambda: seen.append(torch.get_num_threads()), 1)
        assert seen == [1, 1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_quantising_a_finished_stage_reports_each_set(trained: Path, tmp_path: Path, capsys):
    sr('quantise', trained / 'chain.py', trained / 'work', '--patches', 4, '--out', tmp_path / 'rows.json')
    assert 'int8' in capsys.readouterr().out
    before, after = json.loads((tmp_path / 'rows.json').read_text())
    assert (before['label'], after['label']) == ('float32', 'int8')
    assert before['psnr'].keys() == after['psnr'].keys() and before['bytes'] != after['bytes']
    # the float row is the stage as it was measured at the end of its training
    measured = measure(
        Config.fromfile(trained / 'work' / 'student' / 'bench.py'), trained / 'work/student/student_best.pth'
    )
    assert before['psnr'] == pytest.approx({name: row['PSNR_Y'] for name, row in measured.per_class.items()})
