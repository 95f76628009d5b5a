"""The student alone, as a file that stock mmdet loads."""

from __future__ import annotations

from .read import PathLike, _plain, dataset_meta, load_checkpoint, model_state
from .write import save_atomic


def export_plain(source: PathLike, target: PathLike) -> None:
    """Write the detector in the Runner checkpoint `source` as a plain file that stock mmdet loads, atomically.

    Holds `state_dict` (see `model_state`) and `meta`: dataset_meta (classes, palette), epoch, iter, best_score (the
    best validation metric so far; in a best checkpoint its own). Reading `source` back also proves that it is intact.

    Raises:
        CheckpointError: `source` is damaged, or the disk is full.
    """
    checkpoint = load_checkpoint(source)
    stored = checkpoint.get('meta') or {}
    meta = {key: stored[key] for key in ('epoch', 'iter') if key in stored}
    meta['dataset_meta'] = dataset_meta(checkpoint)
    best_score = (checkpoint.get('message_hub') or {}).get('runtime_info', {}).get('best_score')
    if best_score is not None:
        meta['best_score'] = _plain(best_score)
    save_atomic(dict(meta=meta, state_dict=model_state(checkpoint)), target)
