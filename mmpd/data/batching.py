"""Batches of images of like shape: a batch is padded to its largest sides, and wide beside upright ones cost most."""

from __future__ import annotations

from collections.abc import Iterator

from mmdet.datasets.samplers import AspectRatioBatchSampler
from mmdet.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class ShapeBatchSampler(AspectRatioBatchSampler):
    """Wide and upright images in batches of their own; what is left of both at the end of an epoch is mixed.

    Deviation from mmdet's: that one drops the last batch where it is just full, so an epoch has one batch less than
    its length says, and a run that is resumed is taken for one of another batch size. Which sample is in which batch
    follows from the sampler's order alone; nothing is left over from an epoch that was cut.
    """

    def __iter__(self) -> Iterator[list[int]]:
        groups: tuple[list[int], list[int]] = ([], [])
        for index in self.sampler:
            info = self.sampler.dataset.get_data_info(index)
            group = groups[info['width'] < info['height']]
            group.append(index)
            if len(group) == self.batch_size:
                yield group.copy()
                group.clear()
        left = groups[0] + groups[1]
        for start in range(0, len(left), self.batch_size):
            batch = left[start : start + self.batch_size]
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch
