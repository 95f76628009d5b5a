"""What terms leave of the student's own losses, and no silent zero of a masked feature term."""

from pathlib import Path

from mmpd.distill.distiller import weighed
from mmpd.errors import ConfigError
from tests.toys import build_distiller, first_losses

import pytest
import torch

FEATURE = dict(type='FeatureTerm')


def test_a_feature_term_that_masks_every_level_is_an_error_and_not_a_zero(tmp_path: Path):
    distiller = build_distiller(tmp_path, terms=dict(feature=FEATURE))
    distiller.alignment.positives = (0, 0, 0, 0)
    with pytest.raises(ConfigError, match='terms.feature: no student level .* has a positive.*student_pyramid'):
        first_losses(distiller)


def test_terms_leave_their_part_of_the_students_own_losses_and_no_accuracy_is_touched(tmp_path: Path):
    losses = dict(loss_cls=[torch.tensor(2.0), torch.tensor(4.0)], loss_bbox=torch.tensor(6.0), acc=torch.tensor(0.5))
    assert weighed(1, losses) == losses
    left = weighed(0.25, losses)
    assert [v.item() for v in left['loss_cls']] == [0.5, 1.0]
    assert (left['loss_bbox'], left['acc']) == (1.5, 0.5)
    distiller = build_distiller(tmp_path, terms=dict(feature=FEATURE))
    whole = first_losses(distiller)
    distiller.terms['feature'].own_loss_weight = 0.25
    torch.testing.assert_close(first_losses(distiller)['loss_cls'], whole['loss_cls'] / 4)
