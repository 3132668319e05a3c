"""What the uploads say when all are seen together: one sentence, the likely place, the cure.

Rule 1: a sentence says what was seen in this run; where it guesses, it says "likely".
Rule 2: it may be asked at any time, since Ctrl-C asks in the middle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from . import words
from ._plan import CLIENTS, Cell, Client, Way
from ._run import Attempt, Probe, Reuse
from ._stacks import CURES, Cure, Stack, stack_of, whose_words
from ._target import clean

# What a proxy says when the application's own answer got lost on the way to it.
_GATEWAY = frozenset({502, 503, 504})
_AMBIGUOUS = 503  # an application may mean it, too

_UNNAMED = "the server, which does not name itself"


class Fate(Enum):
    """What became of one answer."""

    DELIVERED = "delivered"
    LOST = "lost"
    REPLACED = "replaced"
    UNFINISHED = "unfinished"
    NO_ANSWER = "no answer"

    @property
    def is_loss(self) -> bool:
        """Whether somebody misses an answer."""
        return self is not Fate.DELIVERED


class Kind(Enum):
    """What a run comes to."""

    DELIVERED = "delivered"
    NOT_EARLY = "not early"
    LOST = "lost"
    REPLACED = "replaced"
    NOT_TESTED = "not tested"

    @property
    def exit_status(self) -> int:
        """The exit status of the command."""
        return _EXIT[self]


_EXIT = {
    Kind.DELIVERED: 0,
    Kind.NOT_EARLY: 0,
    Kind.LOST: 1,
    Kind.REPLACED: 1,
    Kind.NOT_TESTED: 3,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run comes to.

    Attributes:
        kind: For programs.
        sentence: For people.
        place: Where answers are lost, likely; None when none is, or nobody knows.
        cures: What to add there, for each world that it may be.
        notes: What else was seen.
    """

    kind: Kind
    sentence: str
    place: str | None = None
    cures: tuple[Cure, ...] = ()
    notes: tuple[str, ...] = ()


def not_tested(message: str) -> Verdict:
    """Return the verdict on a target that could not be tested."""
    return Verdict(Kind.NOT_TESTED, message)


def fates(attempts: Iterable[Attempt]) -> list[Fate]:
    """Return what became of each answer; the others help to tell a proxy's words from an answer."""
    attempts = list(attempts)
    own = {a.answer.status for a in attempts if a.answer.delivered} - {_AMBIGUOUS, 502, 504}
    return [_fate(attempt, bool(own)) for attempt in attempts]


def _fate(attempt: Attempt, others_differ: bool) -> Fate:
    answer = attempt.answer
    if answer.delivered:
        if answer.status not in _GATEWAY or (answer.status == _AMBIGUOUS and not others_differ):
            return Fate.DELIVERED
        return Fate.REPLACED
    if attempt.end != "timeout":
        return Fate.LOST
    if answer.noticed_seconds is None:
        return Fate.NO_ANSWER
    # It lay ready, and this client was still sending: a deadlock, which is a loss.
    return Fate.LOST if answer.first_byte_seconds is None else Fate.UNFINISHED


def judge(probe: Probe) -> Verdict:
    """Return what the uploads so far come to."""
    attempts = probe.attempts
    if not attempts:
        return not_tested("no upload was finished, so nothing is known yet")
    seen = list(zip(attempts, fates(attempts), strict=True))
    counts = Counter(fate for _, fate in seen)
    seconds = f"{probe.plan.timeout_seconds:g} s"
    total = len(seen)
    if counts[Fate.NO_ANSWER] == total:
        return not_tested(
            f"no answer in {seconds} to any upload, only to a request without a body; see in the "
            "server's log what it waits for, or give it longer with --timeout"
        )
    if counts[Fate.UNFINISHED] + counts[Fate.NO_ANSWER] == total:
        return not_tested(
            f"answers to uploads began but none was over in {seconds}; give them longer with "
            "--timeout, or find out why the server is so slow"
        )
    notes = tuple(_notes(probe, counts))
    if counts[Fate.DELIVERED] == total:
        return _all_delivered(probe, notes)
    if counts[Fate.REPLACED] and not counts[Fate.LOST]:
        return _replaced(probe, seen, notes)
    return _lost(probe, seen, counts, notes)


# --- the sentences -------------------------------------------------------------------------------


def _all_delivered(probe: Probe, notes: tuple[str, ...]) -> Verdict:
    total = words.count(len(probe.attempts), "answer")
    if any(attempt.early for attempt in probe.attempts):
        return Verdict(
            Kind.DELIVERED,
            f"All {total} arrived, early ones too: nothing is lost here.",
            notes=notes,
        )
    return Verdict(
        Kind.NOT_EARLY,
        f"All {total} arrived, but none was early: each upload was read to its end first.",
        notes=(
            "An answer can only get lost where uploads are refused. Probe such a path: one that "
            "answers 401, 404 or 413 at once. A proxy or server that stores uploads first (nginx "
            "does by default) looks like this, too.",
            *notes,
        ),
    )


