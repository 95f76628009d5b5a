"""Check every detection config, train a few iterations of each stage on real data, small: does it work, not how well.

MMPD_VOC_ROOT=… MMPD_BCCD_ROOT=… python tools/check_all.py --device cuda
python tools/check_all.py configs/pd_voc_fcos.py --iterations 5 --max-side 160

Exit status 1 where a config has an error or a loss is not finite. A config whose data is not there is named and left
out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mmpd  # noqa: F401  (stands in for mmcv's operators before mmdet is imported)
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from rich.console import Console
from rich.markup import escape

from mmpd.chain.chain import Chain, is_chain, read_chain
from mmpd.chain.stage import Stage
from mmpd.chain.stage_config import stage_config
from mmpd.check.preflight import build_stage, check_stage, quiet
from mmpd.check.tables import print_findings

console = Console(highlight=False, soft_wrap=True)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='*', help='chain configs; default: every configs/*.py')
    parser.add_argument('--iterations', type=int, default=20)
    parser.add_argument('--max-side', type=int, default=320, help='longest side of the HR images, at most')
    parser.add_argument('--batch-size', type=int, default=4)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    return parser.parse_args(argv)


def small_chain(path: str, args: argparse.Namespace) -> Chain:
    """The chain of a config from scratch, on small images."""
    config = Config.fromfile(path)
    factor = min(1.0, args.max_side / max(config.data.hr_scale))
    config.data.hr_scale = tuple(round(side * factor) for side in config.data.hr_scale)
    config.data.batch_size = args.batch_size
    config.data.num_workers = 0
    config.pretrained = False
    return read_chain(config)


def train_some(stage: Stage, checkpoints: dict[str, str], args: argparse.Namespace) -> tuple[list[float], dict]:
    """Losses of some iterations of a stage with its own optimiser, at once at the full learning rate / 10 (there is no
    warm-up here), and the weights after them."""
    config = stage_config(stage, 'work_dirs', checkpoints)
    with quiet(), DefaultScope.overwrite_default_scope(config.default_scope):
        guide = checkpoints.get(stage.guide.name) if stage.guide else None
        model = build_stage(config, guide, None).to(args.device).train()
        config.optim_wrapper.optimizer.lr = config.optim_wrapper.optimizer.lr / 10
        optimizer = build_optim_wrapper(model, config.optim_wrapper)
        loader = Runner.build_dataloader(config.train_dataloader, seed=0)
        losses: list[float] = []
        while len(losses) < args.iterations:
            for batch in loader:
                with optimizer.optim_context(model):
                    data = model.data_preprocessor(batch, True)
                    loss, _ = model.parse_losses(model(**data, mode='loss'))
                optimizer.update_params(loss)
                losses.append(loss.item())
                if len(losses) == args.iterations:
                    break
    return losses, getattr(model, 'student', model).state_dict()


def check_config(path: str, args: argparse.Namespace) -> bool:
    """Whether every stage of a config passes the preflight and trains; prints one line per stage."""
    chain = small_chain(path, args)
    good = True
    with tempfile.TemporaryDirectory() as folder:
        checkpoints: dict[str, str] = {}
        for name, stage in chain.stages.items():
            begin = time.time()
            check = check_stage(stage, checkpoints, args.device)
            print_findings(check, console)
            if check.errors:
                return False
            losses, state = train_some(stage, checkpoints, args)
            checkpoints[name] = str(Path(folder) / f'{name}.pth')
            torch.save(dict(state_dict=state), checkpoints[name])
            finite = bool(torch.isfinite(torch.tensor(losses)).all())
            good = good and finite
            console.print(
                f'{Path(path).stem} {name}: {len(check.losses)} losses, {len(losses)} iterations, '
                f'loss {losses[0]:.3f} → {losses[-1]:.3f}{"" if finite else " NOT FINITE"}, {time.time() - begin:.0f} s'
            )
    return good


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    paths = args.configs or sorted(str(path) for path in Path(__file__).parents[1].glob('configs/*.py'))
    failed, absent, passed = [], [], []
    for path in paths:
        config = Config.fromfile(path)
        if not is_chain(config):
            continue
        root = config.data.train.get('data_root')
        if root and not Path(root).is_dir():
            absent.append(f'{Path(path).stem} (no {root})')
            continue
        try:
            (passed if check_config(path, args) else failed).append(Path(path).stem)
        except Exception as problem:  # the other configs are still to be checked
            console.print(escape(f'{Path(path).stem}: {type(problem).__name__}: {problem}'), style='red')
            failed.append(Path(path).stem)
    console.print(f'passed: {", ".join(passed) or "none"}; failed: {", ".join(failed) or "none"}')
    if absent:
        console.print(f'left out, their data is not here: {", ".join(absent)}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
