"""A detector over many images: read ahead in threads, batches, a bad image is skipped and named."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import DataError
from .detector import Detector, Prediction
from .images import Prepared
from .inputs import Item
from .outputs import FORMATS


@dataclass
class Summary:
    """What a run did.

    Attributes:
        images, boxes: images looked at, boxes written. hr: images that were taken for HR ones.
        skipped: a line for each image that was not. seconds: of the whole run.
    """

    images: int = 0
    boxes: int = 0
    hr: int = 0
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0


def infer(
    detector: Detector,
    items: Iterable[Item],
    out_dir: str | Path,
    formats: Sequence[str] = ('pictures',),
    score: float | None = None,
    batch: int = 8,
    readers: int = 2,
    tell: Callable[[Item, str | None], None] = lambda item, problem: None,
) -> Summary:
    """Run over images and write what was found.

    Args:
        formats: keys of `outputs.FORMATS`.
        score: least score of a detection that counts; None: the description's.
        readers: threads that read and resize ahead of the network.
        tell: called after each image, with the reason where it was skipped.
    """
    least = detector.description.shown_score if score is None else score
    writers = [kind(Path(out_dir) / folder, detector.classes) for kind, folder in (FORMATS[name] for name in formats)]
    summary, start = Summary(), time.perf_counter()
    try:
        for group in _batches(_read_ahead(detector, items, readers, 2 * batch), batch, summary, tell):
            found = detector.detect([prepared for _, _, prepared in group])
            for (item, image, _), prediction in zip(group, found, strict=True):
                kept = _shown(prediction, least, image.shape)
                for writer in writers:
                    writer.add(item, image, kept)
                summary.images += 1
                summary.boxes += len(kept.scores)
                summary.hr += kept.source == 'hr'
                tell(item, None)
    finally:
        for writer in writers:
            writer.close()
        summary.seconds = time.perf_counter() - start
    return summary


Read = tuple[Item, np.ndarray, Prepared]


def _read_ahead(detector: Detector, items: Iterable[Item], readers: int, ahead: int) -> Iterator[tuple[Item, Future]]:
    def read(item: Item) -> tuple[np.ndarray, Prepared]:
        image = item.load()
        try:
            return image, detector.prepare(image)
        except DataError as error:
            raise DataError(f'image {item.file}: {error}') from error

    with ThreadPoolExecutor(readers) as pool:
        waiting: collections.deque[tuple[Item, Future]] = collections.deque()
        for item in items:
            waiting.append((item, pool.submit(read, item)))
            if len(waiting) > ahead:
                yield waiting.popleft()
        yield from waiting


def _batches(
    reading: Iterable[tuple[Item, Future]], size: int, summary: Summary, tell: Callable[[Item, str | None], None]
) -> Iterator[list[Read]]:
    """Images that could be read, `size` at a time; the others go to the summary."""
    group: list[Read] = []
    for item, future in reading:
        try:
            group.append((item, *future.result()))
        except DataError as error:
            summary.skipped.append(str(error))
            tell(item, str(error))
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _shown(found: Prediction, score: float, shape: tuple[int, ...]) -> Prediction:
    """What is written: at least that score, and nothing outside the file, in what HR images are padded with."""
    height, width = shape[:2]
    boxes = np.clip(found.boxes, 0, (width, height, width, height)).astype(found.boxes.dtype)
    shown = (found.scores >= score) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return Prediction(found.seen, boxes[shown], found.scores[shown], found.labels[shown], found.source)
