"""LR image → super-resolution → HR detector: the pipeline keeps original pixels, the costs add up."""

from fractions import Fraction
from pathlib import Path

from mmpd.chain.chain import read_chain
from mmpd.errors import ConfigError
from mmpd.io.deploy_folder import find_source
from mmpd.run.stages import run_stages
from mmpd.sr.rival import SuperResolve, compare, rival_config
from tests.sr import toys as sr_toys
from tests.toys import toy_chain

import numpy as np
import pytest
import torch


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """det/: a finished detection chain at ratio 2; sr/: a finished super-resolution chain."""
    root = tmp_path_factory.mktemp('rival')
    run_stages(read_chain(toy_chain(root)), root / 'det', announce=False)
    sr = sr_toys.toy_chain(root / 'images', **{'stages.student.detector': sr_toys.toy_edsr(bicubic_skip=True)})
    run_stages(read_chain(sr), root / 'sr', announce=False)
    return root


def test_an_upscaled_sample_has_the_hr_size_and_the_hr_scale_factor(trained: Path):
    lr = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    sample = SuperResolve(str(trained / 'sr' / 'student'))(dict(img=lr, img_shape=(12, 16), scale_factor=(0.25, 0.25)))
    assert sample['img'].shape == (24, 32, 3) and sample['img_shape'] == (24, 32)
    assert sample['scale_factor'] == (0.5, 0.5)
    # with its skip a young network is near bicubic: channels are in their places
    means = sample['img'].reshape(12, 2, 16, 2, 3).mean((1, 3))
    assert np.abs(means - lr).mean() < 30 < np.abs(means[..., ::-1] - lr).mean()


def test_the_rival_is_measured_beside_both_networks_and_pays_for_both(trained: Path):
    chain = read_chain(toy_chain(trained))
    hr, lr = (find_source(trained / 'det' / name) for name in ('assistant', 'student'))
    first, student, rival = compare(chain, hr, lr, [trained / 'sr' / 'student'])
    sr_params = sum(
        v.numel() for v in torch.load(find_source(trained / 'sr' / 'student').weights)['state_dict'].values()
    )
    assert rival.params == first.params + sr_params
    assert rival.macs > first.macs > student.macs and rival.seconds > first.seconds
    assert all(0 <= row.ap <= row.ap50 <= 1 for row in (first, student, rival))


def test_wrong_partners_are_named(trained: Path):
    chain = read_chain(toy_chain(trained))
    folder = trained / 'sr' / 'student'
    with pytest.raises(ConfigError, match='sees LR images'):
        rival_config(chain.stages['student'], Fraction(2), folder)
    with pytest.raises(ConfigError, match='upscales by 2, the chain reduces by 4'):
        rival_config(chain.stages['assistant'], Fraction(4), folder)
    with pytest.raises(ConfigError, match='RetinaNet'):
        rival_config(chain.stages['assistant'], Fraction(2), trained / 'det' / 'student')
