"""The size of an LR image and of an LR batch: one rule each for training, testing, costs and deploy configs (ours)."""

from __future__ import annotations

import math
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


def pair_divisor(student: int, guide: int, ratio: Fraction) -> int:
    """What the sides of an LR batch must be multiples of, so that both networks of a pair get the grids they need.

    HR is exactly p/q times LR, so LR is a multiple of q, and of what makes HR a multiple of the guide's divisor.

    Args:
        student: divisor of the student's images (LR pixels), 1 for none. guide: of the guide's (HR pixels).
        ratio: HR side / LR side, p/q.
    """
    return math.lcm(student, ratio.denominator, (guide / ratio).numerator)