def _lost(
    probe: Probe, seen: list[tuple[Attempt, Fate]], counts: Counter[Fate], notes: tuple[str, ...]
) -> Verdict:
    lossy = [(a, fate) for a, fate in seen if fate.is_loss]
    lost = [a for a, _ in lossy]
    were = "answer was" if len(seen) == 1 else "answers were"
    sentence = f"{len(lost)} of {len(seen)} {were} lost: {_where(probe, lost)}."
    if not any(fate is Fate.DELIVERED for _, fate in seen):
        sentence = f"No answer arrives: {words.count(len(lost), 'upload')}, and all were lost."
    if counts[Fate.REPLACED]:
        proxy = _proxy(seen)
        notes = (f"{counts[Fate.REPLACED]} of them were replaced by the words of {proxy}.", *notes)
    stack = stack_of(_server(seen, probe))
    return Verdict(Kind.LOST, sentence, _place(stack, probe, seen), _cures(stack), notes)


def _replaced(probe: Probe, seen: list[tuple[Attempt, Fate]], notes: tuple[str, ...]) -> Verdict:
    replaced = [a for a, fate in seen if fate is Fate.REPLACED]
    statuses = sorted({a.answer.status for a in replaced if a.answer.status is not None})
    said = words.listed([str(status) for status in statuses], "or")
    proxy = _proxy(seen)
    sentence = (
        f"{len(replaced)} of {len(seen)} answers were replaced by a {said} in the words of "
        f"{proxy}: {_where(probe, replaced)}."
    )
    named = _server([(a, fate) for a, fate in seen if fate is not Fate.REPLACED], probe)
    stack = stack_of(named)
    behind = stack.name if stack is not None and not stack.is_proxy else "the application server"
    place = (
        f"Likely between {proxy} and {behind} behind it: that closes the connection with the "
        "upload unread, the proxy fails to send the rest, and so it never passes the answer on."
    )
    return Verdict(Kind.REPLACED, sentence, place, _cures(stack), notes)


def _where(probe: Probe, lost: list[Attempt]) -> str:
    """Return from which size on, in which ways and for whom: what the lossy uploads share."""
    first = probe.plan.ways[0]
    ways = [way for way in probe.plan.ways if any(a.cell.way == way for a in lost)]
    tried_ways = {a.cell.way.name for a in probe.attempts}
    said = [_from(probe, [a for a in lost if a.cell.way in ways])]
    if first not in ways or (len(tried_ways) > 1 and len(ways) == 1):
        said.insert(0, words.listed([way.words for way in ways]))
    losers = [who for who in probe.plan.clients if any(a.cell.client == who for a in lost)]
    winners = [
        who
        for who in probe.plan.clients
        if who not in losers and any(a.cell.client == who for a in probe.attempts)
    ]
    if len(losers) == len(CLIENTS):
        said.append(", for every kind of client")
        return _joined(said)
    said.append(", for " + words.listed([who.like for who in losers]))
    if winners:
        said.append("; " + words.listed([who.like for who in winners]) + " get them")
    return _joined(said)


def _joined(parts: list[str]) -> str:
    return " ".join(parts).replace(" ,", ",").replace(" ;", ";")


def _from(probe: Probe, lost: list[Attempt]) -> str:
    """Return from which size on answers are lost, as far as the ladder tells."""
    first = [a for a in lost if a.cell.way == probe.plan.ways[0]]
    lost = first or lost  # the others were tried at one size only
    clients = {a.cell.client.name for a in lost}
    ways = {a.cell.way.name for a in lost}
    lossy = {a.cell.size_bytes for a in lost}
    smallest = min(lossy)
    tried = {
        a.cell.size_bytes
        for a in probe.attempts
        if a.cell.client.name in clients and a.cell.way.name in ways
    }
    clean_sizes = tried - lossy
    if len(tried) == 1:
        return f"at {words.size(smallest)}"
    below = max((size for size in clean_sizes if size < smallest), default=None)
    if below is None:
        return f"already at {words.size(smallest)}"
    # How far the uploads got says it closer than the rungs of the ladder.
    sent = min(a.answer.sent_bytes for a in lost)
    return f"from about {words.size(min(max(sent, below), smallest))} on"


# --- the place -----------------------------------------------------------------------------------


def _server(seen: list[tuple[Attempt, Fate]], probe: Probe) -> str | None:
    """Return the Server header of the application's own answers."""
    own = [a.answer for a, fate in seen if fate is Fate.DELIVERED]
    if probe.preflight is not None:
        own.append(probe.preflight.answer)
    return next((said for answer in own if (said := answer.header("server"))), None)


