"""Outputs of a frozen guide in files, shared by all that it teaches: seeds, rows of an ablation, ranks ("ours").

A file is named by the digests of the guide and of the image, so a wrong answer cannot be found: another guide looks in
another folder, and other pixels have another name. Nothing is ever changed: deleting files costs forwards, no more.

A file: CRC-32 of all that follows (4 bytes); length of the header (4 bytes); the header, JSON: the tree of the output,
and type and shape of its tensors; their bytes, each tensor at a multiple of 64.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger
from torch import Tensor
from torch.utils import _pytree as pytree

BLOCK = 64
SPARE = 2**31
"""Bytes of the disk that are left free, for checkpoints and logs."""
TEMPORARY = '.writing-'
OLD = 3600.0
"""Seconds after which a temporary file is that of a process that was killed."""


class GuideStore:
    """Outputs of one guide in `folder`/`guide`. Any number of processes may read and write at once.

    Args:
        folder: of all guides; made where it is not there.
        guide: digest of the guide, see `Frozen.digest`.

    Attributes:
        writing: False once a file could not be written, or the disk has less than `SPARE` left: training goes on.
    """

    def __init__(self, folder: str | os.PathLike, guide: str) -> None:
        self.folder = Path(folder) / guide
        self.writing = True
        for left in self.folder.glob(f'{TEMPORARY}*'):
            with contextlib.suppress(FileNotFoundError):  # its writer has just finished
                if time.time() - left.stat().st_mtime > OLD:
                    left.unlink()

    def read(self, key: str) -> Any:
        """The output of that key, its tensors mapped from the file; None where there is none, or a damaged one."""
        path = self.folder / key
        try:
            content = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
            return _decode(content)
        except (OSError, RuntimeError, ValueError):
            return None

    def write(self, key: str, output: Any) -> None:
        """Keep an output, a nest of tuples, lists and dicts of tensors on the CPU."""
        if not self.writing:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._check_space()
            # a name of its own: two that write the same image must not write into one file
            descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=self.folder)
            try:
                with open(descriptor, 'wb') as file:
                    file.write(_encode(output))
                os.replace(temporary, self.folder / key)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            self.writing = False
            MMLogger.get_current_instance().warning(
                f'guide_cache_dir: nothing more is written to {self.folder}: {error.strerror or error}. '
                'Training goes on; what is not there is computed'
            )

    def _check_space(self) -> None:
        if shutil.disk_usage(self.folder).free < SPARE:
            raise OSError(f'less than {SPARE / 2**30:g} GiB of the disk are free')


def _encode(output: Any) -> bytes:
    leaves, tree = pytree.tree_flatten(output)
    parts, described = [], []
    for leaf in leaves:
        data = leaf.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        described.append([str(leaf.dtype).removeprefix('torch.'), list(leaf.shape)])
        parts.append(data + bytes(-len(data) % BLOCK))
    header = json.dumps(dict(tree=pytree.treespec_dumps(tree), leaves=described)).encode()
    head = len(header).to_bytes(4, 'little') + header
    content = b''.join([head, bytes(-(4 + len(head)) % BLOCK), *parts])
    return zlib.crc32(content).to_bytes(4, 'little') + content


def _decode(content: Tensor) -> Any:
    """Raises ValueError where the bytes are not whole, or not those of an output."""
    data = memoryview(content.numpy().data)
    if zlib.crc32(data[4:]) != int.from_bytes(data[:4], 'little'):
        raise ValueError('damaged')
    end = 8 + int.from_bytes(data[4:8], 'little')
    header = json.loads(bytes(data[8:end]))
    leaves, start = [], end + -end % BLOCK
    for name, shape in header['leaves']:
        dtype = getattr(torch, name)
        size = torch.Size(shape).numel() * dtype.itemsize
        leaves.append(content[start : start + size].view(dtype).view(shape))
        start += size + -size % BLOCK
    return pytree.tree_unflatten(leaves, pytree.treespec_loads(header['tree']))
