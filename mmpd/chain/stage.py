"""A stage: one training of a chain, resolved. Whoever holds one need not ask the chain for anything."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

from mmengine.config import Config, ConfigDict

from ..data.sizes import lr_size, pair_divisor
from .detector import detector_config, pad_divisor
from .keys import check_num_classes, check_sizes
from .pyramid import finer_levels
from .task import Task


@dataclass(frozen=True, eq=False)
class Stage:
    """One training of a chain. `read_chain` makes them; nothing in them changes.

    Attributes:
        name: as in the chain config.
        entry: `stages.<name>` of the chain config: detector, overrides, size, terms, align, runner, …
        chain_config: the whole chain config: what all stages share.
        task: what the images show.
        ratio: HR side / side of the images that its network sees.
        guide: the stage whose network guides this one, None in a plain training.
        init_from: the stage, or the file, whose weights it starts from; None: from scratch.
    """

    name: str
    entry: ConfigDict = field(repr=False)
    chain_config: Config = field(repr=False)
    task: Task = field(repr=False)
    ratio: Fraction
    guide: Stage | None = None
    init_from: Stage | str | None = None

    @property
    def size(self) -> str:
        """'hr' or 'lr': which of the two image sizes its network sees."""
        return self.entry.size

    @property
    def data(self) -> ConfigDict:
        """Data sets, hr_scale, augmentation and batch size: `data` of the chain."""
        return self.chain_config.data

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) of the images that its network sees, in their own pixels."""
        return lr_size(self.data.hr_scale, self.ratio)

    @property
    def schedule(self) -> ConfigDict:
        """`schedule` of the chain, the stage's own merged over it."""
        return ConfigDict({**self.chain_config.schedule, **(self.entry.get('schedule') or {})})

    def augment(self, default: list[dict]) -> list[dict]:
        """Random transforms at HR: the stage's own `augment`, else that of `data`, else the task's."""
        given = (one.get('augment') for one in (self.entry, self.data))
        return copy.deepcopy(next((augment for augment in given if augment is not None), default))

    @property
    def reduction(self) -> str:
        """Name of the operator that makes LR images of HR images."""
        return self.chain_config.get('reduction', 'area')

    @property
    def pyramid(self) -> str:
        """'fine' or 'cheap': the pyramid of a network that sees LR images."""
        return self.chain_config.get('student_pyramid', 'fine')

    @property
    def given(self) -> str | None:
        """File with the weights of a stage that is not trained here."""
        return self.entry.get('checkpoint')

    @property
    def needs(self) -> list[Stage]:
        """The stages whose weights this one needs: they must be finished before it."""
        start = [self.init_from] if isinstance(self.init_from, Stage) and self.init_from is not self.guide else []
        return ([self.guide] if self.guide else []) + start

    @property
    def network(self) -> ConfigDict:
        """Model config of its network, a plain one; a copy, since whoever builds from a config changes it.

        Raises:
            ConfigError: no such detector, a class count that is not the data's, or images too small for its pyramid.
        """
        return copy.deepcopy(self._network)

    @cached_property
    def _network(self) -> ConfigDict:
        entry, num_classes = self.entry, self.task.num_classes(self)
        check_num_classes(self.name, entry.get('overrides'), num_classes)
        finer = 0
        if self.size == 'lr':
            finer = finer_levels(detector_config(entry.detector), self.ratio, self.pyramid)
        pretrained = self.chain_config.get('pretrained', True)
        model = detector_config(entry.detector, entry.get('overrides'), num_classes, pretrained, finer)
        check_sizes(self.name, self.data.hr_scale, self.ratio, model)
        if self.guide:
            _pad_as_paired(model, self.guide.network, self.ratio / self.guide.ratio)
        return self.task.network(self, model)


def _pad_as_paired(model: ConfigDict, guide: ConfigDict, ratio: Fraction) -> None:
    """Write the padding of the pair's batches into the student's preprocessor: it is tested and deployed as trained.

    In place. Networks without a divisor in their preprocessor stay as they are where 1 will do.
    """
    needed = pair_divisor(pad_divisor(model), pad_divisor(guide), ratio)
    if needed != pad_divisor(model) and model.get('data_preprocessor'):
        model.data_preprocessor.pad_size_divisor = needed
