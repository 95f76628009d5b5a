"""Where mmpd's own files lie."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def configs_folder() -> Path:
    """mmpd's configs: in the wheel where mmdet has its own (`.mim/configs`), or in the checkout."""
    inside = PACKAGE / '.mim' / 'configs'
    return inside if inside.is_dir() else PACKAGE.parent / 'configs'
