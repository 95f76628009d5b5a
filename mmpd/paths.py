"""Where mmpd's own files lie, in a checkout or in an installed wheel."""

from pathlib import Path

from .errors import DataError

PACKAGE = Path(__file__).resolve().parent


def configs_folder() -> Path:
    """mmpd's configs: in the wheel where mmdet has its own (`.mim/configs`), or in the checkout."""
    inside = PACKAGE / '.mim' / 'configs'
    return inside if inside.is_dir() else PACKAGE.parent / 'configs'


def models_folder() -> Path:
    """The trained models that mmpd brings, each a deploy folder."""
    inside = PACKAGE / '.mim' / 'models'
    return inside if inside.is_dir() else PACKAGE.parent / 'models'


def model_path(model: str | Path) -> Path:
    """A path that exists, or the folder of a model that mmpd brings, by its name.

    Raises:
        DataError: neither.
    """
    if Path(model).exists():
        return Path(model)
    shipped = {file.parent.name: file.parent for file in sorted(models_folder().glob('*/deploy.json'))}
    if str(model) in shipped:
        return shipped[str(model)]
    raise DataError(f'{model}: no such file or folder, nor a model that mmpd brings ({", ".join(shipped) or "none"})')
