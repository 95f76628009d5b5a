"""Reading checkpoints as data, loading by name and shape, writing whole files; on networks of a few numbers."""

import collections
import errno
import os
import pickle

from mmpd.compat.mmengine_loading import find_resumable, install_safe_loading, load_url
from mmpd.errors import CheckpointError
from mmpd.io import write as atomic
from mmpd.io.convert import convert_trusted
from mmpd.io.plain import export_plain
from mmpd.io.read import load_checkpoint, model_state
from mmpd.io.resume import is_intact, latest_intact
from mmpd.io.state import load_into
from mmpd.io.write import save_atomic

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint as mmengine_checkpoint
from torch import nn


class Toy(nn.Module):
    """A backbone and a head with `classes` outputs."""

    def __init__(self, classes: int = 3, width: int = 4) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, width, 1), nn.BatchNorm2d(width), nn.Conv2d(width, 4, 1))
        self.retina_cls = nn.Conv2d(4, classes, 1)


class Bomb:
    """Unpickling it the usual way writes a file."""

    def __init__(self, path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, 'w')


class SystemBomb(Bomb):
    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


class GetattrBomb(Bomb):
    """Goes through `getattr`, which onedl-mmengine's own allow-list contains."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, '__init__')


def runner_like(state, **more) -> dict:
    return dict(meta=dict(epoch=2, iter=6), state_dict=state, message_hub=dict(runtime_info={})) | more


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# --- safety ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
@pytest.mark.parametrize(
    ('bomb', 'name'),
    [(Bomb, 'io.open'), (SystemBomb, 'posix.system'), (GetattrBomb, 'getattr')],
    ids=lambda value: str(value),
)
@pytest.mark.parametrize('read', [load_checkpoint, lambda path: mmengine_checkpoint._load_checkpoint(str(path))])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path, bomb, name, legacy, read):
    install_safe_loading()
    file, trace = tmp_path / 'evil.pth', tmp_path / 'it_ran'
    torch.save(dict(state_dict={}, bomb=bomb(trace)), file, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=rf'evil.pth refused: it names `{name}.*convert_checkpoint.py'):
        read(file)
    assert not trace.exists()


def test_the_bomb_of_these_tests_is_real(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / 'it_ran')))
    assert (tmp_path / 'it_ran').exists()


def test_what_mmengine_stores_is_data(tmp_path):
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    content = dict(
        hub=collections.OrderedDict(loss=buffer),
        best_score=np.float64(0.5),
        small=np.float32(0.5),
        names=np.array(['a', 'b']),
        meta=ConfigDict(classes=('x',), nested=dict(palette=[(1, 2, 3)])),
        state_dict={'w': torch.ones(2)},
    )
    save_atomic(content, tmp_path / 'a.pth')
    read = load_checkpoint(tmp_path / 'a.pth')
    assert read['hub']['loss'].statistics('mean') == 1.5
    assert read['best_score'] == 0.5 and read['names'].tolist() == ['a', 'b']
    assert read['meta'].nested.palette == [(1, 2, 3)]


def test_schedulers_that_keep_a_method_in_their_state_load(tmp_path):
    from mmengine.optim import OneCycleLR

    scheduler = OneCycleLR(torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0), eta_max=1.0, total_steps=5)
    save_atomic(dict(param_schedulers=[scheduler.state_dict()]), tmp_path / 'a.pth')
    assert load_checkpoint(tmp_path / 'a.pth')['param_schedulers'][0]['anneal_func'] is OneCycleLR._annealing_cos


# --- damaged files --------------------------------------------------------------------------------------------------


def damage(path, how: str) -> None:
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(
        {
            'empty': b'',
            'half': data[:middle],
            'tail': data[:-1],
            'flipped': data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :],
            'text': b'<html>404 Not Found</html>',
            'list': data,
        }[how]
    )
    if how == 'list':
        torch.save([1, 2], path)


@pytest.mark.parametrize('how', ['empty', 'half', 'tail', 'flipped', 'text', 'list'])
def test_damaged_files_are_named_with_their_size(tmp_path, how):
    path = tmp_path / 'epoch_2.pth'
    save_atomic(runner_like({'w': torch.ones(1000)}), path)
    save_atomic(runner_like({'w': torch.zeros(1)}), tmp_path / 'epoch_1.pth')
    damage(path, how)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert str(path) in str(error.value)
    assert how == 'list' or f'{path.stat().st_size} bytes' in str(error.value)
    assert not is_intact(path)
    assert latest_intact(tmp_path) == tmp_path / 'epoch_1.pth'


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match='nowhere.pth does not exist'):
        load_checkpoint(tmp_path / 'nowhere.pth')


def test_latest_is_by_number_and_needs_what_a_resume_needs(tmp_path):
    for epoch in (2, 9, 10):
        save_atomic(runner_like({'w': torch.ones(1)}), tmp_path / f'epoch_{epoch}.pth')
    save_atomic(dict(state_dict={'w': torch.ones(1)}), tmp_path / 'epoch_11.pth')
    save_atomic(dict(state_dict={'w': torch.ones(1)}), tmp_path / 'best_x_epoch_12.pth')
    assert latest_intact(tmp_path) == tmp_path / 'epoch_10.pth'
    assert find_resumable(str(tmp_path)) == str(tmp_path / 'epoch_10.pth')
    assert latest_intact(tmp_path / 'absent') is None


def test_resuming_never_ends_in_a_file_that_does_not_load(tmp_path):
    last = tmp_path / 'last_checkpoint'
    last.write_text(str(tmp_path / 'epoch_1.pth'))
    assert find_resumable(str(tmp_path)) is None  # named but missing
    (tmp_path / 'epoch_1.pth').write_bytes(b'')
    assert find_resumable(str(tmp_path)) is None
    save_atomic(runner_like({'w': torch.ones(1)}), tmp_path / 'odd_name.pth')
    last.write_text(str(tmp_path / 'odd_name.pth'))
    assert find_resumable(str(tmp_path)) == str(tmp_path / 'odd_name.pth')


# --- kinds of file --------------------------------------------------------------------------------------------------

PLAIN = {'backbone.w': torch.arange(3.0), 'head.b': torch.ones(1)}


def prefixed(prefix: str, state=None) -> dict:
    return {prefix + key: value for key, value in (state or PLAIN).items()}


@pytest.mark.parametrize(
    'checkpoint',
    [
        PLAIN,
        dict(state_dict=PLAIN),
        runner_like(PLAIN, optimizer={}),
        runner_like(prefixed('student.') | {'terms.isrd.w': torch.zeros(2)}),
        runner_like(prefixed('module.student.') | {'module.terms.w': torch.zeros(2)}),
        prefixed('module.'),
        dict(ema_state_dict=prefixed('module.') | {'steps': torch.tensor(7)}),
        dict(state_dict=PLAIN, ema_state_dict=prefixed('module.', {key: -value for key, value in PLAIN.items()})),
        dict(state_dict={key: value.half() for key, value in PLAIN.items()}),
    ],
    ids=['flat', 'state_dict', 'runner', 'distiller', 'ddp distiller', 'ddp', 'ema only', 'ema swapped', 'fp16'],
)
def test_plain_keys_in_fp32_from_every_kind(checkpoint):
    state = model_state(checkpoint)
    assert same(state, PLAIN) and all(value.dtype == torch.float32 for value in state.values())


def test_a_part_can_be_named_and_must_exist():
    checkpoint = dict(state_dict=prefixed('student.') | {'terms.w': torch.zeros(2)})
    assert list(model_state(checkpoint, 'terms')) == ['w']
    with pytest.raises(CheckpointError, match="below 'guide'"):
        model_state(checkpoint, 'guide')
    with pytest.raises(CheckpointError, match='no weights'):
        model_state(dict(state_dict={}, meta={}))


def test_integers_are_not_cast():
    assert model_state({'bn.num_batches_tracked': torch.tensor(3)})['bn.num_batches_tracked'].dtype == torch.int64


# --- loading into a network -----------------------------------------------------------------------------------------


def saved(tmp_path, module: nn.Module, **more):
    path = tmp_path / 'a.pth'
    save_atomic(dict(state_dict=module.state_dict()) | more, path)
    return path


def test_a_fitting_file_is_copied_whole(tmp_path):
    source, target = Toy(), Toy()
    report = load_into(target, saved(tmp_path, source))
    assert same(source.state_dict(), target.state_dict())
    assert len(report.loaded) == len(source.state_dict()) and not report.missing


def test_other_class_count_is_recognised_and_nothing_is_copied(tmp_path):
    target = Toy(classes=3)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    meta = dict(dataset_meta=dict(classes=('cat', 'dog', 'cow', 'pig', 'ram')))
    with pytest.raises(CheckpointError, match=r'retina_cls.*\(5, 4, 1, 1\) → \(3, 4, 1, 1\).*5 classes, cat, dog, cow'):
        load_into(target, saved(tmp_path, Toy(classes=5), meta=meta))
    assert same(before, target.state_dict())


def test_other_architecture_is_recognised(tmp_path):
    with pytest.raises(CheckpointError, match='another architecture'):
        load_into(Toy(), saved(tmp_path, Toy(width=8)))
    with pytest.raises(CheckpointError, match='not in the network: extra.*another architecture'):
        state = dict(Toy().state_dict(), extra=torch.ones(1))
        save_atomic(state, tmp_path / 'b.pth')
        load_into(Toy(), tmp_path / 'b.pth')
    state = Toy().state_dict()
    del state['backbone.0.weight']
    save_atomic(state, tmp_path / 'c.pth')
    with pytest.raises(CheckpointError, match=r'1 missing in the file: backbone.0.weight'):
        load_into(Toy(), tmp_path / 'c.pth')


def test_files_from_before_num_batches_tracked_load(tmp_path):
    state = {key: value for key, value in Toy().state_dict().items() if 'num_batches' not in key}
    save_atomic(state, tmp_path / 'old.pth')
    load_into(Toy(), tmp_path / 'old.pth')


def test_partial_copies_what_fits_and_lists_the_rest(tmp_path):
    source, target = Toy(classes=5), Toy(classes=3)
    report = load_into(target, saved(tmp_path, source), partial=True)
    assert same(source.backbone.state_dict(), target.backbone.state_dict())
    assert [key for key, _, _ in report.mismatched] == ['retina_cls.bias', 'retina_cls.weight']
    assert str(report).startswith('9 tensors fit; 2 other shape')


def test_partial_refuses_a_file_that_fits_less_than_half(tmp_path):
    path = saved(tmp_path, nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(CheckpointError, match='less than half'):
        load_into(Toy(), path, partial=True)


# --- writing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('call', ['fsync', 'replace'])
def test_a_full_disk_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch, call):
    path = tmp_path / 'a.pth'
    save_atomic({'w': torch.ones(1)}, path)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, call, full)
    with pytest.raises(CheckpointError, match=r'a.pth \(\d+ bytes\) could not be written: No space left on device'):
        save_atomic({'w': torch.zeros(1)}, path)
    assert [item.name for item in tmp_path.iterdir()] == ['a.pth']
    assert load_checkpoint(path)['w'] == 1


def test_an_interrupt_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'a.pth'
    save_atomic({'w': torch.ones(1)}, path)
    monkeypatch.setattr(atomic.os, 'fsync', lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save_atomic({'w': torch.zeros(1)}, path)
    assert [item.name for item in tmp_path.iterdir()] == ['a.pth']
    assert load_checkpoint(path)['w'] == 1


def test_the_data_is_on_disk_before_the_name(tmp_path, monkeypatch):
    order = []
    for name in ('fsync', 'replace'):
        real = getattr(os, name)
        monkeypatch.setattr(atomic.os, name, lambda *args, name=name, real=real: (order.append(name), real(*args))[1])
    save_atomic({'w': torch.ones(1)}, tmp_path / 'a.pth')
    assert order == ['fsync', 'replace', 'fsync']


def test_the_exported_file_is_readable_by_torch_alone(tmp_path):
    hub = dict(runtime_info=dict(best_score=np.float64(0.25), last_ckpt='/home/me/x'))
    meta = dict(epoch=3, iter=9, cfg='work_dir="/home/me"', dataset_meta=dict(CLASSES=['a'], palette=np.ones((1, 3))))
    save_atomic(dict(state_dict=prefixed('student.'), meta=meta, message_hub=hub), tmp_path / 'epoch_3.pth')
    export_plain(tmp_path / 'epoch_3.pth', tmp_path / 'student_last.pth')
    plain = torch.load(tmp_path / 'student_last.pth', weights_only=True)
    assert same(plain['state_dict'], PLAIN)
    expected = dict(epoch=3, iter=9, dataset_meta=dict(classes=('a',), palette=((1.0, 1.0, 1.0),)), best_score=0.25)
    assert plain['meta'] == expected


# --- downloads and conversion ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('url', ['torchvision://resnet18', 'https://example.invalid/x-12345678.pth'])
def test_downloads_say_what_to_do_without_a_network(tmp_path, monkeypatch, url):
    from urllib.error import URLError

    def offline(*_, **__):
        raise URLError('Name or service not known')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', offline)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    with pytest.raises(CheckpointError, match='cannot be fetched.*Without a network: put the file at'):
        load_checkpoint(url)


def test_a_downloaded_pickle_is_data_too(tmp_path):
    torch.save(dict(bomb=Bomb(tmp_path / 'it_ran')), tmp_path / 'evil.pth')
    with pytest.raises(CheckpointError, match='refused'):
        load_url('https://example.invalid/evil.pth', model_dir=str(tmp_path))
    assert not (tmp_path / 'it_ran').exists()


def test_conversion_of_a_trusted_file_keeps_the_data(tmp_path):
    old, new = tmp_path / 'old.pth', tmp_path / 'new.pth'
    torch.save(dict(state_dict=Toy().state_dict(), meta=dict(epoch=3, tool=collections.Counter, odd=[1, len])), old)
    with pytest.raises(CheckpointError, match='refused'):
        load_checkpoint(old)
    assert convert_trusted(old, new) == [
        'meta.tool (builtins.type)',
        'meta.odd[1] (builtins.builtin_function_or_method)',
    ]
    load_into(Toy(), new)
    assert load_checkpoint(new)['meta']['epoch'] == 3


def test_a_pickled_module_becomes_its_weights(tmp_path):
    torch.save(Toy(), tmp_path / 'module.pth')
    convert_trusted(tmp_path / 'module.pth', tmp_path / 'new.pth')
    load_into(Toy(), tmp_path / 'new.pth')
    with pytest.raises(CheckpointError, match='another file'):
        convert_trusted(tmp_path / 'new.pth', tmp_path / 'new.pth')
