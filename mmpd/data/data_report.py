"""What a data set kept, changed and left out, counted with examples: nothing is skipped in silence."""

from dataclasses import dataclass, field

_EXAMPLES = 3


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
