"""A warm process that forks chain runs on request: importing mmdet takes longer than a toy chain.

Reads a JSON request a line from stdin, answers with one line. Each run is a process of its own, so SIGKILL is real.
"""

import gc
import importlib.util
import json
import os
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def load_tool():
    """tools/train.py as a module."""
    spec = importlib.util.spec_from_file_location('train_tool', ROOT / 'tools/train.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def warm_up():
    """Import what a run imports, and leave out what costs seconds and is not tested here."""
    tool = load_tool()  # it imports nothing heavy before its arguments are read

    import mmpd.register
    import mmpd.run.seeds
    import mmpd.run.stages  # noqa: F401

    import cv2
    import torch
    from mmengine.runner import Runner
    from yapf.yapflib import yapf_api

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    Runner._log_env = lambda *_: None  # asks every compiler for its version
    yapf_api.FormatCode = lambda text, **_: (text, True)  # 0.5 s for each dumped config
    gc.collect()
    gc.freeze()  # mmengine collects garbage for each data set: 0.3 s with all of mmdet in the heap
    return tool


def run(tool, request: dict) -> None:
    """The child: `tools/train.py ARGV` with its output in a file. Never returns."""
    code = 1
    try:
        log = os.open(request['log'], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(request['env'])
        from mmpd.cli import main_with_errors
        from tests.faults.tripwire import Tripwire

        Tripwire(**request['wire']).install()
        main_with_errors(lambda: tool.main(request['argv']))
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(pid: int, seconds: float) -> int | None:
    """Exit status (negative: the signal that killed it); None where it still runs after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return None


def serve() -> None:
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # what imports print must not get between the answers
    tool = warm_up()
    print('ready', file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if 'wait' in request:
            answer = wait(request['wait'], request['seconds'])
        else:
            answer = os.fork()
            if answer == 0:
                run(tool, request)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == '__main__':
    serve()
