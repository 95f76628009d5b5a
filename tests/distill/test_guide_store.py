"""Guide outputs on disk: shared by all that the guide teaches, never those of another guide, image or precision."""

import multiprocessing
import os
import shutil
from collections import namedtuple
from pathlib import Path

from mmpd.chain.chain import read_chain
from mmpd.chain.stage_config import stage_config
from mmpd.distill import guide_store
from mmpd.distill.guide_cache import GuideCache
from mmpd.distill.guide_store import GuideStore
from mmpd.distill.view import view_of
from mmpd.run.fingerprint import fingerprint
from tests.toys import build_distiller, build_model, first_losses, save_weights, toy_chain, toy_retinanet, unfrozen

import pytest
import torch
from torch.utils import _pytree as pytree

NEST = dict(
    features=(torch.randn(1, 3, 5, 7), torch.randn(1, 3, 2, 2).half()),
    head=([torch.randn(1, 4, 3, 3).bfloat16()], [torch.arange(3)], torch.tensor(2.5)),
)


def files(folder) -> list[Path]:
    return [path for path in Path(folder).rglob('*') if path.is_file()]


def counts(distiller) -> tuple[int, int, int]:
    cache = distiller.guide_cache
    return cache.hits, cache.found, cache.misses


def test_what_is_read_is_what_was_written(tmp_path):
    GuideStore(tmp_path, 'g').write('key', NEST)
    read = GuideStore(tmp_path, 'g').read('key')
    assert pytree.tree_structure(read) == pytree.tree_structure(NEST)
    for got, wanted in zip(pytree.tree_leaves(read), pytree.tree_leaves(NEST), strict=True):
        assert got.dtype == wanted.dtype and torch.equal(got, wanted)
    assert GuideStore(tmp_path, 'other').read('key') is None
    assert GuideStore(tmp_path, 'g').read('other') is None


def test_a_start_beside_a_writer_that_is_just_done_is_a_start(tmp_path, monkeypatch):
    """Between the listing and the look at a temporary file its writer may give it its name."""
    monkeypatch.setattr(Path, 'glob', lambda folder, pattern: [folder / '.writing-gone'])
    assert GuideStore(tmp_path, 'g').read('key') is None


def test_the_file_holds_no_pickle_and_little_beside_the_numbers(tmp_path):
    GuideStore(tmp_path, 'g').write('key', NEST)
    content = (tmp_path / 'g' / 'key').read_bytes()
    assert b'torch\n' not in content and b'PK' not in content[:4]
    tensors = sum(leaf.nbytes for leaf in pytree.tree_leaves(NEST))
    assert len(content) < tensors + 64 * 6 + 1000


def test_a_writer_changes_no_file_that_a_reader_has_mapped(tmp_path):
    store = GuideStore(tmp_path, 'g')
    store.write('key', [torch.ones(1000)])
    (mapped,) = store.read('key')
    store.write('key', [torch.zeros(1000)])
    assert torch.equal(mapped, torch.ones(1000)) and torch.equal(store.read('key')[0], torch.zeros(1000))


@pytest.mark.parametrize('damage', ['cut', 'empty', 'bit', 'header', 'text'])
def test_a_damaged_file_is_a_miss_and_is_written_anew(tmp_path, damage):
    store = GuideStore(tmp_path, 'g')
    store.write('key', NEST)
    path = tmp_path / 'g' / 'key'
    content = bytearray(path.read_bytes())
    if damage in ('bit', 'header'):
        content[-70 if damage == 'bit' else 12] ^= 1
    path.write_bytes({'cut': content[:-9], 'empty': b'', 'text': b'not an output'}.get(damage, bytes(content)))
    assert store.read('key') is None
    store.write('key', NEST)
    assert store.read('key') is not None


def hammer(folder: str, value: int) -> None:
    store = GuideStore(folder, 'g')
    for _ in range(30):
        store.write('key', [torch.full((20_000,), float(value))])
        output = store.read('key')
        assert output is not None and len(output[0].unique()) == 1  # whole, whoever wrote it last


def test_writers_at_once_never_show_a_part(tmp_path):
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=hammer, args=(str(tmp_path), value)) for value in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert [path.name for path in files(tmp_path)] == ['key']


def test_leftovers_of_killed_writers_go_and_those_of_living_ones_stay(tmp_path):
    (tmp_path / 'g').mkdir()
    old, new = (tmp_path / 'g' / f'{guide_store.TEMPORARY}{name}' for name in ('old', 'new'))
    for path in (old, new):
        path.write_text('')
    os.utime(old, (0, 0))
    GuideStore(tmp_path, 'g')
    assert not old.exists() and new.exists()


