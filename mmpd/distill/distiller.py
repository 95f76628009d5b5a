"""The Distiller: one frozen guide, one trainable student, whatever the stage, the detector or the task."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor, nn

from ..align.alignment import Alignment
from ..data.preprocessor import PairDataPreprocessor
from ..data.reduction import parse_ratio
from ..errors import ConfigError
from ..terms.base import Term
from .guide import Frozen
from .guide_cache import GuideCache
from .step import Step
from .taps import Taps
from .view import view_of


@MODELS.register_module()
class Distiller(BaseModel):
    """Train a student on LR images with its own loss plus the terms that compare it with a guide on HR images.

    Args:
        student: model config of the student, a plain mmdet detector.
        guide: model config of the guide.
        guide_checkpoint: file with the guide's weights.
        ratio: HR side / LR side of this pair (1 where both see HR images).
        terms: name → config of a `Term`; a name set to None is off.
        align: AFP plan: 'auto', 'window' or 'resample'.
        guide_cache: MiB of guide outputs to keep, see `mmpd.distill.guide_cache`; 0: run the guide in every step.
        guide_cache_half: keep them in float16.
        guide_cache_dir: keep them in this folder, for every training with this guide, see `mmpd.distill.guide_store`.

    Raises:
        ConfigError: different class counts, no terms, or a term that makes no sense for this pair.
    """

    def __init__(
        self,
        student: dict,
        guide: dict,
        guide_checkpoint: str | None,
        ratio: int | float | str,
        terms: dict[str, dict | None],
        align: str = 'auto',
        guide_cache: float = 0,
        guide_cache_half: bool = False,
        guide_cache_dir: str | None = None,
    ) -> None:
        frozen = Frozen(guide, guide_checkpoint)
        student_net: Any = MODELS.build(student)
        exact_ratio = parse_ratio(ratio)
        super().__init__(
            PairDataPreprocessor(student_net.data_preprocessor, frozen.module.data_preprocessor, exact_ratio)
        )
        self.student: Any = student_net
        self.frozen = frozen
        self.guide_cache = None
        if guide_cache or guide_cache_dir:
            self.guide_cache = GuideCache(guide_cache, guide_cache_half, guide_cache_dir, frozen.digest)
        self.guide_view, self.student_view = view_of(frozen.module), view_of(student_net)
        self._check_class_counts()
        self.alignment = Alignment(self.guide_view, self.student_view, exact_ratio, align)
        self.terms = nn.ModuleDict({name: _build_term(name, cfg, self.alignment) for name, cfg in terms.items() if cfg})
        if not self.terms:
            raise ConfigError('terms is empty: a stage with a guide needs at least one distillation term')

    @property
    def guide(self) -> Any:
        """The frozen guide. It is no child module: see `mmpd.distill.guide`."""
        return self.frozen.module

    @property
    def own_loss_weight(self) -> float:
        """What the terms leave of the student's own losses, 0..1."""
        return math.prod(term.own_loss_weight for term in self.terms.values() if isinstance(term, Term))

    def _check_class_counts(self) -> None:
        guide, student = self.guide_view.num_classes(), self.student_view.num_classes()
        if guide is not None and student is not None and guide != student:
            raise ConfigError(
                f'num_classes: the guide tells {guide} classes apart, the student {student}; they must agree'
            )

    def init_weights(self) -> None:
        """Initialise student and terms, then load the guide from its file.

        `Runner.train()` calls this; the guide is no child, so nothing re-randomises it.
        """
        super().init_weights()
        self.frozen.load()
        if self.guide_cache:
            self.guide_cache.forget()

    def _apply(self, fn: Any, recurse: bool = True) -> Distiller:
        """`.to()`, `.cuda()`, `.half()`: the guide goes where the student goes."""
        super()._apply(fn, recurse)
        self.frozen.apply_to_tensors(fn)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Distiller:
        """A copy of student and terms around the same guide: mmengine's EMAHook copies the whole model.

        Sharing `frozen` alone is not enough: views and alignment hold the guide and its parts as well.
        """
        memo.update((id(module), module) for module in self.guide.modules())
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin

    def forward(self, inputs: Any, data_samples: list | None = None, mode: str = 'tensor') -> Any:
        """mode 'loss': `loss()`. Else the student alone, on LR images, as mmdet defines the mode."""
        if mode == 'loss':
            return self.loss(inputs, data_samples or [])
        return self.student(inputs, data_samples, mode=mode)

    def loss(self, inputs: dict[str, Tensor], data_samples: list) -> dict[str, Any]:
        """One step: guide features, student features and its own loss, terms.

        Args:
            inputs: hr (B, 3, ratio·h, ratio·w) and lr (B, 3, h, w), normalised.
            data_samples: LR samples.

        Returns:
            The student's own named losses, and each term's.
        """
        if not self.frozen.loaded:
            raise ConfigError('the guide has no weights yet: call init_weights() before training')
        with torch.no_grad():
            taps_hr = self._run_guide(inputs['hr'])
        with self.student_view.taps() as taps_lr:
            losses = weighed(self.own_loss_weight, self.student.loss(inputs['lr'], data_samples))
        step = Step(inputs['hr'], inputs['lr'], data_samples, taps_hr, taps_lr, self.alignment, self._run_guide)
        for name, term in self.terms.items():
            for key, value in term(step).items():
                if key in losses:
                    raise ConfigError(
                        f'terms.{name} returns {key!r}, which the student or another term returns already'
                    )
                losses[key] = value
        return losses

    def _run_guide(self, images_hr: Tensor) -> Taps:
        with_head = any(term.needs_guide_head for term in self.terms.values() if isinstance(term, Term))
        if self.guide_cache:
            return self.guide_cache.run(self.guide_view, images_hr, with_head)
        return self.guide_view.run(images_hr, with_head, with_stem=False).release()


def weighed(weight: float, losses: dict[str, Any]) -> dict[str, Any]:
    """Named losses (tensors, or lists of one a level) times a weight. What is no loss, an accuracy, stays as it is."""
    if weight == 1:
        return losses

    def times(value: Any) -> Any:
        return [part * weight for part in value] if isinstance(value, (list, tuple)) else value * weight

    return {name: times(value) if 'loss' in name else value for name, value in losses.items()}


def _build_term(name: str, config: dict, alignment: Alignment) -> nn.Module:
    """Raises ConfigError naming the term where its type or an argument is unknown."""
    try:
        return MODELS.build(_without_retired(name, config), default_args=dict(alignment=alignment))
    except (KeyError, TypeError) as error:
        raise ConfigError(f'terms.{name} = {dict(config)!r} cannot be built: {error}') from error
    except ConfigError as error:
        raise error if 'terms.' in str(error) else ConfigError(f'terms.{name}: {error}') from error


def _without_retired(name: str, config: dict) -> dict:
    """A term's config without the options that it no longer has, which configs of earlier versions may hold."""
    kind = config['type'] if isinstance(config['type'], type) else MODELS.get(config['type'])
    retired = getattr(kind, 'retired', {})
    for key, value in retired.items():
        if key in config and config[key] != value:
            raise ConfigError(
                f'terms.{name}.{key} = {config[key]!r}: the option is gone, and the term does what {value!r} did; '
                'remove it'
            )
    return {key: value for key, value in config.items() if key not in retired}
