"""What mmpd adds to its host libraries so that they run as pip installs them."""

from .mmcv_ops import MissingOperatorError, install, is_active

__all__ = ['MissingOperatorError', 'install', 'is_active']
