"""Class names as a config gives them: a tuple, or a text file with one name a line."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError


def read_classes(classes: object, key: str = 'metainfo.classes') -> tuple[str, ...]:
    """Class names as a tuple, in label order.

    Args:
        classes: names, or the path of a text file with one name a line.
        key: the config key, for the error.

    Raises:
        ConfigError: no such file, no name, an empty name, a name twice.
    """
    if isinstance(classes, (str, Path)):
        if not Path(classes).is_file():
            raise ConfigError(
                f'{key} is the string {str(classes)!r}, and no such file exists; give a tuple: ({str(classes)!r},), or '
                'a text file with one name a line'
            )
        lines = Path(classes).read_text(encoding='utf-8-sig').splitlines()
        classes = [line.strip() for line in lines if line.strip()]
    if not isinstance(classes, (list, tuple)) or not classes or not all(isinstance(c, str) and c for c in classes):
        raise ConfigError(f'{key} is {classes!r}; give a tuple of class names')
    if len(set(classes)) < len(classes):
        raise ConfigError(f'{key} names a class twice: {classes!r}')
    return tuple(classes)
