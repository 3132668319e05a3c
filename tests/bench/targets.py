"""The targets, each stated once, and which figures meet them."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.alternatives import DRAINKIT
from tests.bench.names import CPU_RATIO, EARLY, GET, INSTRUCTIONS_RATIO, READ
from tests.bench.results import Figure, Results


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A bound for the median of figures.

    Attributes:
        section: Where the figures stand.
        words: What is promised.
        case: A pattern for the case.
        measure: A pattern for what is measured.
        limit: The bound.
        where: Patterns for the server.
        per_x: By how much it grows with each of the figure's ``x``.
        at_least: Whether more is better.
    """

    section: str
    words: str
    case: str
    measure: str
    limit: float
    where: tuple[str, ...] = ("*",)
    per_x: float = 0.0
    at_least: bool = False

    def covers(self, section: str, figure: Figure, contender: str = DRAINKIT) -> bool:
        """Whether this figure of a contender's is bound by it."""
        return (
            section == self.section
            and figure.contender == contender
            and any(fnmatch.fnmatchcase(figure.where, pattern) for pattern in self.where)
            and fnmatch.fnmatchcase(figure.case, self.case)
            and fnmatch.fnmatchcase(figure.measure, self.measure)
        )

    def limit_for(self, figure: Figure) -> float:
        """Return the bound of this figure."""
        return round(self.limit + self.per_x * (figure.x or 0.0), 6)

    def sign(self) -> str:
        """Return how the bound is written."""
        return "≥" if self.at_least else "≤"

    def verdict(self, figure: Figure) -> str:
        """Tell whether the median is within the bound, and whether the quartiles agree."""
        limit = self.limit_for(figure)
        met = figure.median >= limit if self.at_least else figure.median <= limit
        is_close = figure.low <= limit <= figure.high and figure.low < figure.high
        return ("met" if met else "not met") + (", within the spread" if is_close else "")


