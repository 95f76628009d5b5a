"""Weights into a network, by name and shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from ..errors import CheckpointError
from .read import PathLike, dataset_meta, load_checkpoint, model_state

_SHOWN = 4  # keys listed in a message


@dataclass
class LoadReport:
    """What `load_into` did. Keys are those of the module."""

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # in the network, not in the file
    unexpected: list[str] = field(default_factory=list)  # in the file, not in the network
    mismatched: list[tuple[str, tuple, tuple]] = field(default_factory=list)  # key, shape in the file, in the network

    def __str__(self) -> str:
        shapes = [f'{key} {file} → {net}' for key, file, net in self.mismatched]
        parts = [f'{len(self.loaded)} tensors fit']
        for name, keys in (
            ('missing in the file', self.missing),
            ('not in the network', self.unexpected),
            ('other shape (file → network)', shapes),
        ):
            if keys:
                more = ', …' if len(keys) > _SHOWN else ''
                parts.append(f'{len(keys)} {name}: {", ".join(keys[:_SHOWN])}{more}')
        return '; '.join(parts)


def load_into(module: nn.Module, path: PathLike, partial: bool = False, part: str | None = None) -> LoadReport:
    """Copy the weights in `path` into `module`, by name and shape.

    Args:
        partial: False: everything must fit. True (`init_from`): copy what fits; the report and the log list the rest.
        part: as `model_state`.
    Raises:
        CheckpointError: something does not fit (`partial=False`; a wrong shape is found before anything is copied), or
            fewer than half of the network's tensors would be set (`partial=True`). Says the likely cause.
    """
    checkpoint = load_checkpoint(path)
    try:
        state = model_state(checkpoint, part)
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from error
    if partial:
        _adapt(module, state)
        rename_to_first_neck(module, state)
        move_to_finer_pyramid(module, state)
    report = compare(module, state)
    if not partial and report.mismatched:
        raise CheckpointError(_misfit(path, report, checkpoint))
    fitting = {key: state[key] for key in report.loaded}
    if partial:
        if 2 * len(fitting) < len(module.state_dict()):
            raise CheckpointError(f'{path} fits less than half of the network. {_misfit(path, report, checkpoint)}')
        module.load_state_dict(fitting, strict=False)
        print_log(f'Initialised from {path}: {report}', 'current')
        return report
    # By torch, not by the comparison: modules rename keys of older versions in their own load hooks.
    left_out = module.load_state_dict(state, strict=False)
    report.missing, report.unexpected = list(left_out.missing_keys), list(left_out.unexpected_keys)
    if report.missing or report.unexpected:
        raise CheckpointError(_misfit(path, report, checkpoint))
    return report


def _adapt(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Let the module's own load hooks change `state` in place before shapes are compared: a vision transformer brings
    the position embedding to its grid, which would else be left out for its shape."""
    for name, part in module.named_modules():
        for hook in part._load_state_dict_pre_hooks.values():
            hook(state, f'{name}.' if name else '', {}, False, [], [], [])


_NECK_CONV = re.compile(r'neck\.(?:0\.)?(?:lateral|fpn)_convs\.(\d+)\.')


def rename_to_first_neck(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Where `module` has several necks and `state` one, give that one the name of the first, in place."""
    if any(key.startswith('neck.0.') for key in module.state_dict()) and not any(
        key.startswith('neck.0.') for key in state
    ):
        for key in [key for key in state if key.startswith('neck.')]:
            state[key.replace('neck.', 'neck.0.', 1)] = state.pop(key)


def move_to_finer_pyramid(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Where `module`'s FPN starts finer than that of `state`, move the neck's convolutions to the backbone levels that
    they were trained on, in place.

    Index 0 is the finest level of either, so by name every lateral convolution would meet another width, and be left
    out. What is finer than the file starts from the file's finest 3×3 convolution.
    """
    own = module.state_dict()
    have, want = _lateral_widths(state), _lateral_widths(own)
    shift = len(want) - len(have)
    if shift <= 0 or not have or want[shift:] != have:
        return
    moved = {}
    for key in [key for key in state if _NECK_CONV.match(key)]:
        index = int(_NECK_CONV.match(key)[1])  # type: ignore[index]
        tensor = state[key] if index == 0 and 'fpn_convs' in key else state.pop(key)
        moved[key.replace(f'_convs.{index}.', f'_convs.{index + shift}.', 1)] = tensor
    # a coarsest level that the module lacks stays behind
    state.update({key: tensor for key, tensor in moved.items() if key in own})


def _lateral_widths(state: Mapping[str, Tensor]) -> list[tuple[int, ...]]:
    """Shapes of an FPN's lateral convolutions, finest first; [] where there is none."""
    keys = sorted(key for key in state if re.fullmatch(r'neck\.(?:0\.)?lateral_convs\.\d+\.conv\.weight', key))
    return [tuple(state[key].shape) for key in keys]


def compare(module: nn.Module, state: Mapping[str, Tensor]) -> LoadReport:
    """Which tensors of `state` fit `module` by name and shape; nothing is copied."""
    own = module.state_dict()
    report = LoadReport(
        missing=[key for key in own if key not in state], unexpected=[key for key in state if key not in own]
    )
    for key in own.keys() & state.keys():
        if own[key].shape == state[key].shape:
            report.loaded.append(key)
        else:
            report.mismatched.append((key, tuple(state[key].shape), tuple(own[key].shape)))
    report.loaded.sort()
    report.mismatched.sort()
    return report


def _misfit(path: PathLike, report: LoadReport, checkpoint: Mapping[str, Any]) -> str:
    return f'checkpoint {path} does not fit the network: {report}. Likely cause: {_likely_cause(report, checkpoint)}'


def _likely_cause(report: LoadReport, checkpoint: Mapping[str, Any]) -> str:
    """Only the number of output channels of the classification layers differs ↔ other classes."""
    heads = [
        key for key, file, net in report.mismatched if file[1:] == net[1:] and re.search(r'cls|fc|logit|head', key)
    ]
    if heads and len(heads) == len(report.mismatched) and not report.missing and not report.unexpected:
        classes = dataset_meta(checkpoint).get('classes')
        known = f' (the file: {len(classes)} classes, {", ".join(classes[:3])}, …)' if classes else ''
        return f"another number of classes{known}; set num_classes and the data set's classes as in the file"
    return 'another architecture: the config of this network is not the one the file was trained with'
