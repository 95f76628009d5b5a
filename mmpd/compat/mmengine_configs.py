"""`mmpd::pd_voc.py` wherever mmengine takes a config's path: on the command line and in `_base_` (ours).

mmengine knows the packages of OpenMMLab alone, and finds theirs through what pip installed; a checkout of mmpd is in no
such list.
"""

from __future__ import annotations

from mmengine.config import Config

from ..errors import ConfigError
from ..paths import configs_folder

PREFIX = 'mmpd::'


def install() -> None:
    """Teach mmengine's `_base_` the prefix. Idempotent."""
    host = Config._get_cfg_path
    if getattr(host, 'knows_mmpd', False):
        return

    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if not cfg_path.startswith(PREFIX):
            return host(cfg_path, filename)
        path = configs_folder() / cfg_path.removeprefix(PREFIX)
        if not path.is_file():
            raise ConfigError(f'_base_ = {cfg_path!r} in {filename}: mmpd has no config {path.name}')
        return str(path), None

    get_cfg_path.knows_mmpd = True  # type: ignore[attr-defined]
    Config._get_cfg_path = staticmethod(get_cfg_path)
