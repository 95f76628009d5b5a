"""The old name of mmpd.run.progress, which configs dumped before the move import."""

from .run.progress import ProgressHook  # noqa: F401
