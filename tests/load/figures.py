"""Medians, quartiles and slopes: all that is computed from measurements.

Standard library only: the page is checked where nothing else is installed.
"""

import math
import statistics
from collections.abc import Sequence
from typing import TypedDict


class Spread(TypedDict):
    """A median and how far the values lie around it."""

    median: float
    first_quartile: float
    third_quartile: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles of at least one value."""
    if len(values) == 1:
        first = middle = third = float(values[0])
    else:
        first, middle, third = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(
        median=_short(middle),
        first_quartile=_short(first),
        third_quartile=_short(third),
        count=len(values),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that *share* of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the median slope between all pairs of points (Theil and Sen).

    One wild sample does not move it, as it would move a least squares fit.
    """
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for index, earlier in enumerate(points)
        for later in points[index + 1 :]
        if later[0] != earlier[0]
    ]
    return statistics.median(slopes) if slopes else 0.0


def _short(value: float) -> float:
    return float(f"{value:.5g}")