TARGETS = (
    Target(
        section="import",
        words="`import drainkit` in a fresh Python, in ms",
        case="import drainkit",
        measure="time",
        limit=15.0,
    ),
    Target(
        section="import",
        words="an adapter, behind what it adapts, in ms",
        case="import drainkit_*",
        measure="time behind *",
        limit=10.0,
    ),
    Target(
        section="per request",
        words="WSGI GET: overhead in µs",
        case="WSGI GET",
        measure="overhead",
        limit=0.4,
    ),
    Target(
        section="per request",
        words="WSGI GET: overhead as a part of the snippet's",
        case="WSGI GET",
        measure="overhead / snippet's",
        limit=0.2,
    ),
    Target(
        section="per request",
        words="ASGI GET with 12 headers: overhead in µs",
        case="ASGI GET",
        measure="overhead",
        limit=0.8,
    ),
    Target(
        section="per request",
        words="WSGI POST of 4 KiB, fully read: overhead in µs, 1.8 and 0.25 for each read",
        case="WSGI POST, *",
        measure="overhead",
        limit=1.8,
        per_x=0.25,
    ),
    Target(
        section="per request",
        words="WSGI POST of 4 KiB by reads: the fixed part of the overhead in µs",
        case="WSGI POST by reads",
        measure="fixed overhead",
        limit=1.8,
    ),
    Target(
        section="per request",
        words="WSGI POST of 4 KiB by reads: what each read adds, in µs",
        case="WSGI POST by reads",
        measure="overhead for each read call",
        limit=0.25,
    ),
    Target(
        section="per request",
        words="ASGI POST of 4 KiB, fully read: overhead in µs, 2.2 and 0.3 for each message",
        case="ASGI POST, *",
        measure="overhead",
        limit=2.2,
        per_x=0.3,
    ),
    Target(
        section="per request",
        words="ASGI POST of 4 KiB by messages: the fixed part of the overhead in µs",
        case="ASGI POST by messages",
        measure="fixed overhead",
        limit=2.2,
    ),
    Target(
        section="per request",
        words="ASGI POST of 4 KiB by messages: what each message adds, in µs",
        case="ASGI POST by messages",
        measure="overhead for each message",
        limit=0.3,
    ),
    Target(
        section="per request",
        words="WSGI POST of 4 KiB, answered early: overhead in µs",
        case="WSGI POST answered early*",
        measure="overhead",
        limit=8.0,
    ),
    Target(
        section="per request",
        words="ASGI POST of 4 KiB, answered early: overhead in µs",
        case="ASGI POST answered early",
        measure="overhead",
        limit=12.0,
    ),
    Target(
        section="reading",
        words="an application that reads 1 GiB: throughput as a part of that without",
        case="application reads the body",
        measure="throughput / without",
        limit=0.98,
        at_least=True,
    ),
    Target(
        section="discarding",
        words="discarding: speed as a part of the server's own fastest read loop",
        case="discard",
        measure="speed / own loop's",
        limit=0.95,
        at_least=True,
    ),
    Target(
        section="discarding",
        words="discarding: speed as a part of the snippet's",
        case="discard",
        measure="speed / snippet's",
        limit=1.0,
        at_least=True,
    ),
    Target(
        section="discarding",
        words="discarding 1 GiB: growth of the peak memory in MiB",
        case="discard 1 GiB",
        measure="growth of peak memory",
        limit=2.0,
    ),
    Target(
        section="answer",
        words="an eager client has the answer after so many seconds",
        case="eager client",
        measure="time to the answer",
        limit=0.05,
    ),
    Target(
        section="answer",
        words=(
            "a strict client waits no longer than with the snippet (on ASGI than with a handler "
            "that reads everything)"
        ),
        case="strict client",
        measure="time / snippet's or handler's",
        # The link's own time differs by so much from one upload to the next.
        limit=1.005,
    ),
    Target(
        section="servers",
        words="1 KiB answered early on uvicorn, hypercorn, gunicorn asgi: CPU as a multiple",
        where=("uvicorn-*", "hypercorn-*", "gunicorn-asgi"),
        case=f"{EARLY}*",
        measure=CPU_RATIO,
        limit=1.10,
    ),
    Target(
        section="servers",
        words="1 KiB answered early on granian ASGI, whose `receive()` always suspends: the same",
        where=("granian-asgi",),
        case=f"{EARLY}*",
        measure=CPU_RATIO,
        limit=1.25,
    ),
    Target(
        section="servers",
        words="1 KiB answered early on gunicorn's WSGI workers, cheroot, waitress: the same",
        where=("gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent", "cheroot", "waitress"),
        case=f"{EARLY}*",
        measure=CPU_RATIO,
        limit=1.10,
    ),
    Target(
        section="servers",
        words="1 KiB answered early on granian WSGI: the same",
        where=("granian-wsgi",),
        case=f"{EARLY}*",
        measure=CPU_RATIO,
        limit=1.20,
    ),
    Target(
        section="servers",
        words="1 KiB that is read, on every server: CPU as a multiple of that without",
        case=READ,
        measure=CPU_RATIO,
        limit=1.03,
    ),
    Target(
        section="server instructions",
        words="GET, on every server: instructions as a multiple of those without",
        case=GET,
        measure=INSTRUCTIONS_RATIO,
        limit=1.01,
    ),
    Target(
        section="servers",
        words="requests a second as a part of those without",
        case="*",
        measure="requests / without",
        limit=0.98,
        at_least=True,
    ),
    Target(
        section="servers",
        words="p99 without as a part of that with",
        case="*",
        measure="p99 without / with",
        limit=0.98,
        at_least=True,
    ),
)


def judged(results: Results, contender: str = DRAINKIT) -> Iterator[tuple[Target, Figure]]:
    """Yield each target with each figure that it binds, in the order of the targets.

    Args:
        results: The figures.
        contender: Whose; the targets are drainkit's, and others are held to them to compare.
    """
    for target in TARGETS:
        if target.section in results.sections:
            for figure in results.sections[target.section].figures:
                if target.covers(target.section, figure, contender):
                    yield target, figure


def target_of(section: str, figure: Figure) -> Target | None:
    """Return the target of a figure; None if it has none."""
    return next((target for target in TARGETS if target.covers(section, figure)), None)
