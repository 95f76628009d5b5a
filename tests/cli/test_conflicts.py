"""Arguments that do not go together, or with this kind of config, are refused before anything runs."""

from pathlib import Path

from mmpd.cli import command
from mmpd.errors import ConfigError, DataError
from mmpd.io.deploy_folder import find_source
from tests.toys import toy_chain

import pytest


@pytest.fixture(scope='module')
def files(tmp_path_factory) -> dict[str, str]:
    """A chain's config, one network's, and a stage's folder."""
    root = tmp_path_factory.mktemp('conflicts')
    toy_chain(root).dump(root / 'chain.py')
    stage = root / 'student'
    stage.mkdir()
    for name in ('bench.py', 'deploy.py'):
        (stage / name).write_text("model = dict(type='RetinaNet')\n")
    return dict(CHAIN=str(root / 'chain.py'), ONE=str(stage / 'bench.py'), FOLDER=str(stage), EMPTY=str(root / 'none'))


CASES = [
    # a chain would have gone on from its own newest checkpoint, and one training would have been run once, whole
    ('train CHAIN --resume epoch_3.pth', '--resume epoch_3.pth: a chain goes on from the newest'),
    ('train ONE --runs 3', '--runs 3 is for a chain'),
    ('train ONE --stage student', '--stage student is for a chain'),
    ('ablate CHAIN --quick-epochs 5', '--quick-epochs 5 .*add --quick'),
    ('ablate ONE', 'has no stages'),
    ('bench ONE', 'has no stages'),
    ('bench CHAIN --rounds 0', '--rounds 0: .*at least 1'),
    ('check CHAIN --device gpu', "--device gpu: use 'cpu'"),
    ('check CHAIN --oracle 2 --stage student', '--stage and --oracle do not go together'),
    ('check CHAIN --oracle 2 --guide-ap x.pth', '--guide-ap and --oracle do not go together'),
    ('check CHAIN --oracle 2 x', "ratio = 'x'"),
    ('init FOLDER --out chain', '--out chain: name a .py file'),
    ('test ONE weights.pth --cfg-options ratio=4', 'ratio: .*a key of a chain'),
    ('test CHAIN weights.pth --out FOLDER', '--out .* is a folder'),
    ('cost CHAIN --size 64 48', '--size is for the config of one network'),
    ('cost ONE --ratio 2 4', '--ratio is for the config of a chain'),
    ('cost ONE --pyramid fine', '--pyramid is for the config of a chain'),
    ('cost ONE --size 0 4', '--size 0 4'),
    ('cost CHAIN --repeats 0 --time cpu', '--repeats 0: .*at least 1'),
    ('cost CHAIN --most-images -3', '--most-images -3: .*at least 1'),
    ('infer FOLDER x.png --threads -2', '--threads -2: .*at least 1'),
    ('infer FOLDER x.png --max-frames 0', '--max-frames 0: .*at least 1'),
    ('infer FOLDER x.png --score nan', '--score nan: .*from 0 to 1'),
    ('infer FOLDER x.png --device nonsense', "--device nonsense: use 'cpu'"),
    ('sr gallery CHAIN FOLDER x.png --rows 0', '--rows 0: .*at least 1'),
    ('sr quantise CHAIN FOLDER --patches 0', '--patches 0: .*at least 1'),
    ('export FOLDER --stage teacher', 'stage teacher: .*the folder of a stage'),
    ('export FOLDER --images FOLDER', '--images .*: no such file'),
    ('export FOLDER --cfg-options ratio=4', 'options ratio: .*the folder of a stage'),
]


@pytest.mark.parametrize(('line', 'says'), CASES, ids=[line for line, _ in CASES])
def test_refused(files, line, says, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    name, *words = [files.get(word, word) for word in line.split()]
    with pytest.raises(ConfigError, match=says):
        command(name)(words)
    assert not list(tmp_path.iterdir())


def test_a_gallery_names_the_images_that_are_not_there(files, tmp_path):
    with pytest.raises(DataError, match='none'):
        command('sr')(['gallery', files['CHAIN'], files['FOLDER'], files['EMPTY'], '--out', str(tmp_path / 'g.png')])


def test_a_folder_alone_is_a_source(files):
    Path(files['FOLDER'], 'student_best.pth').touch()
    assert find_source(files['FOLDER']).name == 'student'
