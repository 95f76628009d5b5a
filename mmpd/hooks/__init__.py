"""Hooks registered in mmdet's HOOKS. Importing them also makes mmengine load and resume through mmpd.checkpoint."""

from mmpd.compat.safe_loading import install_safe_loading
from mmpd.hooks.checkpoint_hook import AtomicCheckpointHook
from mmpd.hooks.epoch_length_hook import EpochLengthHook
from mmpd.hooks.finite_hook import FiniteLossHook
from mmpd.hooks.seed_hook import SampleSeedHook

__all__ = ['AtomicCheckpointHook', 'EpochLengthHook', 'FiniteLossHook', 'SampleSeedHook']

install_safe_loading()
