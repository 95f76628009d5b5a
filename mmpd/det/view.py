"""What the Distiller needs to know of a detector: its neck's maps, its dense head, its RoI head."""

from __future__ import annotations

from typing import Any

from mmdet.models.detectors import BaseDetector
from torch import nn

from ..align.plan import Level
from ..distill.taps import Taps
from ..distill.view import NetworkView, Shape, register_view
from ..heads.base import family_of, head_levels


@register_view(BaseDetector)
class DetectorView(NetworkView):
    """An mmdet detector.

    The features are the neck's maps, or the backbone's where there is no neck; the head is the dense one (`bbox_head`,
    or `rpn_head` of a two-stage detector), None where its family is unknown.

    Attributes:
        any_head: the dense head, its family known or not; None where there is none.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        if getattr(net, 'with_neck', False):
            self.features = self.net.neck
        head: Any = getattr(net, 'rpn_head', None) or getattr(net, 'bbox_head', None)
        self.any_head = head
        self.head = head if family_of(head) else None
        made_for = getattr(getattr(head, 'prior_generator', None), 'input_size', None)  # SSD's anchors
        if made_for is not None:
            self.probe_side = int(made_for)

    def taps(self) -> Taps:
        """Taps on the RoI head as well, as 'roi' (its extractor) and 'roi_head'."""
        taps = super().taps()
        roi_head: Any = getattr(self.net, 'roi_head', None)
        if hasattr(roi_head, 'bbox_roi_extractor'):
            taps.modules.update(roi=roi_head.bbox_roi_extractor, roi_head=roi_head.bbox_head)
        return taps

    def levels(self, shapes: list[Shape]) -> tuple[Level, ...]:
        """Pyramid levels: the head's, or, without a known head, the features' strides."""
        return super().levels(shapes) if self.head is None else head_levels(self.head)

    def head_strides(self) -> list[float] | None:
        """Strides of the head's priors, of an unknown family too; None where it has no priors."""
        head: Any = self.any_head
        generator = getattr(head, 'prior_generator', None) or getattr(head, 'square_anchor_generator', None)
        strides = getattr(generator, 'strides', None)
        if strides is None:
            return None
        return [float(one[0] if isinstance(one, (tuple, list)) else one) for one in strides]

    def num_classes(self) -> int | None:
        roi_head: Any = getattr(self.net, 'roi_head', None)
        head: Any
        for head in (getattr(roi_head, 'bbox_head', None), getattr(self.net, 'bbox_head', None)):
            head = head[0] if isinstance(head, nn.ModuleList) else head
            if hasattr(head, 'num_classes'):
                return int(head.num_classes)
        return None
