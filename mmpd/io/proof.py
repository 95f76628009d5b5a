"""How an exported file agrees with PyTorch, and how fast both are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import CheckpointError
from ..runtime.description import Description
from ..runtime.detector import Backend, Detector, Prediction
from ..runtime.images import Prepared
from .agreement import Agreement, Cuts, Found, compare


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one image, network and NMS, without reading the file."""

    name: str
    median: float
    p95: float
    threads: int
    images: int


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
