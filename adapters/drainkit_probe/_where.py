"""Where in a run answers were lost: from which size on, in which ways, for whom.

Rule: what the tries do not allow to tell from chance is said with its numbers, and as what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeAlias

from . import words
from ._chance import tells
from ._plan import CLIENTS, Client
from ._run import Attempt, Run

_Of: TypeAlias = Callable[[Attempt], Hashable]


@dataclass(frozen=True, slots=True)
class _Contrast:
    """Uploads of those who lost answers, beside uploads of others that were otherwise alike.

    Attributes:
        lost: Those that lost their answers.
        same: All by the same clients, or in the same ways.
        others: Those by other clients, or in other ways.
    """

    lost: list[Attempt]
    same: list[Attempt]
    others: list[Attempt]

    @classmethod
    def of(cls, run: Run, lost: list[Attempt], mine: _Of, alike: _Of) -> _Contrast:
        """Compare.

        Args:
            run: The run.
            lost: The uploads that lost their answers.
            mine: What is compared: the client or the way.
            alike: What has to be equal.
        """
        who, where_lost = set(map(mine, lost)), set(map(alike, lost))
        others = [a for a in run.attempts if mine(a) not in who and alike(a) in where_lost]
        shared = set(map(alike, others))
        return cls(
            [a for a in lost if alike(a) in shared],
            [a for a in run.attempts if mine(a) in who and alike(a) in shared],
            others,
        )

    @property
    def tells(self) -> bool:
        """Whether chance is an unlikely reason for the difference; so it is for none."""
        return not self.others or tells(len(self.lost), len(self.same), len(self.others))


def _by_client(run: Run, lost: list[Attempt]) -> _Contrast:
    return _Contrast.of(
        run, lost, lambda a: a.cell.client.name, lambda a: (a.cell.way.name, a.cell.size_bytes)
    )


def _by_way(run: Run, lost: list[Attempt]) -> _Contrast:
    return _Contrast.of(
        run, lost, lambda a: a.cell.way.name, lambda a: (a.cell.client.name, a.cell.size_bytes)
    )


def where(run: Run, lost: list[Attempt]) -> str:
    """Return what the uploads that lost their answers share, as the end of a sentence.

    Args:
        run: The run.
        lost: The uploads; there is at least one.
    """
    clients, ways = _by_client(run, lost), _ways(run, lost)
    said = f"{ways}{_sizes(run, lost)}, {_clients(run, lost, clients)}."
    if not clients.tells or (ways and not _by_way(run, lost).tells):
        said += " With so few tries the difference may be chance; more --tries tell."
    return said


def _ways(run: Run, lost: list[Attempt]) -> str:
    """Return the ways if they are worth a word: not where the first, with all sizes, loses too."""
    ways = [way for way in run.plan.ways if any(a.cell.way == way for a in lost)]
    alone = len(ways) == 1 and _by_way(run, lost).others
    if run.plan.ways[0] in ways and not alone:
        return ""
    return words.listed([way.words for way in ways]) + " "


def _clients(run: Run, lost: list[Attempt], seen: _Contrast) -> str:
    losers = _present(run, lost)
    if len(losers) == len(CLIENTS):
        return "for every kind of client"
    said = f"for {words.listed([_like(who, lost) for who in losers])}"
    if seen.others:
        spared = words.listed([_like(who, seen.others) for who in _present(run, seen.others)])
        said += f" ({len(seen.lost)} of {len(seen.same)}), not for {spared}"
        said += f" (0 of {len(seen.others)})"
    return said


def _like(who: Client, attempts: list[Attempt]) -> str:
    """Return who does the same: over HTTP/2 others do, if all of these went over it."""
    return who.like_http2 if all(a.cell.way.http == "2" for a in attempts) else who.like


def _present(run: Run, attempts: list[Attempt]) -> list[Client]:
    """Return the clients of these uploads, in the order of the plan."""
    found = {attempt.cell.client.name for attempt in attempts}
    return [client for client in run.plan.clients if client.name in found]


def _sizes(run: Run, lost: list[Attempt]) -> str:
    """Return at which sizes answers were lost, or from which one on if the ladder tells that."""
    # The other ways were tried at one size only.
    lost = [a for a in lost if a.cell.way == run.plan.ways[0]] or lost
    lossy = sorted({a.cell.size_bytes for a in lost})
    tried = _tried_like(run, lost)
    spared = [a for a in tried if a.cell.size_bytes not in lossy]
    if not spared and len(lossy) > 1:
        return f"already at {words.size(lossy[0])}"
    return _from_about(lost, tried, spared) or f"at {words.listed(list(map(words.size, lossy)))}"


def _from_about(lost: list[Attempt], tried: list[Attempt], spared: list[Attempt]) -> str | None:
    """Return from which size on; None if larger ones were spared, or smaller ones by chance."""
    smallest = min(a.cell.size_bytes for a in lost)
    below = _largest(spared)
    if not 0 < below < smallest or not tells(len(lost), len(tried) - len(spared), len(spared)):
        return None
    # How far the uploads got says it closer than the rungs of the ladder.
    sent = min(a.answer.sent_bytes for a in lost)
    return f"from about {words.size(min(max(sent, below), smallest))} on"


def _largest(attempts: list[Attempt]) -> int:
    return max((a.cell.size_bytes for a in attempts), default=0)


def _tried_like(run: Run, lost: list[Attempt]) -> list[Attempt]:
    """Return the uploads of any size by the same clients in the same ways."""
    clients = {a.cell.client.name for a in lost}
    ways = {a.cell.way.name for a in lost}
    return [a for a in run.attempts if a.cell.client.name in clients and a.cell.way.name in ways]
