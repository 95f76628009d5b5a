"""The preflight: what it prints for each kind of mismatch, and that it stays quiet where there is none."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from mmpd.align.oracle import OracleCheck
from mmpd.align.plan import Level
from mmpd.align.positives import N_IMAGES, Annotated, annotated_images
from mmpd.chain.chain import read_chain
from mmpd.chain.detector import detector_config
from mmpd.check.data import fitting_sizes, uncovered, union
from mmpd.check.finding import LossRow, StageCheck
from mmpd.check.preflight import QUICK, check_stages, preflight
from mmpd.check.pyramids import sample
from mmpd.check.step import loss_findings, loss_rows
from mmpd.check.tables import print_checks, print_oracle
from mmpd.cli import command
from mmpd.errors import ConfigError
from tests.toys import CLASSES, save_weights, toy_chain, toy_retinanet

import pytest
import torch
from rich.console import Console


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('chain')


def check(root: Path, stage: str, checkpoints: dict[str, str] | None = None, **changes: Any) -> StageCheck:
    (result,) = check_stages([read_chain(toy_chain(root, **changes)).stages[stage]], checkpoints)
    return result


def errors(root: Path, stage: str, checkpoints: dict[str, str] | None = None, **changes: Any) -> str:
    return '\n'.join(map(str, check(root, stage, checkpoints, **changes).errors))


def guide_file(root: Path, confidence: float | None = 0.3) -> dict[str, str]:
    """Weights for the assistant, which is the student's guide."""
    file = root / f'assistant_{confidence}.pth'
    if not file.is_file():
        save_weights(detector_config(toy_retinanet(), num_classes=2, pretrained=False), file, confidence)
    return dict(assistant=str(file))


def test_a_sound_stage_has_no_findings_and_every_loss_is_shown(root):
    result = check(root, 'student', guide_file(root))
    assert result.findings == []
    assert {row.term for row in result.losses} == {'', 'feature', 'response', 'isrd'}
    assert all(row.value > 0 and row.gradient > 0 for row in result.losses)
    assert result.boxes > 0 and '4 images' in result.data[0]
    positives = [row.positives for row in result.levels['student']]
    assert sum(positives) == pytest.approx(1) and positives[0] > 0.1 and positives[-1] == 0
    assert result.inputs['guide'] == tuple(2 * side for side in result.inputs['student'])
    assert [row.partner for row in result.levels['student']] == [
        f'guide {i} same grid' for i in range(len(result.levels['guide']))
    ]


@pytest.mark.parametrize('file', ['JPEGImages/test_1.png', 'Annotations/val_0.xml'])
def test_files_of_val_and_test_are_missed_before_hours_of_training(tmp_path, file):
    toy_chain(tmp_path)
    (tmp_path / 'voc' / file).unlink()
    assert Path(file).stem in errors(tmp_path, 'teacher')


