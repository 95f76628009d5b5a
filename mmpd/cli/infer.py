"""Find objects in images, folders, videos: draw them, and write COCO JSON, VOC XML, YOLO text or CSV. Or upscale them.

mmpd infer voc_lite0_160 photo.jpg                                a model that mmpd brings (models/README.md)
mmpd infer work_dirs/pd_voc/student lr/*.jpg                      a stage's folder or a deploy folder
mmpd infer deploy/student.onnx photos --format pictures coco      an exported file: without torch and mmdet
mmpd infer configs/pd_voc.py student_best.pth hr/0001.jpg         a config and weights
mmpd infer work_dirs/dukd_edsr_x4/student photos                  super-resolution: each image, four times as large
Images: files, folders, globs in quotes, videos, camera:0, or - for a list on stdin. Native LR images are taken as they
are, larger ones are reduced as in training. A file that is no image is named and skipped, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, DataError
from ..paths import model_path
from .arguments import add_options, check_counts, config_path, device_of, options

if TYPE_CHECKING:
    from ..evaluation.writers import Writer
    from ..io.deploy_folder import Source
    from ..runtime.inputs import Item

FORMATS = ('pictures', 'coco', 'voc', 'yolo', 'csv')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'model',
        help='the name of a model that mmpd brings, a folder with deploy.json, an exported .onnx or .xml file, weights '
        'in such a folder; or a config (then the next argument is its checkpoint)',
    )
    parser.add_argument('images', nargs='+', help='what to look at')
    parser.add_argument('--out-dir', default='work_dirs/infer', help='where results go (%(default)s)')
    parser.add_argument('--format', nargs='+', choices=FORMATS, help="what to write (['pictures'])")
    parser.add_argument('--score', type=float, help='least score of a box (default: that of the model, 0.3)')
    parser.add_argument(
        '--input',
        choices=['auto', 'lr', 'hr'],
        help='what the images are: native LR ones, HR ones to be reduced, or (auto) the one that is nearer in size; '
        'default: auto, with a config what its pipeline says',
    )
    parser.add_argument('--batch', type=int, help='images at a time (8)')
    parser.add_argument('--tile', type=int, help='super-resolution: side of a tile, LR pixels; 0: no tiles (256)')
    parser.add_argument('--threads', type=int, help='of the network; default: all cores, or OMP_NUM_THREADS')
    parser.add_argument('--device', help="of weights: 'cpu', 'cuda:0', …; default: a GPU where there is one")
    parser.add_argument('--max-frames', type=int, help='stop a video or a camera after so many frames')
    parser.add_argument('--stage', help='another stage of a chain config')
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Returns 1 where an input was skipped."""
    check_counts(args, 'batch', 'threads', 'max_frames')
    if args.score is not None and not 0 <= args.score <= 1:
        raise ConfigError(f'--score {args.score}: give a score from 0 to 1')
    if args.device and args.device != 'cpu':
        with suppress(ModuleNotFoundError):  # an exported file needs no torch, and says itself that it has one device
            device_of(args.device)
    from rich.console import Console

    from ..runtime.infer import infer
    from ..runtime.inputs import find_inputs

    source = _source(args)
    writer = _writer(source, args)
    if args.tile is not None and not writer:
        raise ConfigError(f'--tile {args.tile} is for super-resolution: leave it out')
    detector: Any = None if writer else _detector(source, args)
    inputs = find_inputs(args.images, sys.stdin or ())
    if not inputs.files and not inputs.streams:
        raise DataError('; '.join(inputs.problems) or 'the list of images on stdin is empty')
    console, errors = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    for problem in inputs.problems:
        errors.print(f'skipped: {problem}', markup=False, style='red')
    with _progress(console, None if inputs.streams else len(inputs.files)) as step:

        def tell(item, problem: str | None) -> None:
            step()
            if problem:
                errors.print(f'skipped: {problem}', markup=False, style='red')

        items = inputs.items(args.max_frames)
        if writer:
            return _write(writer, items, args.out_dir, tell, console, len(inputs.problems))
        summary = infer(
            detector, items, args.out_dir, args.format or ['pictures'], args.score, args.batch or 8, tell=tell
        )
    skipped = len(summary.skipped) + len(inputs.problems)
    console.print(
        f'{summary.images} images ({summary.hr} reduced from HR), {summary.boxes} boxes, {skipped} skipped, '
        f'{summary.images / max(summary.seconds, 1e-9):.1f} images/s → {args.out_dir}',
        markup=False,
    )
    return int(skipped > 0)


