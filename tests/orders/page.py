"""The page of orders: ``docs/explanation/orders.md``, and its picture.

``tests/adapters/test_orders_page.py`` fails when it is not what the rows and the machine say.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.orders import picture
from tests.orders.rows import ALONE, COLUMNS, WORLDS, Subject, named, tables
from tests.orders.stages import Transition, transitions

FOLDER = Path(__file__).parents[2] / "docs" / "explanation"
PAGE_PATH = FOLDER / "orders.md"
PICTURE_PATH = FOLDER / "stages.svg"

Worlds = Mapping[str, Callable[[], Iterator[Subject]]]

_INTRODUCTION = """\
# What goes out when, server by server

`python -m tests.orders` makes this page from the rows of the servers and from the engine itself,
and a test fails when it is not what they say. [](when-and-how-long.md) says why the rows are so.

An answer's last piece has two halves, its bytes and its end. An unread body can be discarded at
three moments: **first**, before the piece; **between** its bytes and its end; **behind** its end.
**never** means that the answer is sent and nothing is read, because the first read would invite the
body. **stored** means that the server has the whole body before it calls the application, so
nothing is left to discard.

- *A small error* has a status of 400 or above, is complete at once, and fits 64 KiB.
- *More than 64 KiB* is complete at once, too, and fits no buffer between two sockets.
- *An error, uninvited* goes to a client that sends `Expect: 100-continue` and waits for the
  invitation.
- *First piece of an error* is the first of several, without a Content-Length. It is *held* for some
  milliseconds, where that may make the answer complete, and never while the application receives.
  *behind the body* means that the body is read first, and kept for the application within
  `late_read_bytes`.
- *Full piece* is one that reaches the answer's Content-Length, when it is not known whether another
  message follows. It is *held* for some milliseconds where the server may end the answer by itself.
  Under WSGI nobody waits for another message: it is the last, and the table says when the body is
  discarded.

The first piece of a success goes out at once. So does that of an error with a Content-Length,
except where the table says *behind the body*.
"""

_STAGES = """\
## The stages of an answer

How far an answer has come is its {py:class}`~drainkit.Stage`. These are all the ways that an
adapter can take through them, found by letting one try. Each arrow has the number of its line in
the table.

"""


def made(worlds: Worlds = WORLDS) -> dict[Path, str]:
    """Return the page and its picture, by their paths."""
    subjects = {name: list(world()) for name, world in worlds.items()}
    found = transitions(
        (subject.moments, subject.sends_while_reading)
        for world in subjects.values()
        for subject in world
        if not subject.is_stored
    )
    parts = [_INTRODUCTION]
    for name, world in subjects.items():
        parts += [f"## {name}\n", *_world(world)]
    parts.append(_STAGES + _stages(found))
    return {PAGE_PATH: "\n".join(parts), PICTURE_PATH: picture.drawn(found)}


def _world(world: list[Subject]) -> Iterator[str]:
    for behind, lines in tables(world).items():
        if behind != ALONE:
            yield f"What differs {behind}:\n"
        yield f"| server | HTTP | {' | '.join(COLUMNS)} |"
        yield "|---" * (len(COLUMNS) + 2) + "|"
        for line in lines:
            yield f"| {line.servers} | {line.versions} | {' | '.join(line.cells)} |"
        yield ""
    eager = named(world, lambda subject: subject.invites_eagerly)
    yield f"Servers on which no read invites a body, so that *uninvited* does not apply: {eager}.\n"


def _stages(found: list[Transition]) -> str:
    rows = [
        "```{image} stages.svg",
        f":alt: {picture.description(found)}",
        "```",
        "",
        "| | from | to | by | which answers |",
        "|---|---|---|---|---|",
    ]
    for number, one in enumerate(found, 1):
        calls = ", ".join(f"`{call}`" for call in one.calls)
        plans = ", ".join(f"`{plan.name}`" for plan in one.plans)
        rows.append(f"| {number} | `{one.before.name}` | `{one.after.name}` | {calls} | {plans} |")
    return "\n".join([*rows, ""])