def server_shown(probe: Probe) -> str | None:
    """Return what the server calls itself, fit to be shown; None if it does not say."""
    said = _server(list(zip(probe.attempts, fates(probe.attempts), strict=True)), probe)
    return clean(said, 60) if said else None


def _proxy(seen: list[tuple[Attempt, Fate]]) -> str:
    named = [whose_words(a.answer) for a, fate in seen if fate is Fate.REPLACED]
    return next(filter(None, named), "a proxy that does not name itself")


def _place(stack: Stack | None, probe: Probe, seen: list[tuple[Attempt, Fate]]) -> str:
    if any(fate is Fate.REPLACED for _, fate in seen):
        return f"Likely behind {_proxy(seen)}, in the application server, and at the proxy itself."
    if all(a.end == "refused" for a, fate in seen if fate.is_loss):
        return (
            "The server stopped taking connections during the probe: it may have crashed; see its "
            "log."
        )
    hung = any(fate is Fate.LOST and a.end == "timeout" for a, fate in seen)
    does = (
        "stops reading while its answer waits for a client that is still sending"
        if hung
        else "closes the connection with the upload unread, and the reset that follows destroys "
        "the answer"
    )
    if stack is None:
        said = server_shown(probe)
        who = f"the server, which calls itself {said!r}" if said else _UNNAMED
        return f"Likely {who}: it {does}."
    if stack.is_proxy:
        return (
            f"Likely {stack.name}, which is what you are connected to, or the application behind "
            f"it: one of them {does}. Probe the application server directly to tell which."
        )
    return (
        f"Likely the application server, {stack.name}: it {does}. (A proxy in between that does "
        f"not name itself would look the same.) {stack.hint}"
    ).strip()


def _cures(stack: Stack | None) -> tuple[Cure, ...]:
    return CURES[stack.interface if stack is not None else "either"]


# --- what else was seen --------------------------------------------------------------------------


def _notes(probe: Probe, counts: Counter[Fate]) -> Iterable[str]:
    attempts = probe.attempts
    reuse = Counter(attempt.reuse for attempt in attempts)
    if number := reuse[Reuse.GARBLED]:
        yield (
            f"{words.count(number, 'time')} the server took leftover body for a request: on a "
            "shared connection somebody else would get that answer. Make it read or close."
        )
    if number := reuse[Reuse.SILENT]:
        yield (
            f"{words.count(number, 'connection')} ended after the answer although nothing had "
            "announced it: the next request on such a connection fails."
        )
    if number := counts[Fate.NO_ANSWER]:
        yield (
            f"{words.count(number, 'upload')} got no answer in {probe.plan.timeout_seconds:g} s; "
            "with --timeout they get longer."
        )
    if number := counts[Fate.UNFINISHED]:
        yield (
            f"{words.count(number, 'answer')} began but did not end in "
            f"{probe.plan.timeout_seconds:g} s."
        )
    refused = sum(attempt.end == "refused" for attempt in attempts)
    if refused:
        yield f"{words.count(refused, 'connection')} failed after the first ones had worked."
    if any(attempt.answer.version == "1.0" for attempt in attempts):
        yield "The server answers as HTTP/1.0, so no connection can be used twice."
    invited = [a for a in attempts if a.cell.way.expect and 100 in a.answer.interim]
    if invited and any((a.answer.status or 0) >= 400 for a in invited):
        yield (
            'With "Expect: 100-continue" the server asks for the upload first (100 Continue) and '
            "refuses it then."
        )


# --- the picture ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """One lost and one delivered upload to look at, as alike as the run has them.

    Attributes:
        lost: None if none was.
        delivered: None if none was.
    """

    lost: Attempt | None
    delivered: Attempt | None


def pair(probe: Probe) -> Pair:
    """Choose two uploads for the picture."""
    seen = list(zip(probe.attempts, fates(probe.attempts), strict=True))
    lost = max((a for a, fate in seen if fate.is_loss), key=_telling, default=None)

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

    delivered = max((a for a, fate in seen if not fate.is_loss), key=alike, default=None)
    return Pair(lost, delivered)


def _telling(attempt: Attempt) -> tuple[bool, bool, int]:
    """Rank a loss by how much its picture shows: an answer that lay ready, and a long upload."""
    noticed = attempt.answer.noticed_seconds is not None
    return (noticed, attempt.cell.client.name == "strict", attempt.answer.sent_bytes)


def cells(probe: Probe) -> list[tuple[Cell, list[tuple[Attempt, Fate]]]]:
    """Return the uploads so far by their cells, in the order of the plan."""
    seen = list(zip(probe.attempts, fates(probe.attempts), strict=True))
    return [(cell, [(a, fate) for a, fate in seen if a.cell == cell]) for cell in probe.plan.cells]


def rows(probe: Probe) -> list[tuple[Way, Client]]:
    """Return the rows of the overview: every way and client of the plan, in its order."""
    return list(dict.fromkeys((cell.way, cell.client) for cell in probe.plan.cells))
