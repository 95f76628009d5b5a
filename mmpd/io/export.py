"""A student as an ONNX file that is proved to find what PyTorch finds, in a folder that describes itself."""

from __future__ import annotations

import copy
import dataclasses
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import init_default_scope

from ..errors import DataError
from ..evaluation.measure import network_of
from ..evaluation.predict import Predictor, TorchBackend, build_network
from ..runtime.backends import Raw
from ..runtime.detector import Backend, Detector, Prediction
from .agreement import Agreement
from .deploy_folder import Source, write_description
from .onnx_file import padded, write_onnx, write_openvino
from .proof import Latency, latency, prove
from .write import write_atomic

CHECK_IMAGES = 50


@dataclass(frozen=True)
class Exported:
    """What an export left: the folder, its .onnx file, how it agreed with PyTorch (one by one, and in batches of two
    sizes), and how fast both are; `openvino`: the same of the .xml file that was asked for; `left_out`: how many images
    were not compared because they do not fit into its one size."""

    folder: Path
    onnx: Path
    agreement: Agreement
    batch: Agreement
    latencies: tuple[Latency, ...]
    openvino: tuple[Path, Agreement, Agreement] | None = None
    left_out: int = 0


def export(
    source: Source,
    folder: str | Path,
    images: Sequence[str | Path] | None = None,
    fixed: bool = False,
    simplify: bool = True,
    openvino: bool = False,
) -> Exported:
    """Write `<name>.onnx`, weights, `deploy.py` and `deploy.json` into `folder`.

    A file is written beside its place, compared with PyTorch on `images`, and takes its place only if both find the
    same (`agreement.py` has the tolerances); otherwise it is deleted.

    Args:
        images: to compare on; default: the first `CHECK_IMAGES` of the source's own test set.
        fixed: one image at a time, of the one size that `description.size` needs; else any batch and size.
        openvino: write `<name>.xml` and `<name>.bin` as well, compared in the same way.

    Raises:
        ConfigError: the detector has a part that cannot be exported; says which.
        CheckpointError: the exported file does not find what PyTorch finds; says what differs.
    """
    folder = Path(folder)
    named = list(images) if images is not None else test_images(source)[:CHECK_IMAGES]
    if not named:
        raise DataError('no image to compare on: the test set is empty, give --images')
    network = network_of(source.bench if source.bench and source.reduces else source.deploy)
    model = build_network(network, source.weights, 'cpu')
    description = source.describe()
    if fixed:
        description = dataclasses.replace(description, fixed=padded(description.size, model))
    description = dataclasses.replace(
        description, onnx=f'{source.name}.onnx', weights=f'{source.name}.pth', config='deploy.py'
    )
    folder.mkdir(parents=True, exist_ok=True)
    final, temporary = folder / f'{source.name}.onnx', folder / f'.{source.name}.tmp.onnx'
    xml = temporary.with_suffix('.xml')
    try:
        write_onnx(model, description, temporary, simplify)
        detector = _open(temporary, source)
        paths = detector.that_fit(named)
        if not paths:
            raise DataError(f'none of {len(named)} images fits into {description.fixed}: give others with --images')
        plain: Backend = TorchBackend(model)
        reference: Callable[[str | Path], Prediction] = Predictor(network, source.weights, 'cpu')
        if description.fixed:
            plain = FixedSize(plain, description.fixed)
            reference = _with_backend(detector, plain)
        agreements = prove(detector, reference, plain, paths)
        runs = [('PyTorch', plain), ('ONNX Runtime', detector.backend)]
        converted = None
        if openvino:
            write_openvino(temporary, description, xml)
            other = _open(xml, source)
            converted = (final.with_suffix('.xml'), *prove(other, reference, plain, paths))
            runs.append(('OpenVINO', other.backend))
            xml.with_suffix('.bin').replace(final.with_suffix('.bin'))
            xml.replace(final.with_suffix('.xml'))
        temporary.replace(final)
    finally:
        for file in (temporary, xml, xml.with_suffix('.bin')):
            file.unlink(missing_ok=True)
    if source.weights.resolve() != (folder / f'{source.name}.pth').resolve():
        shutil.copyfile(source.weights, folder / f'{source.name}.pth')
    write_atomic(source.deploy.pretty_text.encode(), folder / 'deploy.py')
    write_description(description, folder)
    prepared = [detector.prepare(path) for path in paths]
    latencies = tuple(latency(name, backend, prepared, torch.get_num_threads()) for name, backend in runs)
    return Exported(folder, final, *agreements, latencies, converted, len(named) - len(paths))


def _open(file: Path, source: Source) -> Detector:
    return Detector(file, torch.get_num_threads(), source='hr' if source.reduces else 'lr')


def test_images(source: Source) -> list[str]:
    """Image files of the source's own test set, in its order."""
    config = network_of(source.bench or source.deploy).config
    init_default_scope(config.get('default_scope', 'mmdet'))
    return source.files(config.test_dataloader.dataset)


class FixedSize:
    """PyTorch with every image padded to one size: a black second image of that size sets the size of the batch."""

    def __init__(self, backend: Backend, size: tuple[int, int]) -> None:
        self.backend = backend
        self.blank = np.zeros((size[1], size[0], 3), np.uint8)

    def __call__(self, images: Sequence[np.ndarray]) -> list[Raw]:
        return [self.backend([image, self.blank])[0] for image in images]


def _with_backend(detector: Detector, backend: Backend) -> Callable[[str | Path], Prediction]:
    other = copy.copy(detector)
    other.backend = backend
    return lambda path: other([path])[0]