def _source(args: argparse.Namespace) -> Source | None:
    """The network of a config and its checkpoint, or of a stage's folder that the runtime cannot read; else None."""
    if not args.model.endswith('.py'):
        for option in ('stage', 'cfg_options'):
            if getattr(args, option):
                raise ConfigError(f'--{option.replace("_", "-")} is for a config; {args.model} is none')
        folder = model_path(args.model)
        if not (folder / 'deploy.py').is_file() or (folder / 'deploy.json').is_file():
            return None
        from ..io.deploy_folder import find_source

        return find_source(folder)
    path = config_path(args.model)
    checkpoint, *args.images = args.images
    if not args.images:
        raise ConfigError(f'{args.model} is a config: give its checkpoint and then the images')
    from .. import register  # noqa: F401
    from ..io.deploy_folder import find_source

    return find_source(path, checkpoint, args.stage, options(args.cfg_options))


def _writer(source: Source | None, args: argparse.Namespace) -> Writer | None:
    """What makes images of images, where the network is of such a task."""
    if source is None:
        return None
    from ..evaluation.writers import writer_of

    given = {key: getattr(args, key) for key in ('tile', 'score', 'format', 'input', 'batch')}
    given = {key: value for key, value in given.items() if value is not None}
    _use_threads(args)
    return writer_of(source.deploy, source.weights, args.device, **given)


def _write(writer: Writer, items: Iterable[Item], out_dir: str, tell: Callable, console: Any, skipped: int) -> int:
    """Write `<out_dir>/<name>.png` of each image; returns 1 where one was skipped."""
    from ..runtime.images import write_image

    for item in items:
        problem = None
        try:
            image = item.load()
            result = writer(image)
            target = Path(out_dir, f'{item.name}.png')
            target.parent.mkdir(parents=True, exist_ok=True)
            write_image(target, result)
            console.print(
                f'{item.name}.png: {image.shape[1]}×{image.shape[0]} → {result.shape[1]}×{result.shape[0]}',
                markup=False,
            )
        except DataError as error:
            problem, skipped = str(error), skipped + 1
        tell(item, problem)
    return int(skipped > 0)


def _use_threads(args: argparse.Namespace) -> None:
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)


def _detector(source: Source | None, args: argparse.Namespace):
    from ..runtime.detector import Detector

    if source is None:
        return Detector(args.model, args.threads, args.device, args.input or 'auto')
    from ..evaluation.measure import network_of
    from ..evaluation.predict import TorchBackend, build_network, reduce_hr

    _use_threads(args)
    backend = TorchBackend(build_network(network_of(source.deploy), source.weights, args.device))
    path = Path(args.model)
    kind = 'auto' if path.is_dir() else 'hr' if source.reduces and path.name != 'deploy.py' else 'lr'
    return Detector.of(source.describe(), backend, reduce_hr, args.input or kind)


def _progress(console, total: int | None):
    """A bar with the rate, as a context that gives a function to call after each image."""
    from contextlib import contextmanager

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    @contextmanager
    def bar():
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn('{task.fields[rate]}'), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task('infer', total=total, rate='')

            def step() -> None:
                progress.advance(task)
                speed = progress.tasks[0].speed
                progress.update(task, rate=f'{speed:.1f} images/s' if speed else '')

            yield step

    return bar()
