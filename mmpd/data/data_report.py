"""What a data set kept, changed and left out, counted with examples: nothing is skipped in silence."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from ..errors import DataError

_EXAMPLES = 3
_MAX_PROBLEMS = 10
Item = TypeVar('Item')


@dataclass
class DataReport:
    """Counts of one split.

    `dropped` and `changed` map a reason to the image ids it happened to, one entry per box or image.
    `boxes` are those to be found, `difficult` those that VOC marks as difficult (ignored in the AP). `counts_boxes` is
    False for images that have none by their nature.
    """

    source: str
    counts_boxes: bool = True
    images: int = 0
    boxes: int = 0
    difficult: int = 0
    negatives: int = 0
    dropped: dict[str, list[str]] = field(default_factory=dict)
    changed: dict[str, list[str]] = field(default_factory=dict)

    def drop(self, reason: str, image_id: str) -> None:
        self.dropped.setdefault(reason, []).append(image_id)

    def change(self, reason: str, image_id: str) -> None:
        self.changed.setdefault(reason, []).append(image_id)

    def summary(self) -> str:
        """One line for the log."""
        text = f'{self.source}: {self.images} images' + (f', {self.boxes} boxes' if self.counts_boxes else '')
        if self.difficult:
            text += f', {self.difficult} difficult'
        if self.negatives:
            text += f', {self.negatives} images without a box'
        for title, group in (('dropped', self.dropped), ('changed', self.changed)):
            parts = [f'{len(ids)} {reason} ({_examples(ids)})' for reason, ids in group.items()]
            if parts:
                text += f'; {title}: {", ".join(parts)}'
        return text


def _examples(ids: list[str]) -> str:
    unique = list(dict.fromkeys(ids))
    return ' '.join(unique[:_EXAMPLES]) + (' …' if len(unique) > _EXAMPLES else '')


def read_all(items: Iterable[Item], read: Callable[[Item], dict], source: str) -> list[dict]:
    """`read` of each item; problems are collected, so that one run shows up to ten of them.

    Args:
        source: the split, for the error.

    Raises:
        DataError: with what is wrong in each item.
    """
    found, problems = [], []
    for item in items:
        try:
            found.append(read(item))
        except DataError as error:
            problems.append(str(error))
            if len(problems) == _MAX_PROBLEMS:
                problems.append('… (the rest was not checked)')
                break
    if problems:
        raise DataError(f'{source} has unusable files:\n  ' + '\n  '.join(problems))
    return found
