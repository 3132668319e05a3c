"""What came back, to be read by people: status lines, headers, and how bodies begin.

Rule: everything in it came from the network; it is shown printable, short, and without secrets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from drainkit_clients import Answer

from . import words
from ._fates import Fate, seen
from ._run import Attempt, Run
from ._secrets import Secrets
from ._target import clean

_MOST_FIELDS = 40
_MOST_LINES = 12
_LINE_CHARACTERS = 200
_BODY_CHARACTERS = 600
# They differ from answer to answer, and tell nothing.
_VARYING = frozenset({"date", "age", "x-request-id", "x-runtime"})
_FOUND = re.compile("bad response: [^:]*: ?")


@dataclass(frozen=True, slots=True)
class Came:
    """What came back for some uploads, the same for each but for dates and the like.

    Attributes:
        fate: What became of the answer.
        which: The uploads, the first of them in words.
        uploads: How many there were.
        head: The status line and the headers, fit to be shown; () if nothing of an answer came.
        body: The lines with which the body begins, fit to be shown.
        body_bytes: How long the body was, as far as it came.
        fault: What made it no answer, with the bytes that did; "" if nothing did.
    """

    fate: Fate
    which: str
    uploads: int
    head: tuple[str, ...]
    body: tuple[str, ...]
    body_bytes: int
    fault: str


def came(run: Run) -> list[Came]:
    """Return what came back: what was not the answer first, and an answer to compare it with.

    Args:
        run: The run.
    """
    secrets = Secrets(run.target, run.plan)
    found: dict[tuple[object, ...], list[tuple[Attempt, Fate]]] = {}
    for attempt, fate in seen(run):
        found.setdefault(_alike(attempt, fate), []).append((attempt, fate))
    groups = sorted(found.values(), key=lambda group: group[0][1] is Fate.DELIVERED)
    return [_came(group[0][0], group[0][1], len(group), secrets) for group in groups]


def _alike(attempt: Attempt, fate: Fate) -> tuple[object, ...]:
    answer = attempt.answer
    kept = tuple(field for field in answer.headers if field[0] not in _VARYING)
    return (fate, answer.version, answer.status, kept, answer.body, answer.malformed)


def _came(attempt: Attempt, fate: Fate, uploads: int, secrets: Secrets) -> Came:
    answer = attempt.answer
    cell = attempt.cell
    return Came(
        fate,
        f"{cell.client.name}, {cell.way.name}, {words.size(cell.size_bytes)}",
        uploads,
        tuple(_head(answer, secrets)),
        tuple(_body(answer, secrets)),
        len(answer.body),
        _fault(answer, secrets),
    )


def _head(answer: Answer, secrets: Secrets) -> list[str]:
    if answer.status is None:
        return []
    line = f"HTTP/{answer.version} {answer.status} {answer.reason}".rstrip()
    said = [clean(secrets.hide(line), _LINE_CHARACTERS)]
    for name, value in answer.headers[:_MOST_FIELDS]:
        shown = secrets.hide_field(name, value)
        said.append(clean(f"{secrets.hide(name)}: {shown}", _LINE_CHARACTERS))
    if (more := len(answer.headers) - _MOST_FIELDS) > 0:
        said.append(f"... and {more} more")
    return said


def _body(answer: Answer, secrets: Secrets) -> list[str]:
    # What is cut off must not leave the beginning of a secret.
    most = 4 * (_BODY_CHARACTERS + secrets.longest)
    is_cut = len(answer.body) > most or not answer.complete
    text = secrets.hide(answer.body[:most].decode("utf-8", "replace"), is_cut=is_cut)
    lines = text[:_BODY_CHARACTERS].splitlines()[:_MOST_LINES]
    return [clean(line.expandtabs(4), _LINE_CHARACTERS) for line in lines]


def _fault(answer: Answer, secrets: Secrets) -> str:
    if answer.malformed is None:
        return ""
    found = _FOUND.sub("", answer.error or "", count=1)
    return clean(f"{answer.malformed}: {secrets.hide(found)}", _LINE_CHARACTERS)
