"""Where in a run answers were lost: from which size on, in which ways, for whom."""

from __future__ import annotations

from . import words
from ._plan import CLIENTS, Client
from ._run import Attempt, Run


def where(run: Run, lost: list[Attempt]) -> str:
    """Return what the uploads that lost their answers share.

    Args:
        run: The run.
        lost: The uploads; there is at least one.
    """
    return f"{_ways(run, lost)}{_sizes(run, lost)}, {_clients(run, lost)}"


def _ways(run: Run, lost: list[Attempt]) -> str:
    ways = [way for way in run.plan.ways if any(a.cell.way == way for a in lost)]
    tried = {a.cell.way.name for a in run.attempts}
    if run.plan.ways[0] in ways and not (len(tried) > 1 and len(ways) == 1):
        return ""
    return words.listed([way.words for way in ways]) + " "


def _clients(run: Run, lost: list[Attempt]) -> str:
    losers = _present(run, lost)
    if len(losers) == len(CLIENTS):
        return "for every kind of client"
    said = "for " + words.listed([who.like for who in losers])
    winners = [who for who in _present(run, run.attempts) if who not in losers]
    if winners:
        said += "; " + words.listed([who.like for who in winners]) + " get them"
    return said


def _present(run: Run, attempts: list[Attempt]) -> list[Client]:
    """Return the clients of these uploads, in the order of the plan."""
    found = {attempt.cell.client.name for attempt in attempts}
    return [client for client in run.plan.clients if client.name in found]


def _sizes(run: Run, lost: list[Attempt]) -> str:
    """Return from which size on answers are lost, as far as the ladder tells."""
    # The other ways were tried at one size only.
    lost = [a for a in lost if a.cell.way == run.plan.ways[0]] or lost
    lossy = {a.cell.size_bytes for a in lost}
    tried = _tried_like(run, lost)
    smallest = min(lossy)
    if len(tried) == 1:
        return f"at {words.size(smallest)}"
    below = max((size for size in tried - lossy if size < smallest), default=None)
    if below is None:
        return f"already at {words.size(smallest)}"
    # How far the uploads got says it closer than the rungs of the ladder.
    sent = min(a.answer.sent_bytes for a in lost)
    return f"from about {words.size(min(max(sent, below), smallest))} on"


def _tried_like(run: Run, lost: list[Attempt]) -> set[int]:
    """Return the sizes that were tried by the same clients in the same ways."""
    clients = {a.cell.client.name for a in lost}
    ways = {a.cell.way.name for a in lost}
    return {
        a.cell.size_bytes
        for a in run.attempts
        if a.cell.client.name in clients and a.cell.way.name in ways
    }
