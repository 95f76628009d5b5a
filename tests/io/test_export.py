"""The exported file finds what stock mmdet finds, or there is no file."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

from mmpd.chain.chain import read_chain
from mmpd.data.voc.annotation import VOCObject, write_voc_xml
from mmpd.errors import CheckpointError, ConfigError, DataError
from mmpd.evaluation.deployed import measure_detector
from mmpd.evaluation.measure import measure, network_of
from mmpd.evaluation.predict import Predictor
from mmpd.io import export as export_module
from mmpd.io.deploy_folder import find_source, read_pipeline
from mmpd.io.export import export
from mmpd.io.onnx_graph import DetectorGraph
from mmpd.io.quantise import training_images
from mmpd.runtime import Detector
from mmpd.runtime.backends import OpenVinoBackend
from tests.io.stage_folder import write_stage
from tests.toy_families import toy_family
from tests.toys import CLASSES, build_model, toy_chain, toy_retinanet

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

FAMILIES = [f'pd_voc{name}' for name in ('', '_fcos', '_atss', '_gfl', '_rtmdet', '_faster_rcnn', '_fsr')]
NO_TORCH = """
import sys
for name in ('torch', 'torchvision', 'mmdet', 'mmengine', 'mmcv'):
    sys.modules[name] = None  # an import of it raises ImportError
import json
from mmpd.runtime import Detector
found = Detector(sys.argv[1], source='hr')(sys.argv[2:])
print('RESULT', json.dumps([dict(boxes=one.boxes.tolist(), scores=one.scores.tolist(), labels=one.labels.tolist())
                            for one in found]))
