"""The plain student in stock mmdet: the same boxes, in a process that never imports mmpd (invariant 5)."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import mmpd
from mmpd.chain.chain import read_chain
from mmpd.chain.deploy import bench_config, deploy_config
from mmpd.chain.stage_config import stage_config
from mmpd.data.reduction import reduce_image
from mmpd.io.plain import export_plain
from mmpd.io.state import load_into
from tests.toys import CLASSES, build_model, save_weights, toy_chain

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

# The stand-in for mmcv's operators is all that this process takes of mmpd: `mmpd` itself is an empty package here.
STOCK = """
import json, sys, types, warnings
warnings.simplefilter('ignore')
package = types.ModuleType('mmpd')
package.__path__ = [sys.argv[1]]
sys.modules['mmpd'] = package
from mmpd.compat.mmcv_ops import install
install()
import torch
torch.set_num_threads(1)
from mmdet.apis import inference_detector, init_detector
model = init_detector(sys.argv[2], sys.argv[3], device='cpu')
found = inference_detector(model, sys.argv[4]).pred_instances
modules = [name for name in sys.modules if name.startswith('mmpd.') and not name.startswith('mmpd.compat')]
print('RESULT', json.dumps(dict(
    boxes=found.bboxes.tolist(), scores=found.scores.tolist(), labels=found.labels.tolist(),
    classes=model.dataset_meta['classes'], modules=modules)))
"""


@pytest.fixture(scope='module')
def student(tmp_path_factory):
    """A Runner checkpoint of a Distiller whose student sees something, exported, with both dumped configs."""
    root = tmp_path_factory.mktemp('deploy')
    chain = read_chain(toy_chain(root))
    config = stage_config(chain.stages['student'], root / 'work', {})
    distiller = build_model(config.model)
    distiller.student.load_state_dict(save_weights(config.model.student, root / 'confident.pth').state_dict())
    meta = dict(dataset_meta=dict(classes=CLASSES), epoch=1, iter=1)
    torch.save(dict(state_dict=distiller.state_dict(), meta=meta, message_hub={}), root / 'epoch_1.pth')
    export_plain(root / 'epoch_1.pth', root / 'student.pth')
    deploy_config(chain.stages['student']).dump(root / 'deploy.py')
    hr = cv2.imread(str(root / 'voc/JPEGImages/test_0.png'))
    cv2.imwrite(str(root / 'lr.png'), reduce_image(hr, Fraction(2)))
    return chain, root


def boxes_inside_mmpd(chain, root: Path) -> dict[str, np.ndarray]:
    """The bench config on the HR image; boxes in original, which are HR, pixels."""
    config = bench_config(chain.stages['student'])
    net = build_model(config.model).eval()
    load_into(net, root / 'student.pth')
    with DefaultScope.overwrite_default_scope('mmdet'):
        pipeline = Compose([step for step in config.test_dataloader.dataset.pipeline if step.type != 'LoadAnnotations'])
    sample = pipeline(dict(img_path=str(root / 'voc/JPEGImages/test_0.png'), img_id=0))
    with torch.no_grad():
        found = net.test_step(pseudo_collate([sample]))[0].pred_instances
    return {key: found[key].numpy() for key in ('bboxes', 'scores', 'labels')}


def test_stock_mmdet_finds_the_same_boxes_on_the_native_lr_image(student):
    chain, root = student
    package = Path(mmpd.__file__).parent
    command = [
        sys.executable,
        '-c',
        STOCK,
        *map(str, (package, root / 'deploy.py', root / 'student.pth', root / 'lr.png')),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert result.returncode == 0, result.stderr[-3000:]
    stock = json.loads(result.stdout.split('RESULT ')[1])
    assert stock['modules'] == [] and tuple(stock['classes']) == CLASSES
    ours = boxes_inside_mmpd(chain, root)
    assert len(ours['scores']) > 3
    np.testing.assert_allclose(np.array(stock['boxes']) * 2, ours['bboxes'], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(stock['scores'], ours['scores'], rtol=1e-6)
    assert stock['labels'] == ours['labels'].tolist()


def test_the_exported_file_is_data_that_any_torch_reads(student):
    content = torch.load(student[1] / 'student.pth', weights_only=True)
    assert set(content) == {'meta', 'state_dict'}
    assert not any(key.startswith(('student.', 'terms.', 'guide')) for key in content['state_dict'])
