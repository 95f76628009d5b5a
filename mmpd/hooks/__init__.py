"""Hooks registered in mmdet's HOOKS. Importing them also makes mmengine load and resume through mmpd.io.checkpoint."""

from ..compat.mmengine_loading import install_safe_loading
from .checkpoint_hook import AtomicCheckpointHook
from .epoch_length_hook import EpochLengthHook
from .finite_hook import FiniteLossHook
from .seed_hook import SampleSeedHook

__all__ = ['AtomicCheckpointHook', 'EpochLengthHook', 'FiniteLossHook', 'SampleSeedHook']

install_safe_loading()
