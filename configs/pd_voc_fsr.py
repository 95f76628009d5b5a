# pd_voc.py with FSR deployed in the student: its head runs on the HR grid from an LR image, so it costs there what the
# assistant's costs, and the student needs mmpd at test time. `terms.fsr` would be the train-time form (no key in the
# student); with the neck deployed, `feature` compares the finer maps directly.
_base_ = ['pd_voc.py']

ratio = 2  # another ratio: change it in the neck and the strides of `with_fsr` as well
student_pyramid = 'cheap'

r18 = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
with_fsr = dict(
    neck=[
        dict(
            type='FPN',
            in_channels=[64, 128, 256, 512],
            out_channels=256,
            start_level=1,
            add_extra_convs='on_input',
            num_outs=5,
        ),
        dict(type='FSR', in_channels=256, ratio=2, num_levels=5),
    ],
    bbox_head=dict(anchor_generator=dict(strides=[4, 8, 16, 32, 64])),
)
stages = dict(assistant=dict(detector=r18), student=dict(detector=r18, overrides=with_fsr))
