"""Checkpoints that survive a kill at any moment, and a plain detector file beside each (ours).

Order at each save: the new file appears whole (write, fsync, rename) → it is read back while the plain file is made →
only then is the older one deleted. mmengine deletes first, and writes in place.
"""

import glob
import inspect
import os
import re
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from ..errors import CheckpointError, ConfigError
from ..io.plain import export_plain
from ..io.resume import step_files
from ..io.state import compare
from ..io.write import write_atomic

_BACKEND = 'mmpd_atomic'
_REFUSED = ('out_dir', 'backend_args', 'file_client_args', 'filename_tmpl', 'published_keys')


class AtomicLocalBackend(LocalBackend):
    """mmengine's local files with an atomic `put`: `Runner.save_checkpoint` of both stacks writes through it."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Raises CheckpointError with the reason (full disk, …); the old file stays."""
        write_atomic(obj, filepath)


register_backend(_BACKEND, AtomicLocalBackend, force=True)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """`epoch_N.pth`, `best_*.pth` and, for rank 0 only as well, `<stage>_last.pth` and `<stage>_best.pth`.

    The plain files hold the detector's own keys, averaged weights where EMAHook is on, and the classes.
    After a resume the validation that the kill may have cut off is run first, so the best checkpoint is the one an
    uninterrupted run would have chosen; and checkpoints newer than the start (damaged, or of an earlier run in the same
    folder, which a later resume would mistake for this run's) are renamed to `*.stale`.

    Args:
        stage: name of the plain files, e.g. 'student'.
        interval: epochs (or iterations with `by_epoch=False`) between checkpoints.
        max_keep_ckpts: newest `epoch_N.pth` to keep; -1 keeps all. With 1, nothing is left to fall back to.
        save_best: the one metric that chooses `best_*.pth`.
        rule: 'greater' or 'less'. Stated, since mmengine guesses it from a list of names that has no `AP` in it.
        kwargs: `by_epoch`, `save_last`, `save_begin`, … as mmengine's CheckpointHook.
    Raises:
        ConfigError: an unknown argument, or one that would put files where they are not atomic or not found on resume.
    """

    best_ckpt_path: str | None

    def __init__(
        self,
        stage: str = 'model',
        interval: int = 1,
        max_keep_ckpts: int = 2,
        save_best: str | None = None,
        rule: str = 'greater',
        **kwargs: Any,
    ) -> None:
        for key in _REFUSED:
            if kwargs.get(key) is not None:
                raise ConfigError(
                    f'default_hooks.checkpoint.{key}={kwargs[key]!r}: AtomicCheckpointHook writes epoch_N.pth and '
                    f'best_*.pth to the local work_dir only; remove {key!r} and set work_dir'
                )
        known = inspect.signature(CheckpointHook.__init__).parameters
        for key in set(kwargs) - set(known):  # mmengine keeps it for the first save, and fails there
            raise ConfigError(
                f'default_hooks.checkpoint.{key} = {kwargs[key]!r} is no argument of the hook: it takes stage, '
                f'{", ".join(name for name in known if name not in ("self", "kwargs", *_REFUSED))}'
            )
        if save_best is not None and not isinstance(save_best, str):
            raise ConfigError(
                f'default_hooks.checkpoint.save_best={save_best!r}: give one metric name (or "auto"): '
                'the best checkpoint is what the next stage gets'
            )
        super().__init__(
            interval=interval,
            max_keep_ckpts=max_keep_ckpts,
            save_best=save_best,
            rule=rule if save_best else None,
            backend_args=dict(backend=_BACKEND),
            **kwargs,
        )
        self.stage = stage

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """mmengine resumes from a file of another network with a warning, and trains on from random weights.

        Raises:
            CheckpointError: what is resumed does not fit the network.
        """
        if not runner._resume:
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        report = compare(model, checkpoint.get('state_dict') or {})
        if report.missing or report.unexpected or report.mismatched:
            raise CheckpointError(
                f'{runner._load_from} cannot be resumed, it is of another network: {report}. Use another work_dir, or '
                'remove the file'
            )

    def before_train(self, runner: Runner) -> None:
        """Put the folder in order, then catch up on a validation that a kill cut off."""
        super().before_train(runner)
        start = runner.epoch if self.by_epoch else runner.iter
        newest = Path(self.out_dir) / self.filename_tmpl.format(start)
        resumed = start > 0 and newest.is_file()
        if self.save_best and self.best_ckpt_path:  # the work dir may have been moved since
            self.best_ckpt_path = os.path.join(self.out_dir, os.path.basename(self.best_ckpt_path))
            if not os.path.isfile(self.best_ckpt_path):
                self._forget_best(runner, start)
        if is_main_process():
            self._set_aside_newer(runner, start)
            if resumed:
                export_plain(newest, self._plain('last'))
                self._drop_older_steps()
            if resumed and self.save_best and self.best_ckpt_path and os.path.isfile(self.best_ckpt_path):
                export_plain(self.best_ckpt_path, self._plain('best'))
                self._drop_older_best()
        if resumed:
            self.last_ckpt = str(newest)
            self._catch_up_validation(runner)

    def _forget_best(self, runner: Runner, start: int) -> None:
        """Where a better one of epochs that are to be run again (the newest checkpoint is damaged) took the best one's
        place, the best is chosen anew: its score would be that of a file which is gone."""
        steps = [re.search(r'_(\d+)\.pth$', path.name) for path in self._other_bests()]
        if not any(step and int(step[1]) > start for step in steps):
            return
        runner.logger.warning(f'{self.best_ckpt_path} is gone: the best checkpoint is chosen among those to come')
        self.best_ckpt_path = None
        for key in ('best_ckpt', 'best_score'):
            runner.message_hub.pop_info(key)

    def _set_aside_newer(self, runner: Runner, start: int) -> None:
        for step, path in step_files(self.out_dir):
            if step > start:
                os.replace(path, f'{path}.stale')
                runner.logger.warning(f'{path} is newer than where this run starts ({start}): renamed to *.stale')

    def _catch_up_validation(self, runner: Runner) -> None:
        """`epoch_N.pth` is written before epoch N is validated; mmengine goes on with epoch N + 1."""
        loop = runner.train_loop
        if not self.save_best or not isinstance(loop, EpochBasedTrainLoop) or runner.val_loop is None:
            return
        due = loop.epoch % loop.val_interval == 0 or loop.epoch == loop.max_epochs
        done = 'validated_step' in runner.message_hub.runtime_info and (
            runner.message_hub.get_info('validated_step') == loop.epoch
        )
        if due and loop.epoch >= loop.val_begin and not done:
            runner.logger.info(f'Validating epoch {loop.epoch}, which the previous run may not have done')
            runner.val_loop.run()

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Write, verify by reading back, and only then delete what is outdated."""
        name = self.filename_tmpl.format(step)
        self.last_ckpt = os.path.join(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if not is_main_process():
            return
        export_plain(self.last_ckpt, self._plain('last'))
        write_atomic(self.last_ckpt.encode(), os.path.join(runner.work_dir, 'last_checkpoint'))
        self._drop_older_steps()

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """As mmengine's, but the previous best is deleted after the new one is complete."""
        if not self.save_best:
            return
        key = self.key_indicators[0]
        if key != 'auto' and key not in metrics:
            raise ConfigError(f'default_hooks.checkpoint.save_best={key!r} is not among the metrics {sorted(metrics)}')
        runner.message_hub.update_info('validated_step', runner.epoch if self.by_epoch else runner.iter)
        previous, self.best_ckpt_path = self.best_ckpt_path, None  # mmengine deletes what stands here before it saves
        super()._save_best_checkpoint(runner, metrics)
        if self.best_ckpt_path is None:
            self.best_ckpt_path = previous
        elif is_main_process():
            export_plain(self.best_ckpt_path, self._plain('best'))
            self._drop_older_best()

    def _drop_older_steps(self) -> None:
        if self.max_keep_ckpts > 0:
            for _, path in step_files(self.out_dir)[: -self.max_keep_ckpts]:
                path.unlink()

    def _drop_older_best(self) -> None:
        for path in self._other_bests():
            path.unlink()

    def _other_bests(self) -> list[Path]:
        """Every other best file of this metric, so also one that a killed run left behind."""
        best = Path(str(self.best_ckpt_path))
        metric = re.sub(r'(epoch|iter)_\d+\.pth$', '', best.name)
        return [path for path in best.parent.glob(f'{glob.escape(metric)}*.pth') if path.name != best.name]

    def _plain(self, which: str) -> Path:
        return Path(self.out_dir) / f'{self.stage}_{which}.pth'
