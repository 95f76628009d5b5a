"""What a deployed detector must be told with: `deploy.json` beside the weights, the same text inside an .onnx file."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, DataError

FILE = 'deploy.json'
METADATA_KEY = 'mmpd'
PACKED_KEY = 'mmpd.packed'
"""In an .onnx file whose weights are stored in 8 bits and computed with in float32, see `mmpd.io.pack`."""
FORMAT = 1


@dataclass(frozen=True)
class Description:
    """Everything between an image file and the network, and between its outputs and boxes.

    Attributes:
        name: of the stage. classes: names, in the order of the labels.
        size: (width, height) that the network's own (LR) images are resized into, keeping their shape, in LR pixels.
        hr_size: the same of the HR images that it was trained with; None where that is not known.
        ratio: HR side / LR side as text, e.g. '2' or '3/2'. reduction: the operator from HR to LR.
        score_threshold, iou_threshold, max_per_image: of the network's own post-processing.
        shown_score: least score of a detection that is drawn and written, if nothing else is asked for.
        weights, config, onnx: names of the files beside deploy.json; None where there is none.
        fixed: (width, height) of the one input size that an .onnx file takes, one image at a time; None: any.
    """

    name: str
    classes: tuple[str, ...]
    size: tuple[int, int]
    hr_size: tuple[int, int] | None
    ratio: str
    reduction: str
    score_threshold: float
    iou_threshold: float
    max_per_image: int
    shown_score: float = 0.3
    weights: str | None = None
    config: str | None = None
    onnx: str | None = None
    fixed: tuple[int, int] | None = None

    def to_json(self) -> str:
        return json.dumps({'format': FORMAT, **dataclasses.asdict(self)}, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, source: str) -> Description:
        """Read what `to_json` wrote.

        Args:
            source: named in the error.

        Raises:
            CheckpointError: not such a text, or of a newer format.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            number = values.pop('format')
            if number != FORMAT:
                raise CheckpointError(f'{source} has format {number}, this mmpd reads {FORMAT}: update mmpd')
            values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
            return cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(f'{source} describes no detector: {error}; export it again') from error


def read_description(folder: str | Path) -> Description:
    """`deploy.json` of a folder.

    Raises:
        DataError: there is none.
    """
    file = Path(folder) / FILE
    if not file.is_file():
        inside = [str(one.parent) for one in sorted(Path(folder).glob(f'*/{FILE}'))]
        hint = f'give {" or ".join(inside)}' if inside else 'make one with `export` from a stage folder'
        raise DataError(f'{folder} has no {FILE}: it is no deploy folder; {hint}')
    return Description.from_json(file.read_text(encoding='utf-8'), str(file))
