"""What so many tries allow to say: a loss is a race, and a few tries may fall any way.

Rule: what would happen by chance in more than one run of twenty is not claimed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Stratum:
    """Uploads of one kind in two runs.

    Attributes:
        lost_before: How many lost their answers in the earlier run.
        tried_before: Of how many.
        lost_now: And in the later one.
        tried_now: Of how many.
    """

    lost_before: int
    tried_before: int
    lost_now: int
    tried_now: int


def shifts(strata: list[Stratum], claims: int = 1) -> tuple[bool, bool]:
    """Whether fewer answers, or more, are lost in the later run than chance is likely to bring.

    An exact test, conditional on how many of each kind were lost in both runs together: each kind
    falls on the two runs as its tries do, and the sums over all kinds are counted out. (For one
    kind it is Fisher's; for many it is that of Mantel and Haenszel, made exact.) It is two-sided.

    Args:
        strata: The kinds.
        claims: Into how many parts the chance of a wrong claim is divided, where several such
            questions are asked at once (Bonferroni): this one has one of them.
    """
    falls = [1.0]
    least = 0
    for stratum in strata:
        lost = stratum.lost_before + stratum.lost_now
        tried = stratum.tried_before + stratum.tried_now
        lowest = max(0, lost - stratum.tried_before)
        ways = [
            math.comb(stratum.tried_now, now) * math.comb(stratum.tried_before, lost - now)
            for now in range(lowest, min(lost, stratum.tried_now) + 1)
        ]
        falls = _sums(falls, [way / math.comb(tried, lost) for way in ways])
        least += lowest
    place = sum(stratum.lost_now for stratum in strata) - least
    # Rounding must not claim what is exactly on the line.
    unlikely = _UNLIKELY / 2 / claims * (1 - 1e-9)
    return math.fsum(falls[: place + 1]) <= unlikely, math.fsum(falls[place:]) <= unlikely


def _sums(some: list[float], others: list[float]) -> list[float]:
    """Return how likely each sum of two independent numbers is."""
    found = [0.0] * (len(some) + len(others) - 1)
    for at, likely in enumerate(some):
        for by, other in enumerate(others):
            found[at + by] += likely * other
    return found
