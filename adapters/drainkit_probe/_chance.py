"""What so many tries allow to say: a loss is a race, and a few tries may fall any way.

Rule: what would happen by chance in more than one run of twenty is not claimed.
"""

from __future__ import annotations

import math

_UNLIKELY = 0.05


def tells(lost: int, tried: int, other_tried: int) -> bool:
    """Whether a difference tells anything: these lost some, others that were tried lost none.

    Fisher's exact test, one-sided: of all ways in which so many losses can fall on the uploads of
    both, how many spare the others?

    Args:
        lost: How many of the first lost their answers.
        tried: How many of the first there were.
        other_tried: How many others there were.
    """
    return math.comb(tried, lost) <= _UNLIKELY * math.comb(tried + other_tried, lost)


def unseen_percent(arrived: int) -> int:
    """Return the loss, in percent, that would go unseen by so many uploads in one run of twenty.

    Args:
        arrived: How many answers arrived, without one that was lost.
    """
    rate: float = 1 - _UNLIKELY ** (1 / arrived)
    return math.floor(100 * rate)
