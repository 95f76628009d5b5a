"""`mmpd::NAME` in `_base_`, from any folder, and mmdet's own prefix as before."""

from mmpd.compat import mmengine_configs
from mmpd.errors import ConfigError
from mmpd.paths import configs_folder

import pytest
from mmengine.config import Config


def test_a_config_inherits_from_mmpds_own(tmp_path):
    mmengine_configs.install()
    mmengine_configs.install()
    (tmp_path / 'mine.py').write_text("_base_ = ['mmpd::_base_/schedule.py', 'mmpd::_base_/runtime.py']\nratio = 3\n")
    config = Config.fromfile(tmp_path / 'mine.py')
    assert config.schedule == Config.fromfile(configs_folder() / '_base_' / 'schedule.py').schedule
    (tmp_path / 'voc.py').write_text("_base_ = 'mmpd::pd_voc.py'\nratio = 3\n")
    assert Config.fromfile(tmp_path / 'voc.py').ratio == 3


def test_mmdets_prefix_is_mmengines_still(tmp_path):
    (tmp_path / 'theirs.py').write_text("_base_ = 'mmdet::_base_/default_runtime.py'\n")
    assert 'default_hooks' in Config.fromfile(tmp_path / 'theirs.py')


def test_a_wrong_name_is_told_with_the_file_that_has_it(tmp_path):
    (tmp_path / 'mine.py').write_text("_base_ = 'mmpd::pd_vok.py'\n")
    with pytest.raises(ConfigError, match=r'pd_vok.py.*mine.py'):
        Config.fromfile(tmp_path / 'mine.py')
