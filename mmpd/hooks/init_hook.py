"""Start a network from another stage's weights (`init_from` of a stage)."""

from __future__ import annotations

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from ..io.state import load_into


@HOOKS.register_module()
class InitFromHook(Hook):
    """Copy weights by name and shape before the first iteration, for a Distiller into its student.

    A hook and not an `init_cfg`: mmengine's `Pretrained` leaves layers of another shape without their own
    initialisation, and a resumed run must keep what it resumed.

    Args:
        checkpoint: file with the weights; what does not fit is listed in the log.
    """

    priority = 'VERY_HIGH'

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint

    def before_train(self, runner: Runner) -> None:
        if runner.iter > 0:
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        load_into(getattr(model, 'student', model), self.checkpoint, partial=True)
