"""What became of each answer, and the uploads side by side.

Rule: it may be asked at any time, since Ctrl-C asks in the middle.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from ._plan import Cell, Client, Way
from ._run import Attempt, Run

# What a proxy says when the application's own answer got lost on the way to it.
_GATEWAY = frozenset({502, 503, 504})
_AMBIGUOUS = 503  # an application may mean it, too


class Fate(Enum):
    """What became of one answer."""

    DELIVERED = "delivered"
    LOST = "lost"
    REPLACED = "replaced"
    MALFORMED = "malformed"
    UNFINISHED = "unfinished"
    NO_ANSWER = "no answer"

    @property
    def is_loss(self) -> bool:
        """Whether somebody misses an answer."""
        return self is not Fate.DELIVERED


def fates(attempts: Iterable[Attempt]) -> list[Fate]:
    """Return what became of each answer; the others help to tell a proxy's words from an answer."""
    attempts = list(attempts)
    own = {a.answer.status for a in attempts if a.answer.delivered} - {_AMBIGUOUS, 502, 504}
    return [_fate(attempt, bool(own)) for attempt in attempts]


def seen(run: Run) -> list[tuple[Attempt, Fate]]:
    """Return the uploads so far, each with what became of its answer."""
    return list(zip(run.attempts, fates(run.attempts), strict=True))


def _fate(attempt: Attempt, others_differ: bool) -> Fate:
    answer = attempt.answer
    if answer.delivered:
        if answer.status not in _GATEWAY or (answer.status == _AMBIGUOUS and not others_differ):
            return Fate.DELIVERED
        return Fate.REPLACED
    if answer.malformed is not None:
        return Fate.MALFORMED
    if attempt.end != "timeout":
        return Fate.LOST
    if answer.noticed_seconds is None:
        return Fate.NO_ANSWER
    # It lay ready or was whole, and the client was still sending: a deadlock, which is a loss.
    is_stuck = answer.first_byte_seconds is None or answer.complete
    return Fate.LOST if is_stuck else Fate.UNFINISHED


@dataclass(frozen=True, slots=True)
class Pair:
    """One lost and one delivered upload to look at, as alike as the run has them.

    Attributes:
        lost: None if none was.
        delivered: None if none was.
    """

    lost: Attempt | None
    delivered: Attempt | None


def pair(run: Run) -> Pair:
    """Choose two uploads for the picture."""
    every = seen(run)
    lost = max((a for a, fate in every if fate.is_loss), key=_telling, default=None)

    def alike(attempt: Attempt) -> tuple[bool, bool, bool, int, bool]:
        cell = attempt.cell
        like = lost.cell if lost is not None else cell
        return (
            cell.size_bytes == like.size_bytes,
            cell.way == like.way,
            cell.client == like.client,
            cell.size_bytes,
            attempt.early,
        )

    delivered = max((a for a, fate in every if not fate.is_loss), key=alike, default=None)
    return Pair(lost, delivered)


def _telling(attempt: Attempt) -> tuple[bool, bool, int]:
    """Rank a loss by how much its picture shows: an answer that lay ready, and a long upload."""
    noticed = attempt.answer.noticed_seconds is not None
    return (noticed, attempt.cell.client.name == "strict", attempt.answer.sent_bytes)


def cells(run: Run) -> list[tuple[Cell, list[tuple[Attempt, Fate]]]]:
    """Return the uploads so far by their cells, in the order of the plan."""
    every = seen(run)
    return [(cell, [(a, fate) for a, fate in every if a.cell == cell]) for cell in run.plan.cells]


def rows(run: Run) -> list[tuple[Way, Client]]:
    """Return the rows of the overview: every way and client of the plan, in its order."""
    return list(dict.fromkeys((cell.way, cell.client) for cell in run.plan.cells))
