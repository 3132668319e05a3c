"""What the uploads say when all are seen together: one sentence, the likely place, the cure.

Rule 1: a sentence says what was seen in this run; where it guesses, it says "likely".
Rule 2: it may be asked at any time, since Ctrl-C asks in the middle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from . import words
from ._chance import unseen_percent
from ._fates import Fate, seen
from ._notes import faults_of, notes
from ._place import cures_for, place_of, proxy_of, server_of
from ._run import Attempt, Run
from ._stacks import Cure, stack_of
from ._where import where


class Kind(Enum):
    """What a run comes to."""

    DELIVERED = "delivered"
    NOT_EARLY = "not early"
    LOST = "lost"
    REPLACED = "replaced"
    MALFORMED = "malformed"
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
    Kind.MALFORMED: 1,
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
        reason: Why the target could not be tested, a word for programs; None if it could.
    """

    kind: Kind
    sentence: str
    place: str | None = None
    cures: tuple[Cure, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str | None = None


def not_tested(message: str, reason: str | None = None) -> Verdict:
    """Return the verdict on a target that could not be tested.

    Args:
        message: Why, for people.
        reason: Why, a word for programs; None if nothing is wrong with the target.
    """
    return Verdict(Kind.NOT_TESTED, message, reason=reason)


def judge(run: Run) -> Verdict:
    """Return what the uploads so far come to."""
    every = seen(run)
    if not every:
        return not_tested("no upload was finished, so nothing is known yet")
    counts = Counter(fate for _, fate in every)
    if counts[Fate.UNFINISHED] + counts[Fate.NO_ANSWER] == len(every):
        return _none_over(run, counts)
    if counts[Fate.DELIVERED] == len(every):
        return _all_delivered(run)
    also = tuple(notes(run, counts))
    if counts[Fate.REPLACED] and not counts[Fate.LOST]:
        return _replaced(run, every, also)
    if counts[Fate.MALFORMED] and not counts[Fate.LOST]:
        return _malformed(run, every, also)
    return _lost(run, every, also)


def _none_over(run: Run, counts: Counter[Fate]) -> Verdict:
    seconds = f"{run.plan.timeout_seconds:g} s"
    if counts[Fate.UNFINISHED]:
        return not_tested(
            f"answers to uploads began but none was over in {seconds}; give them longer with "
            "--timeout, or find out why the server is so slow",
            "uploads",
        )
    return not_tested(
        f"no answer in {seconds} to any upload, only to a request without a body; see in the "
        "server's log what it waits for, or give it longer with --timeout",
        "uploads",
    )


def _all_delivered(run: Run) -> Verdict:
    total = words.count(len(run.attempts), "answer")
    also = tuple(notes(run, Counter()))
    arrived = f"All {total} arrived" if len(run.attempts) > 1 else "The answer arrived"
    if early := sum(attempt.early for attempt in run.attempts):
        these = f"{early} of them early" if len(run.attempts) > 1 else "and it was early"
        return Verdict(
            Kind.DELIVERED,
            f"{arrived}, {these}: nothing was lost.",
            notes=(*_unseen(early), *also),
        )
    if run.target.scheme == "https" and all(a.cell.client.name == "strict" for a in run.attempts):
        # Over TLS nobody sees an answer before reading it, and this client sends first.
        one = "it" if len(run.attempts) == 1 else "any"
        sentence = f"{arrived}, but whether {one} was early cannot be seen over TLS by this client."
    elif len(run.attempts) == 1:
        sentence = f"{arrived}, but not early: it came after the whole upload was sent."
    else:
        sentence = f"{arrived}, but none was early: each came after its whole upload was sent."
    return Verdict(
        Kind.NOT_EARLY,
        sentence,
        notes=(
            "An answer can only get lost where uploads are refused. Probe such a path: one that "
            "answers 401, 404 or 413 at once. A proxy or server that stores uploads first (nginx "
            "does by default) looks like this, too.",
            *also,
        ),
    )


def _unseen(early: int) -> Iterator[str]:
    """Say what a run without a loss leaves open."""
    if percent := unseen_percent(early):
        so_many = f"{early} in a row" if early > 1 else "one"
        yield (
            f"A loss is a race. If {percent} % of early answers were lost, {so_many} would still "
            "arrive in one run of twenty; more --tries tell more."
        )


def _lost(run: Run, every: list[tuple[Attempt, Fate]], also: tuple[str, ...]) -> Verdict:
    lost = [a for a, fate in every if fate.is_loss]
    sentence = f"{_some(lost, every)} lost: {where(run, lost)}"
    if len(lost) == len(every):
        them = "it was" if len(lost) == 1 else "all were"
        sentence = f"No answer arrived: {words.count(len(lost), 'upload')}, and {them} lost."
    if replaced := sum(fate is Fate.REPLACED for _, fate in every):
        were = "was" if replaced == 1 else "were"
        also = (f"{replaced} of them {were} replaced by the words of {proxy_of(every)}.", *also)
    stack = stack_of(server_of(run, every))
    return Verdict(Kind.LOST, sentence, place_of(stack, run, every), cures_for(stack), also)


def _replaced(run: Run, every: list[tuple[Attempt, Fate]], also: tuple[str, ...]) -> Verdict:
    replaced = [a for a, fate in every if fate is Fate.REPLACED]
    statuses = sorted({a.answer.status for a in replaced if a.answer.status is not None})
    said = words.listed([str(status) for status in statuses], "or")
    proxy = proxy_of(every)
    sentence = (
        f"{_some(replaced, every)} replaced by a {said} in the words of {proxy}: "
        f"{where(run, replaced)}"
    )
    stack = stack_of(server_of(run, every))
    behind = stack.name if stack is not None and not stack.is_proxy else "the application server"
    place = (
        f"Likely between {proxy} and {behind} behind it: that closes the connection with the "
        "upload unread, the proxy fails to send the rest, and so it never passes the answer on."
    )
    return Verdict(Kind.REPLACED, sentence, place, cures_for(stack), also)


def _malformed(run: Run, every: list[tuple[Attempt, Fate]], also: tuple[str, ...]) -> Verdict:
    malformed = [a for a, fate in every if fate is Fate.MALFORMED]
    sentence = f"{_some(malformed, every)} malformed ({faults_of(malformed)}): "
    return Verdict(
        Kind.MALFORMED,
        sentence + where(run, malformed),
        "Nothing was lost on the way: what wrote these answers, the server, a proxy or the "
        "application, has to be mended. With --verbose you see what came.",
        notes=also,
    )


def _some(those: list[Attempt], every: list[tuple[Attempt, Fate]]) -> str:
    were = "was" if len(those) == 1 else "were"
    return f"{len(those)} of {words.count(len(every), 'answer')} {were}"
