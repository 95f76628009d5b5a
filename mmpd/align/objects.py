"""The objects that a guide sees, from its raw responses.

Legend: N = guide locations of all levels, in the order (level, h, w, A); B = batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import nms

from ..heads.response import LevelResponse
from ..losses.overlap import pair_iou

OBJECT_SCORE = 0.2
"""Best score from which a guide location speaks of an object; what is below it is heard where it is said."""
NMS_IOU = 0.5
MAX_CANDIDATES, MAX_OBJECTS = 1000, 100


@dataclass(frozen=True)
class Objects:
    """Objects of one image, the least confident first.

    Attributes:
        boxes: (m, 4) in HR pixels.
        counts: (m,) guide locations that speak of each object, at least 1.
        speakers: (counts.sum(),) those locations, object by object, the surest first.
    """

    boxes: Tensor
    counts: Tensor
    speakers: Tensor


def guide_objects(guide: LevelResponse) -> list[Objects]:
    """The objects of each image: confident boxes after NMS by class.

    Args:
        guide: all levels as one.
    """
    confidence = guide.confidence()
    image, location = (confidence > OBJECT_SCORE).nonzero(as_tuple=True)
    best = confidence[image, location]
    order = best.argsort(descending=True, stable=True)
    order = order[image[order].argsort(stable=True)]
    image, location, best = image[order], location[order], best[order]
    counts = image.bincount(minlength=len(confidence)).tolist()
    if max(counts) > MAX_CANDIDATES:
        kept = torch.cat([own[:MAX_CANDIDATES] for own in torch.arange(len(image), device=image.device).split(counts)])
        counts = [min(count, MAX_CANDIDATES) for count in counts]
        image, location, best = image[kept], location[kept], best[kept]
    classes = guide.logits_at(image, location).argmax(dim=1)
    parts = [part.split(counts) for part in (location, guide.boxes_at(image, location), best, classes)]
    return [objects_of(*own) for own in zip(*parts, strict=True)]


def objects_of(places: Tensor, boxes: Tensor, scores: Tensor, labels: Tensor) -> Objects:
    """Of one image: k confident locations (k,), the surest first, their boxes (k, 4), scores (k,) and classes (k,).

    A box without an area, as distances from points may be, is no object: it overlaps with no prior, and a
    MaxIoUAssigner takes every prior for its best.
    """
    full = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    places, boxes, scores, labels = places[full], boxes[full], scores[full], labels[full]
    if not len(places):
        return Objects(boxes, places, places)
    # boxes of two classes never overlap; shifted by the largest side alone (batched_nms), those left of the image may
    apart = (labels * (boxes.amax() - boxes.amin() + 1))[:, None]
    kept = nms(boxes + apart, scores, NMS_IOU)[:MAX_OBJECTS].flip(0)
    overlap = pair_iou(boxes[kept], boxes).mul_(labels[kept, None] == labels)
    overlap.scatter_(1, kept[:, None], 2.0)  # each object is its own
    which, speaker = (overlap >= overlap.amax(dim=0).clamp_(min=NMS_IOU)).nonzero(as_tuple=True)
    return Objects(boxes[kept], which.bincount(minlength=len(kept)), places[speaker])
