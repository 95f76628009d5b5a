"""Every family of mmdet's model zoo in a chain: it trains with responses, without them and says why, or is refused with
the reason. docs/detectors.md has the same table, which a test compares.

A row checks a teacher alone, and a student of the same family at ratio 2. A few rows are quick; `pytest -m soak` runs
all, some minutes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from mmpd.check.finding import StageCheck
from mmpd.check.preflight import check_stage
from tests.zoo import SIZE, shrunk, zoo_chain

import mmdet
import pytest

TERMS = dict(feature=dict(type='FeatureTerm'), isrd=dict(type='ISRDTerm'), response=dict(type='ResponseTerm'))
UNKNOWN = 'no dense head that AFP knows'
MASKS = 'learns (from )?masks'


@dataclass(frozen=True)
class Row:
    """A family: one of its configs, what is made narrow by hand, and what becomes of it.

    Attributes:
        outcome: 'responses', 'without' or 'refused'. why: pattern of what is said where it is not 'responses'.
        student: config of the student where it is of another family.
        pyramid: `student_pyramid` of the chain.
        coarse: one level of stride 16 or 32, in whose cells the drawn objects of 12–28 pixels vanish: no feature is
            imitated.
        needs: a package that the config asks for.
        one_by_one: it predicts on one image at a time.
    """

    name: str
    detector: str
    outcome: str = 'responses'
    why: str = ''
    narrow: dict = field(default_factory=dict)
    student: str = ''
    size: tuple[int, int] = SIZE
    pyramid: str = 'fine'
    coarse: bool = False
    needs: str = ''
    one_by_one: bool = False


GN = dict(bbox_head=dict(norm_cfg=dict(type='GN', num_groups=4, requires_grad=True)))
CSP = dict(
    divide=False,
    backbone=dict(widen_factor=1 / 16, deepen_factor=0.167),
    neck=dict(in_channels=[16, 32, 64], out_channels=16, num_csp_blocks=1),
    bbox_head=dict(in_channels=16, feat_channels=16),
    data_preprocessor=dict(batch_augments=None),
)
SSDLITE_WIDTHS = (24, 1280, 32, 16, 16, 16)
SSDLITE = dict(
    divide=False,
    backbone=dict(widen_factor=0.25),
    neck=dict(in_channels=(24, 1280), out_channels=SSDLITE_WIDTHS),
    bbox_head=dict(in_channels=SSDLITE_WIDTHS),
)
EFFICIENTNET = dict(
    divide=False,
    data_preprocessor=dict(batch_augments=None),
    backbone=dict(arch='b0'),
    neck=dict(in_channels=[40, 112, 320], out_channels=16),
    bbox_head=dict(in_channels=16, feat_channels=16, stacked_convs=1),
)
YOLOV3 = dict(
    divide=False,
    backbone=dict(widen_factor=0.25),
    neck=dict(in_channels=[80, 24, 8], out_channels=[16, 16, 16]),
    bbox_head=dict(in_channels=[16, 16, 16], out_channels=[16, 16, 16]),
)
QUERIES = dict(bbox_head=dict(embed_dims=32))
HOURGLASS = dict(backbone=dict(feat_channel=32))
NAS_FCOS = dict(**GN, backbone=dict(norm_cfg=dict(eps=1e-5)))  # its 0 is refused by new releases of torch
RFP = dict(neck=dict(rfp_backbone=dict(base_channels=8)))
SSD300 = dict(divide=False, data_preprocessor=dict(pad_size_divisor=300))
SSD512 = dict(divide=False, data_preprocessor=dict(pad_size_divisor=512))
NO_MASKS = dict(roi_head=dict(mask_head=None, mask_roi_extractor=None))
# Their last ResNet stage is in the RoI head, with one width: few proposals instead.
C4 = dict(
    divide=False,
    train_cfg=dict(rcnn=dict(sampler=dict(num=8)), rpn_proposal=dict(nms_pre=50, max_per_img=20)),
    test_cfg=dict(rpn=dict(nms_pre=50, max_per_img=20)),
)
FASTER_C4 = 'faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco.py'
ONE_SIZE = dict(data_preprocessor=dict(batch_augments=None))
CONVNEXT = dict(
    **NO_MASKS,
    backbone=dict(arch=dict(_delete_=True, depths=[1, 1, 1, 1], channels=[8, 16, 32, 64])),
    neck=dict(in_channels=[8, 16, 32, 64]),
)
RPN_GN = dict(rpn_head=dict(norm_cfg=dict(type='GN', num_groups=4, requires_grad=True)))
R18 = 'retinanet/retinanet_r18_fpn_1x_coco.py'
FULL = dict(divide=False)  # its shared ResNet stage, or VGG, has one width

QUICK = [
    Row('PAA', 'paa/paa_r50_fpn_1x_coco.py', narrow=GN),
    Row('VFNet', 'vfnet/vfnet_r50_fpn_1x_coco.py', 'without', f'{UNKNOWN}.*VFNetHead', GN),
    Row('YOLOX', 'yolox/yolox_tiny_8xb8-300e_coco.py', 'without', f'{UNKNOWN}.*YOLOXHead', CSP),
    Row('EfficientNet', 'efficientnet/retinanet_effb3_fpn_8xb4-crop896-1x_coco.py', narrow=EFFICIENTNET),
    Row('Fast R-CNN', 'fast_rcnn/fast-rcnn_r50_fpn_1x_coco.py', 'refused', "another detector's proposals"),
    Row('Mask R-CNN', 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', 'refused', MASKS),
]
SOAK = [
    Row('RetinaNet', 'retinanet/retinanet_r50_fpn_1x_coco.py'),
    Row('FreeAnchor', 'free_anchor/freeanchor_r50_fpn_1x_coco.py'),
    Row('GHM', 'ghm/retinanet_r50_fpn_ghm-1x_coco.py'),
    Row('PISA', 'pisa/retinanet-r50_fpn_pisa_1x_coco.py'),
    Row('FSAF', 'fsaf/fsaf_r50_fpn_1x_coco.py'),
    Row('YOLOF', 'yolof/yolof_r50-c5_8xb8-1x_coco.py', coarse=True),
    Row('ATSS', 'atss/atss_r50_fpn_1x_coco.py', narrow=GN),
    Row('DyHead', 'dyhead/atss_r50_fpn_dyhead_1x_coco.py', narrow=GN),
    Row('DDOD', 'ddod/ddod_r50_fpn_1x_coco.py', narrow=GN),
    Row('GFL', 'gfl/gfl_r50_fpn_1x_coco.py', narrow=GN),
    Row('FCOS', 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', narrow=GN),
    Row('AutoAssign', 'autoassign/autoassign_r50-caffe_fpn_1x_coco.py', narrow=GN),
    Row('RTMDet', 'rtmdet/rtmdet_tiny_8xb32-300e_coco.py', narrow=CSP),
    Row('TOOD', 'tood/tood_r50_fpn_1x_coco.py', 'without', UNKNOWN, GN),
    Row('FoveaBox', 'foveabox/fovea_r50_fpn_4xb4-1x_coco.py', 'without', UNKNOWN),
    Row('SABL', 'sabl/sabl-retinanet_r50_fpn_1x_coco.py', 'without', UNKNOWN),
    Row('RepPoints', 'reppoints/reppoints-moment_r50_fpn_1x_coco.py', 'without', UNKNOWN),
    Row('GA-RetinaNet', 'guided_anchoring/ga-retinanet_r50_fpn_1x_coco.py', 'without', UNKNOWN, one_by_one=True),
    Row('CenterNet', 'centernet/centernet_r18_8xb16-crop512-140e_coco.py', 'refused', "validation: KeyError: 'border'"),
    Row('CenterNet2', 'centernet/centernet-update_r50-caffe_fpn_ms-1x_coco.py', 'without', UNKNOWN, GN),
    Row('SSDLite', 'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py', 'without', 'softmax', SSDLITE),
    Row('Faster R-CNN', 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'),
    Row('Double-Head R-CNN', 'double_heads/dh-faster-rcnn_r50_fpn_1x_coco.py'),
    Row('Grid R-CNN', 'grid_rcnn/grid-rcnn_r50_fpn_gn-head_1x_coco.py'),
    Row('RPN', 'rpn/rpn_r50_fpn_1x_coco.py'),
    Row('GA-Faster R-CNN', 'guided_anchoring/ga-faster-rcnn_r50_fpn_1x_coco.py', 'without', UNKNOWN, one_by_one=True),
    Row('Cascade R-CNN', 'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py'),
    Row('Libra R-CNN', 'libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco.py'),
    Row('Dynamic R-CNN', 'dynamic_rcnn/dynamic-rcnn_r50_fpn_1x_coco.py'),
    Row('DetectoRS', 'detectors/cascade-rcnn_r50-rfp_1x_coco.py', narrow=RFP),
    Row('HRNet', 'hrnet/faster-rcnn_hrnetv2p-w18-1x_coco.py'),
    Row('PAFPN', 'pafpn/faster-rcnn_r50_pafpn_1x_coco.py'),
    Row('CARAFE', 'carafe/faster-rcnn_r50_fpn-carafe_1x_coco.py'),
    Row('GN+WS', 'gn+ws/faster-rcnn_r50_fpn_gn-ws-all_1x_coco.py'),
    Row('DCN', 'dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py'),
    Row('GRoIE', 'groie/faste-rcnn_r50_fpn_groie_1x_coco.py'),
    Row('Empirical attention', 'empirical_attention/faster-rcnn_r50-attn1111_fpn_1x_coco.py'),
    Row('Res2Net', 'res2net/faster-rcnn_res2net-101_fpn_2x_coco.py'),
    Row('ResNeSt', 'resnest/faster-rcnn_s50_fpn_syncbn-backbone+head_ms-range-1x_coco.py'),
    Row('RegNet', 'regnet/retinanet_regnetx-800MF_fpn_1x_coco.py', narrow=FULL),
    Row(
        'CentripetalNet',
        'centripetalnet/centripetalnet_hourglass104_16xb6-crop511-210e-mstest_coco.py',
        'without',
        UNKNOWN,
        HOURGLASS,
    ),
    Row('PVT', 'pvt/retinanet_pvtv2-b0_fpn_1x_coco.py'),
    Row(
        'NAS-FCOS', 'nas_fcos/nas-fcos_r50-caffe_fpn_nashead-gn-head_4xb4-1x_coco.py', narrow=NAS_FCOS, pyramid='cheap'
    ),
    Row('SSD300', 'ssd/ssd300_coco.py', 'without', 'softmax', SSD300, R18, (300, 300)),
    Row('YOLOv3', 'yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py', 'without', UNKNOWN, YOLOV3),
    Row('CornerNet', 'cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco.py', 'without', UNKNOWN, HOURGLASS),
    Row(
        'Sparse R-CNN',
        'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py',
        'without',
        UNKNOWN,
        dict(rpn_head=dict(num_proposals=10), test_cfg=dict(rcnn=dict(max_per_img=10))),
    ),
    Row('DETR', 'detr/detr_r50_8xb2-150e_coco.py', 'without', UNKNOWN),
    Row('DAB-DETR', 'dab_detr/dab-detr_r50_8xb2-50e_coco.py', 'without', UNKNOWN),
    Row('Conditional DETR', 'conditional_detr/conditional-detr_r50_8xb2-50e_coco.py', 'without', UNKNOWN, FULL),
    Row('Deformable DETR', 'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py', 'without', UNKNOWN, QUERIES),
    Row('DDQ', 'ddq/ddq-detr-4scale_r50_8xb2-12e_coco.py', 'without', UNKNOWN, QUERIES),
    Row('DINO', 'dino/dino-4scale_r50_8xb2-12e_coco.py', 'without', UNKNOWN, QUERIES),
    Row('CrowdDet', 'crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py', 'refused', 'multi_instance_bbox_head'),
    Row('YOLACT', 'yolact/yolact_r50_1xb8-55e_coco.py', 'refused', MASKS),
    Row('SOLO', 'solo/solo_r50_fpn_1x_coco.py', 'refused', MASKS),
    Row('CondInst', 'condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py', 'refused', MASKS),
    Row('BoxInst', 'boxinst/boxinst_r50_fpn_ms-90k_coco.py', 'refused', MASKS),
    Row('QueryInst', 'queryinst/queryinst_r50_fpn_1x_coco.py', 'refused', MASKS),
    Row('Mask2Former', 'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py', 'refused', MASKS),
    Row('RTMDet-Ins', 'rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py', 'refused', MASKS, CSP),
    Row('GLIP', 'glip/glip_atss_swin-t_a_fpn_dyhead_16xb2_ms-2x_funtune_coco.py', 'refused', 'captions'),
    Row('Grounding DINO', 'grounding_dino/grounding_dino_r50_scratch_8xb2_1x_coco.py', 'refused', 'captions'),
    Row('LD', 'ld/ld_r18-gflv1-r101_fpn_1x_coco.py', 'refused', 'a second network'),
    Row('LAD', 'lad/lad_r50-paa-r101_fpn_2xb8_coco_1x.py', 'refused', 'a second network'),
    Row('TridentNet', 'tridentnet/tridentnet_r50-caffe_1x_coco.py', narrow=C4, student=FASTER_C4, coarse=True),
    Row('Faster R-CNN R50-C4', FASTER_C4, narrow=C4, coarse=True),
    Row('Faster R-CNN R50-DC5', 'faster_rcnn/faster-rcnn_r50-caffe-dc5_1x_coco.py', coarse=True),
    Row('FCOS-RPN', 'faster_rcnn/faster-rcnn_r50_fpn_fcos-rpn_1x_coco.py', narrow=RPN_GN),
    Row('Mask R-CNN R50-C4', 'mask_rcnn/mask-rcnn_r50-caffe-c4_1x_coco.py', 'refused', MASKS, C4),
    Row('FPG', 'fpg/retinanet_r50_fpg_crop640_50e_coco.py', narrow=ONE_SIZE, size=(256, 192)),
    Row('NAS-FPN', 'nas_fpn/retinanet_r50_nasfpn_crop640-50e_coco.py', narrow=ONE_SIZE, size=(256, 192)),
    Row('SSD512', 'ssd/ssd512_coco.py', 'without', 'softmax', SSD512, R18, (512, 512)),
    Row('PISA-SSD300', 'pisa/ssd300_pisa_coco.py', 'without', 'softmax', SSD300, R18, (300, 300)),
    Row('PISA-SSD512', 'pisa/ssd512_pisa_coco.py', 'without', 'softmax', SSD512, R18, (512, 512)),
    Row('Swin', 'swin/retinanet_swin-t-p4-w7_fpn_1x_coco.py'),
    Row(
        'ConvNeXt',
        'convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py',
        narrow=CONVNEXT,
        needs='mmpretrain',
    ),
    Row('DCNv2', 'dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py'),
    Row('Deformable RoI pooling', 'dcnv2/faster-rcnn_r50_fpn_mdpool_1x_coco.py'),
    Row('GCNet', 'gcnet/mask-rcnn_r50-gcb-r16-c3-c5_fpn_1x_coco.py', narrow=NO_MASKS),
    Row('GN', 'gn/mask-rcnn_r50_fpn_gn-all_2x_coco.py', narrow=NO_MASKS),
    Row('Seesaw loss', 'seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1.py', narrow=NO_MASKS),
    Row('mmdet 1.x', 'legacy_1.x/retinanet_r50_fpn_1x_coco_v1.py'),
    Row('HTC', 'htc/htc_r50_fpn_1x_coco.py', 'refused', MASKS),
    Row('SCNet', 'scnet/scnet_r50_fpn_1x_coco.py', 'refused', MASKS),
    Row('Mask Scoring R-CNN', 'ms_rcnn/ms-rcnn_r50_fpn_1x_coco.py', 'refused', MASKS),
    Row('PointRend', 'point_rend/point-rend_r50-caffe_fpn_ms-1x_coco.py', 'refused', MASKS),
    Row('SOLOv2', 'solov2/solov2_r50_fpn_1x_coco.py', 'refused', MASKS),
    Row('MaskFormer', 'maskformer/maskformer_r50_ms-16xb1-75e_coco.py', 'refused', MASKS),
    Row('PanopticFPN', 'panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py', 'refused', MASKS),
    Row('MM-Grounding-DINO', 'mm_grounding_dino/grounding_dino_swin-t_pretrain_obj365.py', 'refused', 'captions'),
    Row(
        'Soft Teacher', 'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py', 'refused', 'boxes'
    ),
    Row('Detectron2', 'misc/d2_faster-rcnn_r50-caffe_fpn_ms-90k_coco.py', 'refused', "detectron2's own data"),
    *(
        Row(name, f'{folder}/{file}.py', 'refused', 'videos')
        for name, folder, file in (
            ('ByteTrack', 'bytetrack', 'bytetrack_yolox_x_8xb4-80e_crowdhuman-mot17halftrain_test-mot17halfval'),
            ('DeepSORT', 'deepsort', 'deepsort_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval'),
            ('MaskTrack R-CNN', 'masktrack_rcnn', 'masktrack-rcnn_mask-rcnn_r50_fpn_8xb1-12e_youtubevis2019'),
            ('Mask2Former-VIS', 'mask2former_vis', 'mask2former_r50_8xb2-8e_youtubevis2019'),
            ('OC-SORT', 'ocsort', 'ocsort_yolox_x_8xb4-amp-80e_crowdhuman-mot17halftrain_test-mot17halfval'),
            ('QDTrack', 'qdtrack', 'qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval'),
            ('SORT', 'sort', 'sort_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval'),
            ('StrongSORT', 'strongsort', 'strongsort_yolox_x_8xb4-80e_crowdhuman-mot17halftrain_test-mot17halfval'),
        )
    ),
    Row('Re-identification', 'reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20.py', 'refused', 'persons'),
    Row('Cascade RPN', 'cascade_rpn/cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco.py', 'without', UNKNOWN),
]


# Folders of mmdet's configs that hold no family of their own.
NO_FAMILY = {
    '_base_', 'common',
    # data sets and their recipes
    'cityscapes', 'deepfashion', 'dsdl', 'lvis', 'objects365', 'openimages', 'pascal_voc', 'v3det', 'wider_face',
    # augmentations, schedules and weights of families that have a row
    'albu_example', 'instaboost', 'resnet_strikes_back', 'scratch', 'selfsup_pretrain', 'simple_copy_paste',
    'strong_baselines', 'timm_example',
    'clrnet',  # lanes, in one of the two stacks
}  # fmt: skip


def errors(check: StageCheck) -> list[str]:
    return [str(finding) for finding in check.errors]


def term_rows(check: StageCheck) -> dict[str, float]:
    """Term → the largest gradient of its losses at the student."""
    found: dict[str, float] = {}
    for row in check.losses:
        if row.term:
            found[row.term] = max(found.get(row.term, 0.0), row.gradient)
    return found


@pytest.mark.parametrize(
    'row',
    [*QUICK, *(pytest.param(row, marks=pytest.mark.soak) for row in SOAK)],
    ids=lambda row: row.name.replace(' ', '-'),
)
def test_family(row, tmp_path_factory):
    if row.needs:
        pytest.importorskip(row.needs)
    root = tmp_path_factory.getbasetemp()
    teacher = shrunk(row.detector, **row.narrow)
    student = shrunk(row.student, **(C4 if row.student == FASTER_C4 else {})) if row.student else teacher
    changes = {'size': row.size, 'student_pyramid': row.pyramid, 'data.val_batch_size': 1 if row.one_by_one else 2}
    chain = zoo_chain(root, teacher, student, TERMS, **changes)
    alone = errors(check_stage(chain.stages['teacher'], {}))
    if row.outcome == 'refused':  # with the reason, and nothing that follows from it
        assert alone and all(re.search(row.why, one) for one in alone), alone
        return
    assert alone == []
    check = check_stage(chain.stages['student'], {})
    if row.outcome == 'without':
        (said,) = errors(check)
        assert 'terms.response' in said and re.search(row.why, said)
        without = {**TERMS, 'response': None}
        check = check_stage(zoo_chain(root, teacher, student, without, **changes).stages['student'], {})
    assert errors(check) == []
    gradients = term_rows(check)
    assert set(gradients) == set(TERMS) - ({'response'} if row.outcome == 'without' else set())
    assert gradients['isrd'] > 0 and (gradients['feature'] > 0 or row.coarse)


@pytest.mark.soak
def test_a_network_that_copies_its_images_in_training_is_no_student(tmp_path_factory):
    """TridentNet: three maps an image; a bare tensor error before."""
    trident = shrunk('tridentnet/tridentnet_r50-caffe_1x_coco.py', **C4)
    chain = zoo_chain(tmp_path_factory.getbasetemp(), trident, trident, {**TERMS, 'response': None})
    (said,) = errors(check_stage(chain.stages['student'], {}))
    assert re.search('stages.student.detector.*6 feature maps of 2 images.*as a guide', said), said


def test_every_folder_of_mmdets_configs_is_accounted_for():
    folders = {path.name for path in Path(mmdet.__file__).parent.glob('.mim/configs/*') if path.is_dir()}
    assert folders - {row.detector.partition('/')[0] for row in QUICK + SOAK} - NO_FAMILY == set()


def test_the_docs_table_is_this_one():
    text = (Path(__file__).parents[2] / 'docs/detectors.md').read_text()
    table = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if len(cells) == 3 and cells[1] in ('responses', 'without', 'refused'):
            table.update(dict.fromkeys((name.strip() for name in cells[0].split(',')), cells[1]))
    assert table == {row.name: row.outcome for row in QUICK + SOAK}