def test_a_full_disk_stops_the_writing_and_not_the_training(tmp_path, monkeypatch):
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: usage(2**40, 2**40 - 2**30, 2**30))
    distiller = build_distiller(tmp_path, guide_cache_dir=str(tmp_path / 'cache'))
    first_losses(distiller)
    first_losses(distiller)
    assert counts(distiller) == (0, 0, 4) and not distiller.guide_cache.store.writing
    assert not files(tmp_path / 'cache')


def test_a_folder_that_cannot_be_made_stops_the_writing_and_not_the_training(tmp_path):
    (tmp_path / 'file').write_text('')
    distiller = build_distiller(tmp_path, guide_cache_dir=str(tmp_path / 'file'))
    first_losses(distiller)
    assert counts(distiller) == (0, 0, 2)


def test_students_of_one_guide_run_it_once(tmp_path):
    """An ablation: n students, another ratio among them, other seeds, and one forward of the guide an image."""
    cache = dict(guide_cache_dir=str(tmp_path / 'cache'))
    plain = first_losses(build_distiller(tmp_path, guide_cache=1))
    first = build_distiller(tmp_path, **cache)
    losses = first_losses(first)
    assert counts(first) == (0, 0, 2) and len(files(tmp_path / 'cache')) == 2
    for terms in (None, dict(feature=dict(type='FeatureTerm')), dict(response=dict(type='ResponseTerm'))):
        student = build_distiller(tmp_path, **cache, **(dict(terms=terms) if terms else {}))
        own = first_losses(student)
        with_head = not terms or 'response' in terms
        assert counts(student) == ((0, 2, 0) if with_head else (0, 0, 2)), terms
        if not terms:  # the same student: found or computed, the same to the bit
            assert {name: value.item() for name, value in own.items()} == {n: v.item() for n, v in losses.items()}
    for name, value in plain.items():
        assert torch.equal(value, losses[name]), name
    assert '100.0% of 2 images found (2 on disk' in student.guide_cache.summary()


def test_another_guide_never_hits(tmp_path):
    cache = dict(guide_cache_dir=str(tmp_path / 'cache'))
    first_losses(build_distiller(tmp_path, **cache))
    state = torch.load(tmp_path / 'guide.pth', weights_only=True)
    weights = state.get('state_dict', state)
    name = next(name for name in weights if name.endswith('running_var'))
    weights[name][0] *= 1 + 1e-6
    torch.save(state, tmp_path / 'other.pth')
    other = build_distiller(tmp_path, guide_checkpoint=str(tmp_path / 'other.pth'), **cache)
    first_losses(other)
    assert counts(other) == (0, 0, 2)
    # the same weights under another config, whose outputs mean something else
    config = toy_retinanet()
    config['backbone']['norm_cfg'] = dict(type='BN', eps=1e-2)
    same_weights = build_distiller(tmp_path, guide=config, guide_checkpoint=str(tmp_path / 'guide.pth'), **cache)
    first_losses(same_weights)
    assert counts(same_weights) == (0, 0, 2)


def test_other_weights_in_the_same_distiller_never_hit(tmp_path):
    for kept in (dict(guide_cache=64), dict(guide_cache_dir=str(tmp_path / 'cache'))):
        distiller = build_distiller(tmp_path, **kept)
        first_losses(distiller)
        save_weights(toy_retinanet(), tmp_path / 'second.pth', seed=5)
        distiller.frozen.checkpoint = str(tmp_path / 'second.pth')
        distiller.init_weights()
        first_losses(distiller)
        assert counts(distiller) == (0, 0, 2)


@torch.no_grad()
def test_another_precision_or_rounding_is_another_output(tmp_path):
    torch.manual_seed(0)
    view = view_of(build_model(unfrozen(toy_retinanet())).eval())
    image = torch.randn(1, 3, 64, 64)
    plain, half = (GuideCache(0, half, str(tmp_path), lambda: 'g') for half in (False, True))
    plain.run(view, image, True)
    with torch.autocast('cpu', torch.bfloat16):
        plain.run(view, image, True)
    half.run(view, image, True)
    assert plain.misses == 2 and half.misses == 1
    sizes = sorted(path.stat().st_size for path in files(tmp_path))
    assert len(sizes) == 3 and sizes[0] == sizes[1] < 0.7 * sizes[2]


def test_where_outputs_are_kept_decides_no_result(tmp_path):
    one, other, none = (
        fingerprint(stage_config(read_chain(toy_chain(tmp_path, **keys)).stages['student'], tmp_path / 'work', {}))
        for keys in (dict(guide_cache=8), dict(guide_cache_dir=str(tmp_path / 'cache')), {})
    )
    assert one == other != none
