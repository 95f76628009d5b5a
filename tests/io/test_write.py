"""Two writers of one path: each write is whole, and nobody is told of an error that is none."""

import stat
import threading
from pathlib import Path

from mmpd.errors import CheckpointError
from mmpd.io.write import write_atomic

import pytest


def test_two_writers_of_one_path_take_turns(tmp_path) -> None:
    target, errors, read = tmp_path / 'file', [], set()
    write_atomic(b'a', target)

    def write(letter: bytes) -> None:
        try:
            for _ in range(30):
                write_atomic(letter * 100_000, target)
        except CheckpointError as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in (b'a', b'b', b'c')]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        content = target.read_bytes()
        read.add((len(content), len(set(content))))
    assert not errors and read <= {(1, 1), (100_000, 1)}
    assert [path.name for path in tmp_path.iterdir()] == ['file']


def test_the_leftover_of_a_killed_writer_is_written_over(tmp_path) -> None:
    (tmp_path / '.file.tmp').write_bytes(b'half of something longer')
    write_atomic(b'whole', tmp_path / 'file')
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {'file': b'whole'}


def test_a_written_file_has_the_permissions_of_any_file_and_a_failure_leaves_nothing(tmp_path) -> None:
    Path(tmp_path / 'plain').touch()
    write_atomic(b'', tmp_path / 'file')
    assert stat.S_IMODE((tmp_path / 'file').stat().st_mode) == stat.S_IMODE((tmp_path / 'plain').stat().st_mode)
    (tmp_path / 'folder').mkdir()
    with pytest.raises(CheckpointError, match='could not be written'):
        write_atomic(b'', tmp_path / 'folder')
    assert {path.name for path in tmp_path.iterdir()} == {'plain', 'file', 'folder'}
