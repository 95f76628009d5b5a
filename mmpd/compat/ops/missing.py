"""The mmcv operators that the stand-in does not have, and what needs them. docs/operators.md has the same table."""

_ROTATED = 'rotated and four-cornered boxes (MMRotate)'
_POINTS = 'point clouds (MMDetection3D)'
_TEXT = 'scene text (MMOCR)'
_PICTURES = 'image generation (MMagic)'
_VIDEO = 'video (MMAction2, MMFlow)'

NEEDED_BY: dict[str, str] = {
    'line_nms': "lane detection: CLRNet, mmdet's configs/clrnet (onedl)",
    'border_align': 'BorderDet (no config of mmdet)',
    'prroi_pool': 'precise RoI pooling (no config of mmdet)',
    'psamask': 'PSANet (MMSegmentation)',
    'active_rotated_filter': _ROTATED,
    'box_iou_quadri': _ROTATED,
    'box_iou_rotated': _ROTATED,
    'convex_giou': _ROTATED,
    'convex_iou': _ROTATED,
    'diff_iou_rotated': _ROTATED,
    'min_area_polygons': _ROTATED,
    'nms_quadri': _ROTATED,
    'nms_rotated': _ROTATED,
    'points_in_polygons': _ROTATED,
    'riroi_align_rotated': _ROTATED,
    'roi_align_rotated': _ROTATED,
    'rotated_feature_align': _ROTATED,
    'assign_score_withk': _POINTS,
    'ball_query': _POINTS,
    'chamfer_distance': _POINTS,
    'dynamic_point_to_voxel': _POINTS,
    'dynamic_voxelize': _POINTS,
    'furthest_point_sampling': _POINTS,
    'fused_indice_conv': _POINTS,
    'gather_points': _POINTS,
    'get_indice_pairs': _POINTS,
    'group_points': _POINTS,
    'hard_voxelize': _POINTS,
    'indice_conv': _POINTS,
    'indice_maxpool': _POINTS,
    'iou3d': _POINTS,
    'knn': _POINTS,
    'points_in_boxes': _POINTS,
    'roiaware_pool3d': _POINTS,
    'roipoint_pool3d': _POINTS,
    'stack_ball_query': _POINTS,
    'stack_group_points': _POINTS,
    'three_interpolate': _POINTS,
    'three_nn': _POINTS,
    'bezier_align': _TEXT,
    'contour_expand': _TEXT,
    'pixel_group': _TEXT,
    'bias_act': _PICTURES,
    'filtered_lrelu': _PICTURES,
    'fused_bias_leakyrelu': _PICTURES,
    'upfirdn2d': _PICTURES,
    'correlation': _VIDEO,
    'tin_shift': _VIDEO,
}
"""By the start of the operator's name, without _forward, _backward and the like."""


def needed_by(operator: str) -> str | None:
    """What needs the operator of this name; None for one that mmcv has got since."""
    matches = [name for name in NEEDED_BY if operator == name or operator.startswith(f'{name}_')]
    return NEEDED_BY[max(matches, key=len)] if matches else None
