"""The plan is a pure function of two pyramids and the ratio."""

from fractions import Fraction

from mmpd.align.plan import Level, plan_alignment
from mmpd.errors import ConfigError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ASPECTS = (0.5, 1.0, 2.0)


def pyramid(*strides: float, scale: float = 4.0) -> tuple[Level, ...]:
    return tuple(Level(s, tuple((s * scale * a**0.5, s * scale / a**0.5) for a in ASPECTS)) for s in strides)


def points(*strides: float, ranges: bool = False) -> tuple[Level, ...]:
    return tuple(Level(s, offset=0.5, size_range=(4 * s, 8 * s) if ranges else None) for s in strides)


def guides_of(plan) -> list[tuple[int, ...]]:
    return [match.guides for match in plan.matches]


HR = pyramid(8, 16, 32, 64, 128)


def test_same_pyramid_at_ratio_one_is_the_identity():
    plan = plan_alignment(HR, HR, 1)
    assert guides_of(plan) == [(0,), (1,), (2,), (3,), (4,)]
    assert all(match.exact for match in plan.matches) and plan.unserved == () and plan.kind == 'window'


def test_fine_student_at_ratio_2_loses_nothing():
    plan = plan_alignment(HR, pyramid(4, 8, 16, 32, 64), 2)
    assert guides_of(plan) == [(0,), (1,), (2,), (3,), (4,)] and plan.unserved == ()


def test_cheap_student_at_ratio_2_is_moved_by_one_level_and_its_last_is_masked():
    plan = plan_alignment(HR, HR, 2, 'window')
    assert guides_of(plan) == [(1,), (2,), (3,), (4,), ()]
    assert plan.unserved == (0,)
    assert [match.student for match in plan.served()] == [0, 1, 2, 3]


def test_auto_leaves_no_guide_level_out():
    """At ratio 4 a student that can start one level finer meets all guide levels but the finest, which it merges in."""
    student = pyramid(4, 8, 16, 32, 64)
    plan = plan_alignment(HR, student, 4)
    assert plan.kind == 'resample' and plan.unserved == ()
    assert guides_of(plan)[0] == (0, 1) and not plan.matches[0].exact
    assert plan.matches[1].guides == (2,) and plan.matches[1].exact
    assert plan_alignment(HR, student, 2).kind == 'window'


def test_ratio_between_levels_resamples():
    plan = plan_alignment(HR, HR, Fraction(3, 2))
    assert plan.kind == 'resample' and not any(match.exact for match in plan.matches)
    assert plan.unserved == ()


def test_equal_strides_with_other_anchors_are_no_window():
    plan = plan_alignment(HR, pyramid(4, 8, 16, 32, 64, scale=5.0), 2)
    assert plan.kind == 'resample' and guides_of(plan) == [(0,), (1,), (2,), (3,), (4,)]


def test_resample_hands_the_guides_finest_levels_to_the_finest_student_level():
    plan = plan_alignment(HR, HR, 4, 'resample')
    assert guides_of(plan)[0] == (0, 1, 2)
    assert guides_of(plan)[-1] == ()  # 4 × 128: a factor 4 above all that the guide knows


def test_resample_is_exact_where_a_level_has_its_equal_alone():
    assert all(match.exact for match in plan_alignment(HR, pyramid(4, 8, 16, 32, 64), 2, 'resample').matches)


def test_objects_larger_than_all_student_levels_are_not_forced_on_them():
    plan = plan_alignment(HR, pyramid(4, 8), 2, 'resample')
    assert guides_of(plan) == [(0,), (1, 2)] and plan.unserved == (3, 4)


def test_size_ranges_must_agree_in_hr_pixels():
    assert plan_alignment(points(8, 16, ranges=True), points(4, 8, ranges=True), 2).kind == 'window'
    shifted = tuple(Level(p.stride, (), 0.5, (0.0, 99.0)) for p in points(4, 8))
    assert plan_alignment(points(8, 16, ranges=True), shifted, 2).kind == 'resample'


def test_open_size_ranges_meet():
    def ends(first, second):
        return (Level(first, (), 0.5, (0.0, 8.0 * first)), Level(second, (), 0.5, (8.0 * first, float('inf'))))

    assert guides_of(plan_alignment(ends(8, 16), ends(4, 8), 2)) == [(0,), (1,)]


def test_points_and_anchor_corners_do_not_meet():
    assert not Level(8, offset=0.5).same_priors(Level(8, offset=0.0))


def test_window_that_cannot_be_says_what_both_sides_have_and_what_to_change():
    with pytest.raises(ConfigError, match=r"(?s)align = 'window'.*ratio 3/2.*12\.0.*student_pyramid or the anchors"):
        plan_alignment(HR, HR, Fraction(3, 2), 'window')


def test_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="align = 'blocks' is unknown.*resample"):
        plan_alignment(HR, HR, 2, 'blocks')


@pytest.mark.parametrize(('guide', 'student'), [((), HR), (HR, ())])
def test_an_empty_pyramid_is_refused(guide, student):
    with pytest.raises(ConfigError, match='at least one'):
        plan_alignment(guide, student, 2)


pyramids = st.builds(
    lambda first, n, scale: pyramid(*(first * 2**i for i in range(n)), scale=scale),
    st.sampled_from([4, 8, 16]),
    st.integers(1, 5),
    st.sampled_from([2.0, 4.0, 8.0]),
)
ratios = st.sampled_from([Fraction(1), Fraction(3, 2), Fraction(4, 3), Fraction(2), Fraction(3), Fraction(4)])


@given(pyramids, pyramids, ratios)
@settings(max_examples=150, deadline=None)
def test_every_plan_is_complete_and_honest(guide, student, ratio):
    plan = plan_alignment(guide, student, ratio)
    assert plan == plan_alignment(guide, student, ratio)
    assert [match.student for match in plan.matches] == list(range(len(student)))
    for match in plan.matches:
        assert list(match.guides) == sorted(set(match.guides))
        if match.exact:
            level = student[match.student]
            assert len(match.guides) == 1 and guide[match.guides[0]].stride == level.stride * ratio
        for index in match.guides:  # nobody is taught objects more than twice as large as it looks for
            assert guide[index].size <= 2.001 * student[match.student].size * ratio
    taken = {index for match in plan.matches for index in match.guides}
    assert taken | set(plan.unserved) == set(range(len(guide))) and not taken & set(plan.unserved)


@given(pyramids, pyramids, ratios, st.sampled_from([2, 3]))
@settings(max_examples=60, deadline=None)
def test_only_hr_equivalent_sizes_matter(guide, student, ratio, factor):
    larger = tuple(level.scaled(factor) for level in guide)
    assert plan_alignment(larger, student, ratio * factor).matches == plan_alignment(guide, student, ratio).matches


@given(pyramids, pyramids, ratios)
@settings(max_examples=60, deadline=None)
def test_resampling_leaves_out_only_guide_levels_too_large_for_every_student_level(guide, student, ratio):
    plan = plan_alignment(guide, student, ratio, 'resample')
    largest = max(level.size * float(ratio) for level in student)
    assert all(guide[index].size > 1.99 * largest for index in plan.unserved)
