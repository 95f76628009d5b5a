"""One training: what must not be shared with the next one in the same process."""

from mmpd.run import train as module

import pytest
from mmengine.config import Config


class Stopped(Exception):
    """Stands for the rest of the training."""


def test_a_named_visualizer_is_one_of_its_own_in_each_stage(monkeypatch):
    """mmengine keeps one instance a name for the whole process: the student's curves would go to the teacher's file."""
    made = []

    def from_cfg(config):
        made.append(config)
        raise Stopped

    monkeypatch.setattr(module.Runner, 'from_cfg', from_cfg)
    config = Config(dict(visualizer=dict(type='DetLocalVisualizer', name='visualizer'), load_from='other.pth'))
    for stage in ('teacher', 'student'):
        with pytest.raises(Stopped):
            module.train(config, experiment=stage, show=module.Show(verbose=True))
    names = [one.visualizer.name for one in made]
    assert len(set(names)) == 2 and 'visualizer' not in names
    assert len({one.experiment_name for one in made}) == 2
    assert all(one.load_from is None and one.resume is False for one in made)
    assert config.visualizer.name == 'visualizer'
