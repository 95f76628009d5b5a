"""References for the operators of mmcv: their definitions, in loops over plain numbers."""

import math

import torch
from torch import Tensor


def iou(a: list[float], b: list[float], offset: int = 0) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + offset
    height = min(a[3], b[3]) - max(a[1], b[1]) + offset
    intersection = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b)]
    union = sum(areas) - intersection
    return intersection / union if union else 0.0


def nms(boxes: Tensor, scores: Tensor, threshold: float, offset: int = 0) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -float(scores[i])):
        if all(iou(boxes[i].tolist(), boxes[k].tolist(), offset) <= threshold for k in kept):
            kept.append(i)
    return kept


def soft_nms(
    boxes: Tensor, scores: Tensor, threshold: float, sigma: float, min_score: float, method: str
) -> list[tuple[int, float]]:
    score = {i: float(s) for i, s in enumerate(scores)}
    kept: list[tuple[int, float]] = []
    while score:
        best = max(score, key=lambda i: score[i])
        kept.append((best, score.pop(best)))
        for i in list(score):
            overlap = iou(boxes[best].tolist(), boxes[i].tolist())
            if method == 'gaussian':
                score[i] *= math.exp(-(overlap**2) / sigma)
            elif overlap >= threshold:
                score[i] *= 0.0 if method == 'naive' else 1 - overlap
            if score[i] < min_score:
                del score[i]
    return kept


def bilinear(plane: Tensor, y: float, x: float) -> Tensor:
    """Value of (H, W) at a position in cells, the map continued by zeros."""
    total = plane.new_zeros(())
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                total = total + plane[row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def bilinear_edge(plane: Tensor, y: float, x: float) -> Tensor:
    """As RoIAlign has it: the map continued by its edge for one cell, zero beyond."""
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return plane.new_zeros(())
    return bilinear(plane, min(max(y, 0), height - 1), min(max(x, 0), width - 1))


def roi_align(
    features: Tensor, rois: Tensor, size: tuple[int, int], scale: float, ratio: int, mode: str, aligned: bool
) -> Tensor:
    result = features.new_zeros(len(rois), features.shape[1], *size)
    for k, (index, *box) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (v * scale - (0.5 if aligned else 0) for v in box)
        width, height = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, 1), max(y2 - y1, 1))
        bin_h, bin_w = height / size[0], width / size[1]
        points_y, points_x = (ratio or math.ceil(bin_h)), (ratio or math.ceil(bin_w))
        for channel in range(features.shape[1]):
            plane = features[int(index), channel]
            for i in range(size[0]):
                for j in range(size[1]):
                    values = torch.stack(
                        [
                            bilinear_edge(
                                plane,
                                y1 + (i + (p + 0.5) / points_y) * bin_h,
                                x1 + (j + (q + 0.5) / points_x) * bin_w,
                            )
                            for p in range(points_y)
                            for q in range(points_x)
                        ]
                    )
                    result[k, channel, i, j] = values.mean() if mode == 'avg' else values.max()
    return result


def roi_pool(features: Tensor, rois: Tensor, size: tuple[int, int], scale: float) -> Tensor:
    """A cell (row, column) belongs to a bin if the unit square there overlaps it; the box ends at x2 + 1."""
    result = features.new_zeros(len(rois), features.shape[1], *size)
    height, width = features.shape[2:]
    for k, (index, x1, y1, x2, y2) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = x1 * scale, y1 * scale, (x2 + 1) * scale, (y2 + 1) * scale
        for i in range(size[0]):
            top, bottom = y1 + i * (y2 - y1) / size[0], y1 + (i + 1) * (y2 - y1) / size[0]
            for j in range(size[1]):
                left, right = x1 + j * (x2 - x1) / size[1], x1 + (j + 1) * (x2 - x1) / size[1]
                cells = [
                    features[int(index), :, row, column]
                    for row in range(height)
                    for column in range(width)
                    if row + 1 > top and row < bottom and column + 1 > left and column < right
                ]
                if cells:
                    result[k, :, i, j] = torch.stack(cells).amax(dim=0)
    return result


