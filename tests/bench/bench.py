"""What a section gets: how big to make its samples, and where to put its figures."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench.results import Figure, figure, paired

FEWEST, MOST = 40, 4000


class BenchError(RuntimeError):
    """A measurement is not valid; the message says why."""


@dataclass
class Bench:
    """One section while it runs.

    Attributes:
        quick: Whether to take fewer and smaller samples.
        servers: The only servers to measure; all when empty.
        figures: What was found.
        skipped: What was left out, and why.
    """

    quick: bool
    servers: Sequence[str] = ()
    figures: list[Figure] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def pick(self, full: Any, quick: Any) -> Any:
        """Return the size for this kind of run."""
        return quick if self.quick else full

    def add(self, samples: Sequence[float], **names: Any) -> None:
        """Keep a figure; the names are those of `figure`."""
        self.figures.append(figure(samples, **names))

    def add_ratio(
        self,
        samples: Sequence[float],
        others: Sequence[float],
        *,
        inverse: bool = False,
        **names: Any,
    ) -> None:
        """Keep the ratio of samples that were taken in pairs."""
        self.add(paired(samples, others, inverse=inverse), unit="", **names)

    def skip(self, reason: str) -> None:
        """Note what is left out."""
        self.skipped.append(reason)
        say(f"skipped: {reason}")


def say(text: str) -> None:
    """Tell how far the run is; the table goes to standard output."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def alternated(
    contenders: Sequence[str], samples: int, measure: Callable[[str], float]
) -> dict[str, list[float]]:
    """Measure all contenders in turn, A B B A, so that sample by sample they make pairs.

    Args:
        contenders: Their names.
        samples: How many of each.
        measure: Takes one sample of a contender.
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(samples):
        for name in contenders if number % 2 == 0 else contenders[::-1]:
            taken[name].append(measure(name))
    return taken


def count_for(seconds_each: float, seconds: float) -> int:
    """Return how many requests make a sample.

    Args:
        seconds_each: What one takes.
        seconds: How long the sample shall take.
    """
    return max(FEWEST, min(MOST, int(seconds / seconds_each)))
