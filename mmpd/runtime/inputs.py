"""What a user names as input: files, folders, globs, videos, a camera, a list on stdin; each image has its own name."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..errors import DataError
from .images import read_image

IMAGES = {'.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm'}
VIDEOS = {'.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg'}


@dataclass(frozen=True)
class Item:
    """One image to look at.

    Attributes:
        name: relative path without suffix, unique in a run: outputs are called so.
        file: what to tell the user and to write into results.
        load: (h, w, 3) uint8 RGB; raises DataError.
    """

    name: str
    file: str
    load: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Inputs:
    """What the arguments of a run mean.

    Attributes:
        files: image files, each once. streams: videos and cameras. problems: arguments that are nothing.
    """

    files: tuple[Path, ...]
    streams: tuple[str, ...]
    problems: tuple[str, ...]

    def items(self, most_frames: int | None = None) -> Iterator[Item]:
        """Files first, then the frames of each stream (at most `most_frames` of one).

        Raises:
            DataError: a stream cannot be opened.
        """
        names = output_names(self.files)
        for file in self.files:
            yield Item(names[file], str(file), lambda file=file: read_image(file))  # type: ignore[misc]
        folders = {name.partition('/')[0] for name in names.values() if '/' in name}
        for stream, name in zip(self.streams, stream_names(self.streams, folders), strict=True):
            yield from _frames(stream, name, most_frames)


def find_inputs(arguments: Iterable[str], stdin: Iterable[str] = ()) -> Inputs:
    """Sort arguments into image files, streams, and what cannot be used.

    Args:
        arguments: files, folders (searched to the bottom), globs in quotes (`**` too), videos, `camera:0`, or `-` for
            one argument per line of `stdin`.
    """
    files: dict[Path, None] = {}
    streams: dict[str, None] = {}
    problems: list[str] = []
    for argument in _lines(arguments, stdin):
        path = Path(argument)
        if argument.startswith('camera:'):
            streams[argument] = None
        elif path.is_dir():
            found = sorted(file for file in path.rglob('*') if file.suffix.lower() in IMAGES and file.is_file())
            files.update(dict.fromkeys(found))
            if not found:
                problems.append(f'{argument}: no image in this folder')
        elif path.is_file() and path.suffix.lower() in VIDEOS:
            streams[argument] = None
        elif path.is_file():
            files[path] = None
        elif glob.has_magic(argument):
            found = sorted(Path(name) for name in glob.glob(argument, recursive=True) if os.path.isfile(name))
            files.update(dict.fromkeys(found))
            if not found:
                problems.append(f'{argument}: no file fits')
        else:
            problems.append(f'{argument}: no such file or folder')
    return Inputs(tuple(files), tuple(streams), tuple(problems))


def _lines(arguments: Iterable[str], stdin: Iterable[str]) -> Iterator[str]:
    for argument in arguments:
        if argument == '-':
            yield from (line.strip() for line in stdin if line.strip())
        else:
            yield argument


def output_names(files: Iterable[Path]) -> dict[Path, str]:
    """A name for each file: its path below the folder that all have in common, without suffix unless two would be equal
    (`cam1/0001` and `cam2/0001`; `0001.jpg` and `0001.png`). Letter case does not tell names apart."""
    files = list(files)
    absolute = {file: Path(os.path.abspath(file)) for file in files}
    root = os.path.commonpath([path.parent for path in absolute.values()]) if files else ''
    relative = {file: path.relative_to(root) for file, path in absolute.items()}
    count: dict[str, int] = {}
    for path in relative.values():
        short = path.with_suffix('').as_posix().lower()
        count[short] = count.get(short, 0) + 1
    names = {}
    for file, path in relative.items():
        short = path.with_suffix('').as_posix()
        names[file] = short if count[short.lower()] == 1 else path.as_posix()
    return names


def stream_names(streams: Iterable[str], folders: Iterable[str] = ()) -> list[str]:
    """A folder for the frames of each stream: its name without suffix, numbered where that is one of `folders` or of
    another stream. Letter case does not tell names apart."""
    taken = {folder.lower() for folder in folders}
    names = []
    for stream in streams:
        stem = Path(stream).stem.replace(':', '_')
        numbered = (f'{stem}_{number}' for number in itertools.count(1))
        names.append(next(name for name in itertools.chain([stem], numbered) if name.lower() not in taken))
        taken.add(names[-1].lower())
    return names


def _frames(stream: str, name: str, most: int | None) -> Iterator[Item]:
    """Frames of a video or camera, numbered from 1; read in order, so `load` only hands over."""
    camera = stream.startswith('camera:')
    number = stream.partition(':')[2]
    if camera and not number.isdigit():
        raise DataError(f'{stream}: write camera:0 for the first camera')
    capture = cv2.VideoCapture(int(number) if camera else stream)
    if not capture.isOpened():
        raise DataError(f'{stream} cannot be opened as a {"camera" if camera else "video"}')
    try:
        index = 0
        while most is None or index < most:
            good, frame = capture.read()
            if not good:
                break
            index += 1
            rgb = np.ascontiguousarray(frame[..., ::-1])
            yield Item(f'{name}/{index:06d}', f'{stream}#{index}', lambda rgb=rgb: rgb)  # type: ignore[misc]
        if not index:
            raise DataError(f'{stream}: no frame can be read')
    finally:
        capture.release()