def deform_sample(plane: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """As deformable convolution has it: positions are tensors, with gradient; nothing at or beyond -1 and H (W)."""
    height, width = plane.shape
    total = plane.new_zeros(())
    if not (-1 < y < height and -1 < x < width):
        return total
    top, left = math.floor(y.detach()), math.floor(x.detach())
    for row, weight_y in ((top, top + 1 - y), (top + 1, y - top)):
        for column, weight_x in ((left, left + 1 - x), (left + 1, x - left)):
            if 0 <= row < height and 0 <= column < width:
                total = total + plane[row, column] * weight_y * weight_x
    return total


def deform_conv(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    deform_groups: int,
) -> Tensor:
    """offset: (N, deform_groups * cells * 2, h, w); mask: (N, deform_groups * cells, h, w)."""
    batch, channels = x.shape[:2]
    out_channels, group_channels, kernel_h, kernel_w = weight.shape
    height, width = offset.shape[2:]
    result = x.new_zeros(batch, out_channels, height, width)
    for n in range(batch):
        for channel in range(channels):
            group = channel // group_channels
            outputs = range(group * out_channels // groups, (group + 1) * out_channels // groups)
            deform_group = channel // (channels // deform_groups)
            for i in range(height):
                for j in range(width):
                    for cell in range(kernel_h * kernel_w):
                        entry = deform_group * kernel_h * kernel_w + cell
                        dy, dx = offset[n, 2 * entry, i, j], offset[n, 2 * entry + 1, i, j]
                        row, column = divmod(cell, kernel_w)
                        y = i * stride[0] - padding[0] + row * dilation[0] + dy
                        z = j * stride[1] - padding[1] + column * dilation[1] + dx
                        value = deform_sample(x[n, channel], y, z) * mask[n, entry, i, j]
                        for o in outputs:
                            result[n, o, i, j] += weight[o, channel % group_channels, row, column] * value
    return result


def ms_deform_attn(value: Tensor, shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    batch, _, heads, channels = value.shape
    queries, levels, points = locations.shape[1], locations.shape[3], locations.shape[4]
    result = value.new_zeros(batch, queries, heads, channels)
    starts = [sum(h * w for h, w in shapes[:level]) for level in range(levels)]
    for n in range(batch):
        for q in range(queries):
            for head in range(heads):
                for level, (height, width) in enumerate(shapes):
                    cells = value[n, starts[level] : starts[level] + height * width, head].reshape(height, width, -1)
                    for point in range(points):
                        x, y = locations[n, q, head, level, point].tolist()
                        for channel in range(channels):
                            sample = bilinear(cells[..., channel], y * height - 0.5, x * width - 0.5)
                            result[n, q, head, channel] += weights[n, q, head, level, point] * sample
    return result.flatten(2)


def carafe(features: Tensor, masks: Tensor, kernel: int, groups: int, scale: int) -> Tensor:
    """Every output cell: the window round its input cell, by the weights that the output cell has for the group."""
    batch, channels, height, width = features.shape
    result = features.new_zeros(batch, channels, height * scale, width * scale)
    for n in range(batch):
        for channel in range(channels):
            group = channel // (channels // groups)
            for i in range(height * scale):
                for j in range(width * scale):
                    for cell in range(kernel * kernel):
                        row = i // scale + cell // kernel - kernel // 2
                        column = j // scale + cell % kernel - kernel // 2
                        if 0 <= row < height and 0 <= column < width:
                            weight = masks[n, group * kernel * kernel + cell, i, j]
                            result[n, channel, i, j] += weight * features[n, channel, row, column]
    return result


def deform_roi_pool(
    features: Tensor, rois: Tensor, offset: Tensor, size: tuple[int, int], scale: float, ratio: int, gamma: float
) -> Tensor:
    """RoIAlign (aligned) whose bins are shifted by gamma * (width of the RoI * offset[0], height * offset[1])."""
    result = features.new_zeros(len(rois), features.shape[1], *size)
    for k, (index, *box) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (v * scale - 0.5 for v in box)
        bin_h, bin_w = (y2 - y1) / size[0], (x2 - x1) / size[1]
        points_y, points_x = (ratio or math.ceil(bin_h)), (ratio or math.ceil(bin_w))
        for i in range(size[0]):
            for j in range(size[1]):
                dx, dy = (gamma * side * float(offset[k, a, i, j]) for a, side in enumerate((x2 - x1, y2 - y1)))
                for p in range(points_y):
                    for q in range(points_x):
                        y = y1 + dy + (i + (p + 0.5) / points_y) * bin_h
                        x = x1 + dx + (j + (q + 0.5) / points_x) * bin_w
                        for channel in range(features.shape[1]):
                            value = bilinear_edge(features[int(index), channel], y, x)
                            result[k, channel, i, j] += value / (points_y * points_x)
    return result
