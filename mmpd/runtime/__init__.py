"""What runs where a student is deployed: numpy, cv2 and onnxruntime, neither torch nor mmdet.

from mmpd.runtime import Detector
found = Detector('work_dirs/pd_voc/student/deploy')(['lr/0001.jpg'])[0]
"""

from ..errors import CheckpointError, ConfigError, DataError
from .description import Description
from .detector import Detector, Prediction

__all__ = ['CheckpointError', 'ConfigError', 'DataError', 'Description', 'Detector', 'Prediction']
