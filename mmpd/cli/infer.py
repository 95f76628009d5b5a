"""Find objects in images, folders, videos: draw them, and write COCO JSON, VOC XML, YOLO text or CSV.

mmpd infer work_dirs/pd_voc/student lr/*.jpg                      a stage's folder or a deploy folder
mmpd infer deploy/student.onnx photos --format pictures coco      an exported file: without torch and mmdet
mmpd infer configs/pd_voc.py student_best.pth hr/0001.jpg         a config and weights
Images: files, folders, globs in quotes, videos, camera:0, or - for a list on stdin. Native LR images are taken as they
are, larger ones are reduced as in training. A file that is no image is named and skipped, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys

from ..errors import ConfigError, DataError
from .arguments import add_options, config_path, options

FORMATS = ('pictures', 'coco', 'voc', 'yolo', 'csv')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('model', help="a folder with deploy.json, an .onnx file, weights in such a folder; or a config "
                        '(then the next argument is its checkpoint)')  # fmt: skip
    parser.add_argument('images', nargs='+', help='what to look at')
    parser.add_argument('--out-dir', default='work_dirs/infer', help='where results go (%(default)s)')
    parser.add_argument(
        '--format', nargs='+', choices=FORMATS, default=['pictures'], help='what to write (%(default)s)'
    )
    parser.add_argument('--score', type=float, help='least score of a box (default: that of the model, 0.3)')
    parser.add_argument(
        '--input',
        choices=['auto', 'lr', 'hr'],
        help='what the images are: native LR ones, HR ones to be reduced, or (auto) the one that is nearer in size; '
        'default: auto, with a config what its pipeline says',
    )
    parser.add_argument('--batch', type=int, default=8, help='images at a time (%(default)s)')
    parser.add_argument('--threads', type=int, help='of the network; default: all cores, or OMP_NUM_THREADS')
    parser.add_argument('--device', help="of weights: 'cpu', 'cuda:0', …; default: a GPU where there is one")
    parser.add_argument('--max-frames', type=int, help='stop a video or a camera after so many frames')
    parser.add_argument('--stage', help='another stage of a chain config')
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Returns 1 where an input was skipped."""
    if args.batch < 1:
        raise ConfigError(f'--batch {args.batch}: give 1 or more')
    from rich.console import Console

    from ..runtime.infer import infer
    from ..runtime.inputs import find_inputs

    detector = _detector(args)
    inputs = find_inputs(args.images, sys.stdin)
    if not inputs.files and not inputs.streams:
        raise DataError('; '.join(inputs.problems))
    console, errors = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    for problem in inputs.problems:
        errors.print(f'skipped: {problem}', markup=False, style='red')
    with _progress(console, None if inputs.streams else len(inputs.files)) as step:

        def tell(item, problem: str | None) -> None:
            step()
            if problem:
                errors.print(f'skipped: {problem}', markup=False, style='red')

        summary = infer(
            detector, inputs.items(args.max_frames), args.out_dir, args.format, args.score, args.batch, tell=tell
        )
    skipped = len(summary.skipped) + len(inputs.problems)
    console.print(
        f'{summary.images} images ({summary.hr} reduced from HR), {summary.boxes} boxes, {skipped} skipped, '
        f'{summary.images / max(summary.seconds, 1e-9):.1f} images/s → {args.out_dir}',
        markup=False,
    )
    return int(skipped > 0)


def _detector(args: argparse.Namespace):
    from ..runtime.detector import Detector

    if not args.model.endswith('.py'):
        for option in ('stage', 'cfg_options'):
            if getattr(args, option):
                raise ConfigError(f'--{option.replace("_", "-")} is for a config; {args.model} is none')
        return Detector(args.model, args.threads, args.device, args.input or 'auto')
    path = config_path(args.model)
    checkpoint, *args.images = args.images
    if not args.images:
        raise ConfigError(f'{args.model} is a config: give its checkpoint and then the images')
    from .. import register  # noqa: F401
    from ..evaluation.measure import network_of
    from ..evaluation.predict import TorchBackend, build_network, reduce_hr
    from ..io.deploy_folder import find_source

    source = find_source(path, checkpoint, args.stage, options(args.cfg_options))
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    backend = TorchBackend(build_network(network_of(source.deploy), source.weights, args.device))
    kind = args.input or ('hr' if source.bench and path.name != 'deploy.py' else 'lr')
    return Detector.of(source.describe(), backend, reduce_hr, kind)


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
