"""`init_from` into a pyramid that starts finer: the neck goes by backbone level, not by index."""

from mmpd.io.state import load_into

import pytest
import torch
from mmdet.models.necks import FPN
from torch import nn

WIDTHS = [4, 6, 8, 10]


class Net(nn.Module):
    def __init__(self, start_level: int, num_outs: int = 5) -> None:
        super().__init__()
        extra = 'on_output'
        self.neck = FPN(WIDTHS, 8, num_outs=num_outs, start_level=start_level, add_extra_convs=extra)


def maps_of_a_backbone():
    torch.manual_seed(1)
    return [torch.randn(1, width, 64 >> level, 64 >> level) for level, width in enumerate(WIDTHS)]


@pytest.mark.parametrize('shift', [1, 2])
def test_the_levels_that_both_have_are_the_same_maps_as_before(tmp_path, shift):
    coarse, fine = Net(start_level=shift), Net(start_level=0)
    torch.save(coarse.state_dict(), tmp_path / 'coarse.pth')
    load_into(fine, tmp_path / 'coarse.pth', partial=True)
    before, after = coarse.neck(maps_of_a_backbone()), fine.neck(maps_of_a_backbone())
    for old, new in zip(before, after[shift:], strict=False):
        torch.testing.assert_close(new, old)
    assert torch.equal(fine.neck.fpn_convs[0].conv.weight, coarse.neck.fpn_convs[0].conv.weight)


def test_equal_pyramids_and_other_widths_go_by_name_as_before(tmp_path):
    same, twin = Net(1), Net(1)
    torch.save(same.state_dict(), tmp_path / 'same.pth')
    report = load_into(twin, tmp_path / 'same.pth', partial=True)
    assert not report.missing and not report.mismatched
    other = Net(0)
    other.neck = FPN([5, 7, 9, 11], 8, num_outs=5, start_level=0)
    report = load_into(other, tmp_path / 'same.pth', partial=True)
    assert any('lateral_convs.0' in key for key, _, _ in report.mismatched)


def test_an_fpn_before_another_neck_starts_from_a_plain_one(tmp_path):
    coarse, fine = Net(start_level=1), Net(start_level=0)
    fine.neck = nn.Sequential(fine.neck, nn.Conv2d(8, 8, 1))
    torch.save(coarse.state_dict(), tmp_path / 'coarse.pth')
    load_into(fine, tmp_path / 'coarse.pth', partial=True)
    before, after = coarse.neck(maps_of_a_backbone()), fine.neck[0](maps_of_a_backbone())
    for old, new in zip(before, after[1:], strict=False):
        torch.testing.assert_close(new, old)
