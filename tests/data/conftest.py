from pathlib import Path

from tests.data.voc_folder import VOCFolder

import pytest


@pytest.fixture
def voc(tmp_path: Path) -> VOCFolder:
    return VOCFolder(tmp_path / 'voc')
