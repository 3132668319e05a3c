"""A run beside an earlier one: better, same or worse.

Rule: only uploads of the same kind are compared, and what chance alone would bring in more than one
comparison of twenty is called the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from . import words
from ._chance import Stratum, shifts
from ._earlier import BadReportError, Earlier, Share, Spot
from ._fates import cells, seen
from ._place import server_shown

if TYPE_CHECKING:
    from datetime import datetime

    from ._plan import Plan
    from ._run import Run


class Change(Enum):
    """What became of lost answers since the earlier run."""

    BETTER = "better"
    SAME = "same"
    WORSE = "worse"


@dataclass(frozen=True, slots=True)
class Row:
    """The uploads of one way and client in both runs, at the sizes that both have.

    Attributes:
        way: The way's name.
        client: The client's.
        before: How many of them were lost in the earlier run.
        now: And in this one.
        change: What the tries allow to say of them.
    """

    way: str
    client: str
    before: Share
    now: Share
    change: Change

    @property
    def words(self) -> str:
        """What the tries allow to say, in words."""
        is_open = self.change is Change.SAME and not self.before.is_like(self.now)
        return "may be chance" if is_open else self.change.value


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run beside an earlier one.

    Attributes:
        change: For programs.
        sentence: For people.
        began: When the earlier run began; None if its report does not say.
        before: How many answers were lost in it, of the kinds that both runs have.
        now: And in this one.
        rows: The same by way and client.
        notes: What else differs.
    """

    change: Change
    sentence: str
    began: datetime | None
    before: Share
    now: Share
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def exit_status(self) -> int:
        """The exit status of the command; 4 is the same with lost answers."""
        if self.change is Change.WORSE:
            return 1
        return 4 if self.change is Change.SAME and self.now.lost else 0

    @property
    def since(self) -> str:
        """With what it was compared, in words."""
        return f"the run of {self.began:%Y-%m-%d %H:%M} UTC" if self.began else "the earlier run"


def check_comparable(plan: Plan, earlier: Earlier) -> None:
    """Refuse to compare before anything is sent.

    Raises:
        BadReportError: The earlier run has no upload like those of the plan.
    """
    asked = {Spot(c.way.name, c.client.name, c.size_bytes) for c in plan.cells}
    if not asked & earlier.shares.keys():
        raise BadReportError(
            "it has no upload of a kind that would be made now; give the --sizes, --ways and "
            "--clients of then"
        )


def compare(run: Run, earlier: Earlier) -> Comparison | None:
    """Return what became of lost answers since an earlier run.

    Args:
        run: This run.
        earlier: The earlier one.

    Returns:
        The comparison; None if no upload so far is like one of then.
    """
    now = _shares(run)
    shared = [spot for spot in now if spot in earlier.shares]
    if not shared:
        return None
    groups: dict[tuple[str, str], list[Spot]] = {}
    for spot in shared:
        groups.setdefault((spot.way, spot.client), []).append(spot)
    # All together have half of the chance of a wrong claim, and the rows share the other half.
    halves = 2 if len(groups) > 1 else 1
    rows = []
    for (way, client), spots in groups.items():
        before, after = _sum(earlier.shares, spots), _sum(now, spots)
        change = _change(earlier.shares, now, spots, halves * len(groups))
        rows.append(Row(way, client, before, after, change))
    before, after = _sum(earlier.shares, shared), _sum(now, shared)
    overall = _change(earlier.shares, now, shared, halves)
    change = _worst(overall, rows)
    return Comparison(
        change,
        _sentence(change, overall, before, after, rows),
        earlier.began,
        before,
        after,
        tuple(rows),
        tuple(_notes(run, earlier, now)),
    )


def _shares(run: Run) -> dict[Spot, Share]:
    return {
        Spot(cell.way.name, cell.client.name, cell.size_bytes): Share(
            sum(fate.is_loss for _, fate in made), len(made)
        )
        for cell, made in cells(run)
        if made
    }


def _sum(shares: Mapping[Spot, Share], spots: list[Spot]) -> Share:
    return Share(sum(shares[s].lost for s in spots), sum(shares[s].tried for s in spots))


def _change(
    before: Mapping[Spot, Share], now: Mapping[Spot, Share], spots: list[Spot], claims: int
) -> Change:
    strata = [Stratum(before[s].lost, before[s].tried, now[s].lost, now[s].tried) for s in spots]
    fewer, more = shifts(strata, claims)
    return Change.BETTER if fewer else Change.WORSE if more else Change.SAME


def _worst(overall: Change, rows: list[Row]) -> Change:
    """Return the change of the whole: one row that is worse is not outweighed by others."""
    found = {overall, *(row.change for row in rows)}
    return next(c for c in (Change.WORSE, Change.BETTER, Change.SAME) if c in found)


def _sentence(change: Change, overall: Change, before: Share, now: Share, rows: list[Row]) -> str:
    all_in_all = f"{_answers(before)} lost before, {now} now"
    if change is Change.SAME:
        if before.is_like(now):
            return f"{all_in_all}."
        return (
            f"{all_in_all}. Chance alone may bring such a difference, with so few tries; more "
            "--tries tell, in both runs."
        )
    telling = [row for row in rows if row.change is change]
    if overall is change or not telling:
        said = f"{all_in_all}."
    else:
        said = f"{_listed(telling)}. In all {all_in_all}."
    if change is Change.WORSE and (better := [r for r in rows if r.change is Change.BETTER]):
        said += f" Better only {_listed(better)}."
    return said


def _answers(share: Share) -> str:
    were = "was" if 1 in (share.lost, share.tried) else "were"
    return f"{share.lost} of {words.count(share.tried, 'answer')} {were}"


def _listed(rows: list[Row]) -> str:
    each = [f"{row.way}, {row.client} ({row.before} lost before, {row.now} now)" for row in rows]
    return words.listed(each)


def _notes(run: Run, earlier: Earlier, now: Mapping[Spot, Share]) -> Iterator[str]:
    if earlier.url != run.target.shown:
        yield f"The earlier run was against {earlier.url}."
    server = server_shown(run)
    if server != earlier.server:
        then = earlier.server or "nothing"
        yield f"The server calls itself {server or 'nothing'} now, and {then} then."
    alone = sum(share.tried for spot, share in earlier.shares.items() if spot not in now)
    alone += sum(share.tried for spot, share in now.items() if spot not in earlier.shares)
    if alone:
        has = "has" if alone == 1 else "have"
        yield f"{words.count(alone, 'upload')} {has} no match in the other run and did not count."
    if differing := _differing(run, earlier):
        yield f"The runs differ in more than time: {words.listed(differing)}."
    if earlier.interrupted:
        yield "The earlier run was interrupted."
    was_early = earlier.early or any(share.lost for share in earlier.shares.values())
    if (
        was_early
        and not any(attempt.early for attempt, _ in seen(run))
        and not any(share.lost for share in now.values())
    ):
        yield (
            "No answer is early any more: the path may take uploads now, or something in front of "
            "the application stores them."
        )


def _differing(run: Run, earlier: Earlier) -> list[str]:
    plan = run.plan
    now = {
        "method": plan.method,
        "body": plan.body_words,
        "header_names": [name for name, _ in plan.headers],
        "timeout_seconds": plan.timeout_seconds,
        "rate_bytes_per_second": plan.rate_bytes_per_second,
    }
    return [name.partition("_")[0] for name, value in now.items() if earlier.plan[name] != value]
