"""The size of an LR image: the one rule for networks, costs, checks and the deploy config (ours)."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction


def lr_size(hr_size: Iterable[int], ratio: Fraction) -> tuple[int, int]:
    """(width, height) in LR pixels of what `ReduceResolution` makes of an HR image.

    At ratio p/q it pads HR sides up to multiples of p, and p HR pixels become q LR pixels; so 1000 becomes 668 at 3/2.

    Args:
        hr_size: (width, height) in HR pixels.
        ratio: HR side / LR side, p/q.
    """
    p, q = ratio.numerator, ratio.denominator
    width, height = (-(-side // p) * q for side in hr_size)
    return width, height