def test_it_leaves_no_trace(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = torch.get_rng_state()
    check(root, 'teacher')
    assert torch.equal(state, torch.get_rng_state())
    assert list(tmp_path.iterdir()) == []


def test_zero_terms_are_warnings_until_the_guide_is_sure_of_something(root):
    high = {'stages.student.terms.response.threshold': 0.9999}
    untrained = check(root, 'student', **high)
    unsure = check(root, 'student', guide_file(root, None), **high)
    for result in (untrained, unsure):
        assert [finding.error for finding in result.findings] == [False]
        assert 'loss_response_bbox = 0' in str(result.findings[0])
    trained = errors(root, 'student', guide_file(root), **high)
    assert 'stages.student.terms.response: loss_response_bbox = 0' in trained
    assert 'lower its threshold' in trained


@pytest.mark.parametrize(
    ('stage', 'changes', 'words'),
    [
        ('student', {'stages.student.overrides.bbox_head.anchor_generator.strides': [8, 16, 32, 64]},
         ['level 0: the head assumes stride 8', 'stride 4', 'overrides']),
        ('student', {'stages.student.overrides.bbox_head.in_channels': 12},
         ['stages.student', 'channels', 'overrides']),
        ('student', {'stages.student.overrides.bbox_head.num_classes': 3}, ['2 classes', '3', 'num_classes']),
        ('student', {'stages.student.overrides.neck.num_outs': 2}, ['fpn.py', 'num_outs', 'overrides']),
        ('student', {'stages.student.align': 'window', 'ratio': '3/2'}, ["align = 'window'", 'ratio 3/2', 'resample']),
        ('student', {'stages.student.terms.feature.loss': 'psd'}, ['terms.feature.loss', "'psd'", 'pkd']),
        ('student', {'stages.student.terms.isrd.loss_weight': 1e30}, ['terms.isrd', 'not finite']),
        ('student', {'stages.student.overrides.backbone.frozen_stages': 1}, ['frozen_stages = 1', 'ISRD', '-1']),
        ('student', {'stages.student.overrides.backbone.norm_eval': True}, ['norm_eval = True', 'False']),
        ('teacher', {'stages.teacher.overrides.backbone.frozen_stages': 1}, ['frozen_stages = 1', 'random weights']),
        ('teacher', {'pretrained': True, 'stages.teacher.overrides.backbone.init_cfg':
                     dict(type='Pretrained', checkpoint='nowhere.pth')}, ['init_cfg.checkpoint', 'nowhere', 'False']),
        ('teacher', {'data.test.ann_file': 'ImageSets/Main/val.txt'}, ['2 of 2 images of data.test', 'data.val']),
        ('teacher', {'data.val.ann_file': 'ImageSets/Main/train.txt'}, ['4 of 4 images', 'data.val.ann_file']),
        ('teacher', {'data.val.metainfo.classes': CLASSES[::-1]},
         ['data.val.metainfo.classes', 'data.train', 'in that order']),
        ('teacher', {'data.train.filter_cfg': dict(bbox_min_size=32)}, ['bbox_min_size = 32', 'remove']),
        ('teacher', {'data.train.ann_file': 'nowhere.txt'}, ['nowhere.txt']),
        ('student', {'stages.student.init_from': 'no.pth'}, ["stages.student.init_from = 'no.pth'", 'no such file']),
        ('teacher', {'stages.teacher.overrides.test_cfg': dict(score_thr=0.0, nms=dict(type='no_nms'))},
         ['stops at its first validation', 'no_nms', 'overrides']),
        ('teacher', {'data.batch_size': 64}, ['data.batch_size = 64', '4 images']),
        ('teacher', {'custom_hooks': [dict(type='PipelineSwitchHook', switch_epoch=1, switch_pipeline=[])]},
         ['PipelineSwitchHook', 'remove']),
    ],
)  # fmt: skip
def test_each_mismatch_names_its_key_and_what_to_change(root, stage, changes, words):
    guides = guide_file(root) if stage == 'student' else None
    text = errors(root, stage, guides, **changes)
    for word in words:
        assert word in text, text


def coco(root: Path, *classes: str) -> dict[str, Any]:
    """`data.train` of four images with a COCO file of one 'square' each."""
    toy_chain(root)  # draws them
    images = sorted((root / 'voc/JPEGImages').glob('train_*'))
    content = dict(
        images=[dict(id=i, file_name=image.name, width=64, height=48) for i, image in enumerate(images)],
        annotations=[
            dict(id=i, image_id=i, category_id=1, bbox=[8, 8, 20, 20], area=400, iscrowd=0) for i in range(len(images))
        ],
        categories=[dict(id=1, name='square'), dict(id=2, name='disc')],
    )
    (root / 'coco.json').write_text(json.dumps(content))
    return dict(
        type='CocoDataset',
        ann_file=str(root / 'coco.json'),
        data_prefix=dict(img=str(root / 'voc/JPEGImages') + '/'),
        metainfo=dict(classes=classes),
    )


def test_class_names_that_no_annotation_has_are_named(root):
    names = {f'data.{split}.metainfo.classes': ('sqare', 'disc') for split in ('val', 'test')}
    result = check(root, 'teacher', **{'data.train': coco(root, 'sqare', 'disc'), **names})
    assert "write 'square' for 'sqare'" in str(result.errors[0])
    assert 'none of the 4 training images has a box of' in str(result.errors[1])
    result = check(root, 'teacher', **{'data.train': coco(root, 'square', 'disc')})
    assert result.errors == [] and "no training image has a box of ['disc']" in str(result.findings[0])


def test_one_set_for_val_and_test_is_fine_where_nothing_is_chosen(root):
    assert errors(root, 'teacher', **{'data.test.ann_file': 'ImageSets/Main/val.txt', 'save_best': None}) == ''


def test_a_damaged_or_foreign_checkpoint_is_named(root, tmp_path):
    broken = tmp_path / 'broken.pth'
    broken.write_bytes(b'nothing')
    assert str(broken) in errors(root, 'student', dict(assistant=str(broken)))
    wide = tmp_path / 'wide.pth'
    save_weights(toy_retinanet(base_channels=8), wide)
    text = errors(root, 'student', dict(assistant=str(wide)))
    assert str(wide) in text and 'does not fit' in text


def test_other_class_names_are_printed_on_both_sides(root, tmp_path):
    file = tmp_path / 'cats.pth'
    content = torch.load(guide_file(root)['assistant'])
    content['meta']['dataset_meta']['classes'] = ('cat', 'dog')
    torch.save(content, file)
    text = errors(root, 'student', dict(assistant=str(file)))
    assert "('cat', 'dog')" in text and str(CLASSES) in text


def test_warnings_name_what_is_lost(root):
    fine = {'stages.student.overrides.neck': [dict(toy_retinanet()['neck'], start_level=1)]}
    texts = [str(finding) for finding in check(root, 'student', guide_file(root), **fine).findings]
    assert any("student_pyramid = 'fine': it has no effect on the neck of stage student" in text for text in texts)
    coarse = check(root, 'student', guide_file(root), student_pyramid='cheap', ratio=2)
    assert [round(high) for _, high, _ in coarse.gaps] == [round(16 * 2**0.5)]
    assert coarse.gaps[0][2] > 0.3 and any('student_pyramid' in str(f) for f in coarse.findings)
    ema = {'custom_hooks': [dict(type='EMAHook', momentum=0.0002)]}
    assert any('EMAHook.momentum' in str(f) for f in check(root, 'teacher', **ema).findings)


def test_preflight_raises_every_error_at_once(root):
    config = toy_chain(root, **{'stages.teacher.overrides.backbone.frozen_stages': 1, 'data.batch_size': 64})
    with pytest.raises(ConfigError, match=r'(?s)--no-check.*frozen_stages.*batch_size'):
        preflight([read_chain(config).stages['teacher']], {}, Console(file=io.StringIO()))


def test_the_quick_form_counts_fewer_images_and_says_so(root, monkeypatch):
    asked = []

    def images(dataset, n_images):
        asked.append(n_images)
        return annotated_images(dataset, n_images)

    monkeypatch.setattr('mmpd.check.pyramids.annotated_images', images)
    console = Console(file=io.StringIO(), width=500)
    preflight([read_chain(toy_chain(root)).stages['student']], guide_file(root), console)
    check(root, 'student', guide_file(root))
    assert asked == [QUICK, N_IMAGES]
    assert f'{QUICK} images' in console.file.getvalue() and f'{N_IMAGES}' in console.file.getvalue()


class Silent(torch.nn.Module):
    """A network whose term has no gradient on any batch; its own loss has one from the second on."""

    def __init__(self):
        super().__init__()
        self.student, self.seen = torch.nn.Linear(1, 1, bias=False), 0
        self.terms = torch.nn.ModuleDict(dict(mute=Mute()))

    def data_preprocessor(self, batch, training):
        return batch

    def forward(self, own, mode):
        self.seen += 1
        return dict(loss_own=self.student.weight.sum() * own, **self.terms['mute'](self.student.weight))


class Mute(torch.nn.Module):
    def forward(self, weight):
        return dict(loss_mute=(weight * 0).sum())


@pytest.mark.parametrize('patient, seen', [(True, 4), (False, 2)])
def test_a_zero_term_is_looked_at_again_only_where_its_guide_is_trained(patient, seen):
    model = Silent()
    rows, _ = loss_rows(model, [dict(own=own) for own in (0.0, 1.0, 1.0, 1.0)], patient)
    assert model.seen == seen
    assert {row.name: row.gradient for row in rows} == dict(loss_own=1, loss_mute=0)


def test_the_report_prints_levels_partners_losses_and_the_verdict(root):
    out = io.StringIO()
    print_checks(
        [check(root, 'student', guide_file(root), student_pyramid='cheap', **{'stages.student.align': 'window'})],
        Console(file=out, width=80),
    )
    text = out.getvalue()
    for words in ('stage student, ratio 2', '4 images', 'lines up with', 'nothing, masked', 'no student level fits',
                  'terms.isrd', 'gradient norm', '0 errors, 2 warnings in 1 stages'):  # fmt: skip
        assert words in text, text
    assert '…' not in text  # nothing is cut in a terminal of 80 characters


def test_a_network_without_own_losses_is_an_error_unless_its_terms_take_their_place():
    rows = [LossRow('loss_cls', '', 0.0, 0.0), LossRow('loss_kd', 'kd', 1.0, 1.0)]
    assert 'no loss of the network itself' in str(loss_findings(rows, [], 'student', sure=True)[0])
    assert loss_findings(rows, [], 'student', sure=True, own_weight=0.0) == []


def test_intervals():
    assert union([(4, 8), (1, 3), (2, 5)]) == [(1, 8)]
    assert uncovered([(10, 40), (40, 90)], [(20, 50)]) == [(10, 20), (50, 90)]
    assert uncovered([(10, 40)], [(5, 80)]) == []


def test_fitting_sizes():
    low, high = fitting_sizes(Level(8, ((16.0, 16.0), (32.0, 8.0), (32.0, 32.0))))
    assert (low, high) == pytest.approx((16 / 2**0.5, 32 * 2**0.5))
    assert fitting_sizes(Level(8, offset=0.5, size_range=(0, 64))) == (8, 128)
    assert fitting_sizes(Level(8)) == (32, 128)


def test_the_command_ends_with_status_1_on_an_error(root, tmp_path, capsys):
    file = tmp_path / 'toy.py'
    toy_chain(root).dump(file)
    common = [str(file), '--stage', 'teacher', '--device', 'cpu', '--work-dir', str(tmp_path)]
    assert command('check')(common) == 0
    assert command('check')([*common, '--cfg-options', f'data.batch_size={json.dumps(64)}']) == 1
    assert 'data.batch_size = 64' in capsys.readouterr().out


def test_the_oracle_guide_is_reported_and_a_guide_that_speaks_past_its_student_is_a_warning(root, monkeypatch):
    result = check(root, 'student', guide_file(root), ratio='3/2')
    assert result.oracle.passed and result.oracle.positives > 0
    past = OracleCheck(positives=100, received=56, heard=100, conflict=56, objects=20, lost=3)
    monkeypatch.setattr('mmpd.check.pyramids.oracle_check', lambda alignment, images: past)
    findings = check(root, 'student', guide_file(root), ratio='3/2').findings
    (finding,) = [finding for finding in findings if 'oracle' in str(finding)]
    assert not finding.error
    assert all(word in str(finding) for word in ('56.0%', '3 of 20', 'stages.student.align', 'student_pyramid'))


def test_the_oracle_table_has_a_row_for_each_ratio(root):
    console = Console(file=io.StringIO(), width=200)
    print_oracle([read_chain(toy_chain(root, ratio=ratio)) for ratio in ('2', '3/2')], console)
    rows = [line for line in console.file.getvalue().splitlines() if 'student' in line]
    assert [('window' in row, 'resample' in row, 'passed' in row) for row in rows] == [
        (True, False, True),
        (False, True, True),
    ]


def test_where_few_images_have_an_object_the_quick_form_looks_at_more(monkeypatch):
    boxes = torch.tensor([[1.0, 1, 9, 9]])

    def images(dataset, n_images):
        return [
            Annotated((10, 10), boxes if index == n_images - 1 > QUICK else boxes[:0], boxes[:0])
            for index in range(n_images)
        ]

    monkeypatch.setattr('mmpd.check.pyramids.annotated_images', images)
    assert [len(image.boxes) for image in sample(None, QUICK)] == [0] * (N_IMAGES - 1) + [1]
