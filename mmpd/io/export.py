"""A student as an ONNX file that is proved to find what PyTorch finds, in a folder that describes itself."""

from __future__ import annotations

import copy
import dataclasses
import logging
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import init_default_scope

from ..errors import CheckpointError, ConfigError, DataError
from ..evaluation.measure import network_of
from ..evaluation.predict import Predictor, TorchBackend, build_network
from ..runtime.backends import Raw, import_openvino
from ..runtime.description import METADATA_KEY, PACKED_KEY, Description
from ..runtime.detector import Backend, Detector, Prediction
from ..runtime.images import Prepared
from .agreement import Agreement, Cuts, Found, compare
from .deploy_folder import Source, write_description
from .onnx_graph import DetectorGraph
from .write import write_atomic

OPSET = 17
CHECK_IMAGES = 50
INPUTS, OUTPUTS = ('images', 'sizes'), ('boxes', 'scores', 'labels')


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one image, network and NMS, without reading the file."""

    name: str
    median: float
    p95: float
    threads: int
    images: int


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
        description = dataclasses.replace(description, fixed=_padded(description.size, model))
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


def prove(
    detector: Detector, reference: Callable[[str | Path], Prediction], plain: Backend, paths: Sequence[str | Path]
) -> tuple[Agreement, Agreement]:
    """How an exported file agrees with PyTorch, one by one and in batches.

    Raises:
        CheckpointError: it does not; says in what.
    """
    agreements = check_files(detector, reference, paths), check_batches(detector, plain, paths)
    if not (agreements[0].detections or agreements[0].odd or agreements[0].ties):
        raise CheckpointError(
            f'PyTorch finds nothing on {len(paths)} images, so the exported file cannot be compared with it and was '
            f'deleted: train longer (least score of a detection: {detector.description.score_threshold:g})'
        )
    for what, result in zip(('one by one', 'in batches of two sizes'), agreements, strict=True):
        if not result.holds:
            raise CheckpointError(
                f'the exported file does not find what PyTorch finds, so it was deleted. Images {what}: {result}. '
                + ('' if detector.description.fixed else 'A backbone that fixes its input size (Swin) needs --fixed')
            )
    return agreements


def test_images(source: Source) -> list[str]:
    """Image files of the source's own test set, in its order."""
    config = network_of(source.bench or source.deploy).config
    init_default_scope(config.get('default_scope', 'mmdet'))
    return source.files(config.test_dataloader.dataset)


def write_onnx(model: Any, description: Description, file: Path, simplify: bool = True) -> None:
    """Export a detector with its description inside.

    Raises:
        ConfigError: a package is missing, or the detector cannot be exported; says why.
    """
    try:
        import onnx
        import onnxslim
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed: pip install 'mmpd[export]'") from error
    graph = DetectorGraph(model)
    width, height = description.fixed or _padded(description.size, model)
    count = 1 if description.fixed else 2
    images = torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=torch.Generator())
    sizes = torch.tensor([[height, width], [height - 1, width - 1]])[:count]
    batch = {name: {0: 'batch'} for name in (*INPUTS, *OUTPUTS)}
    batch['images'] |= {1: 'height', 2: 'width'}
    with _quiet():
        torch.onnx.export(
            graph,
            (images, sizes),
            str(file),
            dynamo=False,  # the NMS and the dynamic sizes are written for the tracer
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes=None if description.fixed else batch,
        )
    content = onnx.load(file)
    if simplify:
        content = onnxslim.slim(content)
    save_onnx(content, description, file)


def save_onnx(content: Any, description: Description, file: str | Path, packed: bool = False) -> None:
    """Write a graph with its description inside, and whether its weights are packed (see `pack.py`)."""
    import onnx

    marks = {PACKED_KEY: '1'} if packed else {}
    onnx.helper.set_model_props(content, {METADATA_KEY: description.to_json(), **marks})
    onnx.checker.check_model(content)
    onnx.save(content, file)


def write_openvino(onnx: Path, description: Description, xml: Path) -> None:
    """`xml` and, beside it, its weights, of an .onnx file; single precision, with the description inside.

    Raises:
        ConfigError: openvino is not installed.
    """
    module = import_openvino()
    content = module.Core().read_model(str(onnx))
    content.set_rt_info(description.to_json(), [METADATA_KEY])
    module.save_model(content, str(xml), compress_to_fp16=False)


def _padded(size: tuple[int, int], model: Any) -> tuple[int, int]:
    divisor = model.data_preprocessor.pad_size_divisor
    width, height = (-(-side // divisor) * divisor for side in size)
    return width, height


@contextmanager
def _quiet() -> Iterator[None]:
    """The tracer warns of every shape that the graph handles on purpose."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield
    logger.setLevel(level)


def check_files(
    detector: Detector, reference: Callable[[str | Path], Prediction], paths: Sequence[str | Path]
) -> Agreement:
    """From file to boxes, one image at a time; the network's input must be equal to the pixel.

    Raises:
        CheckpointError: the runtime prepares an image in another way than the test pipeline.
    """
    pairs = []
    for path in paths:
        ours, theirs = detector([path])[0], reference(path)
        if not np.array_equal(ours.seen, theirs.seen):
            raise CheckpointError(f'the runtime gives the network other pixels of {path} than the test pipeline')
        pairs.append((_found(theirs), _found(ours)))
    return compare(pairs, cuts_of(detector.description))


def check_batches(detector: Detector, reference: Backend, paths: Sequence[str | Path]) -> Agreement:
    """Two images of different sizes as one batch (the second is cut to three quarters), up to 8 images; boxes in
    pixels of the network."""
    pairs = []
    prepared = [detector.prepare(path).image for path in paths[:8]]
    for first, second in zip(prepared[::2], prepared[1::2] or prepared, strict=False):
        height, width = second.shape[:2]
        batch = [first, second[: height * 3 // 4, : width * 3 // 4]]
        pairs += [
            (Found(*theirs), Found(*ours))
            for theirs, ours in zip(reference(batch), detector.backend(batch), strict=True)
        ]
    return compare(pairs, cuts_of(detector.description))


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


def _found(prediction: Prediction) -> Found:
    return Found(prediction.boxes, prediction.scores, prediction.labels)


def cuts_of(description: Description) -> Cuts:
    return Cuts(description.score_threshold, description.iou_threshold, description.max_per_image)


def latency(name: str, backend: Backend, images: Sequence[Prepared], threads: int, least: int = 30) -> Latency:
    """Time of single images, each at least once and `least` times in all, after three that are not counted."""
    arrays = [one.image for one in images]
    for image in arrays[:3]:
        backend([image])
    seconds = []
    for index in range(max(least, len(arrays))):
        start = time.perf_counter()
        backend([arrays[index % len(arrays)]])
        seconds.append(time.perf_counter() - start)
    median, p95 = (1000 * float(value) for value in np.percentile(seconds, (50, 95)))
    return Latency(name, median, p95, threads, len(seconds))