"""


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """(stage folder, what its export returned, an HR image); simplified, as a user gets it, for both runtimes."""
    pytest.importorskip('openvino')
    root = tmp_path_factory.mktemp('export')
    stage = write_stage(read_chain(toy_chain(root)), root)
    return stage, export(find_source(stage), stage / 'deploy', openvino=True), root / 'voc/JPEGImages/test_0.png'


@pytest.mark.parametrize('family', FAMILIES)
def test_every_family_finds_in_onnx_what_it_finds_in_pytorch(family, tmp_path) -> None:
    """`export` compares with the bench pipeline in mmdet itself; here its file must exist and have found enough."""
    stage = write_stage(toy_family(family, tmp_path), tmp_path)
    result = export(find_source(stage), tmp_path / 'out', simplify=False)
    assert result.onnx.is_file() and result.agreement.holds and result.batch.holds
    assert result.agreement.detections > 3 and result.agreement.images == 2


def test_a_backbone_that_fixes_its_size_needs_fixed(tmp_path) -> None:
    stage = write_stage(toy_family('pd_voc_swin', tmp_path), tmp_path)
    with pytest.raises(CheckpointError, match='--fixed'):
        export(find_source(stage), tmp_path / 'out', simplify=False)
    assert not list((tmp_path / 'out').glob('*onnx*'))
    result = export(find_source(stage), tmp_path / 'out', fixed=True, simplify=False)
    assert result.agreement.holds and Detector(result.folder).backend.fixed == (32, 32)


def test_a_student_of_a_second_camera_is_compared_and_measured_on_its_files(tmp_path) -> None:
    """The runtime reduced the HR files, which are other pixels, so there was no export."""
    config = toy_chain(tmp_path, **{'data.lr_prefix': '../LR'})
    (tmp_path / 'voc/LR').mkdir()
    for file in (tmp_path / 'voc/JPEGImages').iterdir():
        brighter = cv2.add(cv2.resize(cv2.imread(str(file)), (32, 24), interpolation=cv2.INTER_AREA), (9, 9, 9, 0))
        cv2.imwrite(str(tmp_path / 'voc/LR' / file.name), brighter)
    stage = write_stage(read_chain(config), tmp_path)
    source = dataclasses.replace(find_source(stage), train=config.data.train)
    assert all('/LR/' in file for file in (*export_module.test_images(source), *training_images(source)))
    result = export(source, tmp_path / 'out', simplify=False)
    assert result.agreement.holds and result.agreement.images == 2
    bench = Config.fromfile(stage / 'bench.py')
    predict = Predictor(network_of(bench), stage / 'student_best.pth')
    for name in ('test_0', 'test_1'):  # what it finds is there
        found = predict(tmp_path / f'voc/JPEGImages/{name}.png')
        best = zip(found.boxes[:3].round().astype(int).tolist(), found.labels, strict=False)
        objects = [VOCObject(CLASSES[label], (x1 + 1, y1 + 1, x2, y2)) for (x1, y1, x2, y2), label in best]
        write_voc_xml(tmp_path / f'voc/Annotations/{name}.xml', f'{name}.png', (64, 48), objects)
    expected = measure(bench, stage / 'student_best.pth').metrics
    assert expected['AP50'] > 0.5
    assert measure_detector(Detector(result.folder), bench).metrics == pytest.approx(expected, abs=1e-3)
    with pytest.raises(ConfigError, match='native LR images'):
        Detector(result.folder, source='hr')([tmp_path / 'voc/JPEGImages/test_0.png'])


def test_images_that_do_not_fit_into_the_one_size_are_left_out_and_counted(exported, tmp_path) -> None:
    stage, _, image = exported
    upright = tmp_path / 'upright.png'
    cv2.imwrite(str(upright), cv2.rotate(cv2.imread(str(image)), cv2.ROTATE_90_CLOCKWISE))
    source = find_source(stage)
    result = export(source, tmp_path / 'out', [upright, image], fixed=True, simplify=False)
    assert result.left_out == 1 and result.agreement.images == 1
    with pytest.raises(DataError, match='none of 1 images fits'):
        export(source, tmp_path / 'none', [upright], fixed=True, simplify=False)
    assert not list((tmp_path / 'none').glob('*onnx*'))


def test_a_network_that_finds_nothing_cannot_be_compared_and_is_told_so(tmp_path) -> None:
    """Its file would agree with PyTorch whatever it computes."""
    stage = write_stage(read_chain(toy_chain(tmp_path)), tmp_path)
    content = torch.load(stage / 'student_best.pth', weights_only=True)
    content['state_dict']['bbox_head.retina_cls.bias'] -= 100
    torch.save(content, stage / 'student_best.pth')
    with pytest.raises(CheckpointError, match='train longer'):
        export(find_source(stage), tmp_path / 'out', simplify=False)
    assert not list((tmp_path / 'out').glob('*onnx*'))


def test_what_cannot_be_exported_says_why(tmp_path) -> None:
    with pytest.raises(ConfigError, match='DINO is neither'):
        export(find_source(write_stage(toy_family('pd_voc_dino', tmp_path), tmp_path)), tmp_path / 'out')
    soft = toy_retinanet()
    soft['test_cfg'] = {**soft['test_cfg'], 'nms': dict(type='soft_nms', iou_threshold=0.5)}
    with pytest.raises(ConfigError, match='soft_nms'):
        DetectorGraph(build_model(soft))


def test_a_file_that_finds_something_else_is_deleted(exported, tmp_path, monkeypatch) -> None:
    """The fault is put in between network and file: another threshold of the NMS."""
    write_onnx = export_module.write_onnx

    def with_another_nms(model, *args):
        before = model.test_cfg.nms.iou_threshold
        model.test_cfg.nms.iou_threshold = 0.3
        write_onnx(model, *args)
        model.test_cfg.nms.iou_threshold = before

    monkeypatch.setattr(export_module, 'write_onnx', with_another_nms)
    with pytest.raises(CheckpointError, match='does not find what PyTorch finds'):
        export(find_source(exported[0]), tmp_path / 'out', simplify=False)
    assert not list((tmp_path / 'out').glob('*onnx*'))


@pytest.mark.parametrize('model', ['.', 'student.xml'])
def test_the_runtime_needs_neither_torch_nor_mmdet(exported, model) -> None:
    stage, result, image = exported
    command = [sys.executable, '-c', NO_TORCH, str(result.folder / model), str(image), str(image)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.split('RESULT ')[1])
    expected = Detector(stage / 'deploy/student.pth', source='hr', device='cpu')([image])[0]
    assert len(found) == 2 and len(expected.scores) > 3
    for one in found:
        np.testing.assert_allclose(one['boxes'], expected.boxes, atol=1e-3)
        np.testing.assert_allclose(one['scores'], expected.scores, atol=1e-4)
        assert one['labels'] == expected.labels.tolist()


def test_openvino_is_compared_too_and_nothing_is_left_where_it_differs(exported, tmp_path, monkeypatch) -> None:
    stage, result, _ = exported
    file, one_by_one, batches = result.openvino
    assert file.with_suffix('.bin').is_file() and one_by_one.holds and batches.holds
    assert one_by_one.detections == result.agreement.detections
    prove = export_module.prove

    def with_a_fault(detector, *args):
        if isinstance(detector.backend, OpenVinoBackend):
            run = detector.backend.run
            detector.backend.run = lambda *batch: [
                found + 0.01 * (index == 1) for index, found in enumerate(run(*batch))
            ]
        return prove(detector, *args)

    monkeypatch.setattr(export_module, 'prove', with_a_fault)
    with pytest.raises(CheckpointError, match='does not find'):
        export(find_source(stage), tmp_path / 'out', simplify=False, openvino=True)
    assert not [file for file in (tmp_path / 'out').iterdir() if file.suffix in ('.onnx', '.xml', '.bin')]


def test_a_deploy_folder_says_all_that_the_runtime_must_know(exported) -> None:
    _, result, _ = exported
    for model in (result.folder, result.onnx, result.openvino[0]):
        told = Detector(model).description
        assert (told.classes, told.size, told.hr_size) == (CLASSES, (32, 24), (64, 48))
        assert (told.ratio, told.reduction) == ('2', 'area')
        assert (told.score_threshold, told.iou_threshold, told.max_per_image) == (0.01, 0.5, 20)
    assert {latency.name for latency in result.latencies} == {'PyTorch', 'ONNX Runtime', 'OpenVINO'}
    assert all(0 < latency.median <= latency.p95 for latency in result.latencies)


def test_half_precision_weights_load(exported, tmp_path) -> None:
    _, result, image = exported
    half = tmp_path / 'half'
    half.mkdir()
    content = torch.load(result.folder / 'student.pth', weights_only=True)
    content['state_dict'] = {
        key: value.half() if value.is_floating_point() else value for key, value in content['state_dict'].items()
    }
    torch.save(content, half / 'student.pth')
    for name in ('deploy.py', 'deploy.json'):
        (half / name).write_bytes((result.folder / name).read_bytes())
    full, found = (Detector(model / 'student.pth', source='hr')([image])[0] for model in (result.folder, half))
    np.testing.assert_allclose(found.scores, full.scores, atol=0.01)
    assert Detector(half).description.onnx == 'student.onnx'  # named, and not there: the weights are taken


def test_what_is_missing_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match=r'deploy\.py'):
        find_source(tmp_path)
    with pytest.raises(DataError, match='no such file'):
        Detector(tmp_path / 'none.onnx')
    with pytest.raises(DataError, match=r'deploy\.json'):
        Detector(tmp_path)
    (tmp_path / 'broken.onnx').write_bytes(b'no model')
    with pytest.raises(CheckpointError, match='damaged'):
        Detector(tmp_path / 'broken.onnx')
    pytest.importorskip('openvino')
    (tmp_path / 'broken.xml').write_bytes(b'no model')
    with pytest.raises(CheckpointError, match='damaged'):
        Detector(tmp_path / 'broken.xml')


def test_a_pipeline_that_the_runtime_does_not_do_is_refused() -> None:
    resize = dict(type='Resize', scale=(64, 48), keep_ratio=True)
    assert read_pipeline([dict(type='LoadImageFromFile'), Config(resize)._cfg_dict]) == ((64, 48), '1', 'area')
    for step in (dict(type='mmdet.Pad', size=(64, 64)), dict(resize, keep_ratio=False)):
        with pytest.raises(ConfigError, match='runtime does not do'):
            read_pipeline([step])


def test_a_detector_without_test_cfg_is_described(exported) -> None:
    """Else its chain would end with an error behind the stage's training."""
    source = find_source(exported[0])
    del source.deploy.model['test_cfg']
    told = source.describe()
    assert (told.score_threshold, told.iou_threshold, told.max_per_image) == (0, 1, 100)


def test_the_folder_of_a_chain_is_told_apart_from_those_of_its_stages(tmp_path) -> None:
    for stage in ('assistant', 'student'):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / 'deploy.py').touch()
        (tmp_path / stage / 'deploy.json').touch()
    for read in (find_source, Detector):
        with pytest.raises(DataError, match=str(tmp_path / 'student')):
            read(tmp_path)
