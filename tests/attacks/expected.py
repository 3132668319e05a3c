"""What must hold after every attack, and where it does not: the gaps, each with its reason.

A gap that is not there any more fails its test, so that this table stays true.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tests.attacks.attacks import ATTACKS, HELD_SECONDS, MAX_BYTES, MIB, ONE_READ_BYTES, Attack
from tests.attacks.runner import Figures

# An ordinary request beside an attack, on two cores that do everything at once.
BESIDE_SECONDS = 1.0
# Twelve attacks at once; four of them are sent a page of 4 MB each.
_MEMORY_BYTES = 32 * MIB
# Which this server may hold twice: 24 to 33 MiB, measured.
_MEMORY_BYTES_OF = {"cheroot": 48 * MIB}
# What the server's socket may hold beyond that which the server has read.
_SOCKET_BYTES = int(Path("/proc/sys/net/ipv4/tcp_rmem").read_text(encoding="ascii").split()[2])

# A batch must leave room: for an ordinary request, and in the capacity.
AT_ONCE = {"gunicorn-sync": 10}
AT_ONCE_ELSEWHERE = 12


class Problem(StrEnum):
    """What did not hold."""

    HELD = "held beyond max_seconds + 1 s"
    SMUGGLED = "a request was answered that was no request"
    BYTES = "more than max_bytes was discarded"
    WIRE = "more was taken than max_bytes and the buffers"
    OUTCOME = "the report says something else"
    MEMORY = "memory rose"
    BESIDE = "an ordinary request beside it waited"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """A bound that does not hold on a server, and why.

    Attributes:
        always: What does not hold.
        sometimes: What else may not, as it depends on the machine.
        why: The reason, in words.
    """

    always: frozenset[Problem] = field(default_factory=frozenset)
    sometimes: frozenset[Problem] = field(default_factory=frozenset)
    why: str = ""


_NOTHING = Gap()
_HELD = frozenset({Problem.HELD})
_BESIDE = frozenset({Problem.BESIDE})
_MEMORY = frozenset({Problem.MEMORY})
_OUTCOME = frozenset({Problem.OUTCOME})

# A machine that stands still for a second looks like a bound that did not hold.
_OF_THE_MACHINE = _HELD | _BESIDE

_UNREAD = Gap(
    always=_HELD,
    why="a response that its client does not read is the server's, with drainkit or without",
)
_NO_SOCKET = Gap(
    always=_HELD | _OUTCOME, why="granian gives a WSGI application no way to its socket"
)
_CLOSES_SLOWLY = Gap(
    always=_BESIDE,
    sometimes=_HELD,
    why="the gthread worker waits up to 2 s for the client to close, in the thread that accepts",
)
_LINGERS = Gap(always=_HELD, why="gunicorn itself waits 2 s more for the client to close")
_PARSES_SLOWLY = Gap(
    sometimes=_HELD | _BESIDE | _MEMORY | _OUTCOME,
    why="its parser, in Python, takes long for each chunk, and the event loop waits",
)
_TRUSTS_THE_END = Gap(
    always=_OUTCOME, why="granian's read() tells of a broken chunked body as of its end"
)

_ANY = "*"
GAPS: dict[tuple[str, str], Gap] = {
    **{
        (_ANY, name): _UNREAD
        for name in ("unread-complete", "unread-silent", "unread-stream", "unread-flood")
    },
    ("gunicorn-sync", "silent-raise"): _LINGERS,
    **{
        ("gunicorn-gthread", name): _CLOSES_SLOWLY
        for name in (
            *("silent-raise", "length-and-chunked"),
            *("pipeline-complete", "hidden-whole", "expect-sent"),
        )
    },
    **{
        # The rest of the body may reset the connection first.
        ("gunicorn-gthread", name): Gap(sometimes=_BESIDE | _HELD, why=_CLOSES_SLOWLY.why)
        for name in ("length-twice", "lengths-differ")
    },
    **{
        ("granian-wsgi", name): _NO_SOCKET
        for name in (
            *("drip-length", "drip-chunked", "drip-extension"),
            *("silent-length", "silent-chunked", "half-length", "half-chunked", "half-read"),
            *("silent-raise", "silent-stream", "huge-silent", "pipeline-incomplete"),
        )
    },
    ("granian-wsgi", "unread-silent"): _NO_SOCKET,
    ("granian-wsgi", "drip-trailers"): Gap(always=_HELD, why=_NO_SOCKET.why),
    ("granian-wsgi", "hidden-late"): Gap(sometimes=_OUTCOME, why=_NO_SOCKET.why),
    ("granian-wsgi", "extensions"): _TRUSTS_THE_END,
    ("granian-wsgi", "tiny-chunks"): Gap(
        sometimes=_HELD,
        why="granian's read() cannot be cut off, and is up to ten times slower than the one before",
    ),
    ("werkzeug", "pipeline-complete"): Gap(
        sometimes=_HELD, why="werkzeug itself reads on for a second request that it will not answer"
    ),
    ("uvicorn-h11", "tiny-chunks"): _PARSES_SLOWLY,
    ("uvicorn-h11", "extensions"): _PARSES_SLOWLY,
    ("gunicorn-asgi", "tiny-chunks"): _PARSES_SLOWLY,
    ("gunicorn-asgi", "extensions"): _PARSES_SLOWLY,
    ("gunicorn-gevent", "tiny-chunks"): _PARSES_SLOWLY,
    # Bare, too, where the application reads the body: 5.0 s each time.
    ("hypercorn-asyncio", "shut-end"): Gap(
        sometimes=_HELD,
        why="hypercorn keeps a connection that its client has half-closed until keep_alive_timeout "
        "if the answer ends behind that",
    ),
    ("uvicorn-httptools", "trailers"): Gap(
        always=_MEMORY, why="uvicorn keeps trailers as headers, without a bound"
    ),
}

# Servers that do not tell an application where a chunked body ends, so that it is not read.
_UNFRAMED_ON = frozenset({"wsgiref"})
# A worker that takes one request at a time never has two drains.
_ONE_AT_A_TIME = frozenset({"gunicorn-sync"})


def applies(server: str, attack: Attack) -> bool:
    """Whether an attack can be made on a server at all."""
    return not (attack.behind and server in _ONE_AT_A_TIME)


def gap(server: str, attack: str) -> Gap:
    """Return what is known not to hold."""
    return GAPS.get((server, attack)) or GAPS.get((_ANY, attack)) or _NOTHING


def must_be_alone(server: str, attack: Attack) -> bool:
    """Whether an attack would spoil the figures of others beside it."""
    known = gap(server, attack.name)
    return attack.alone or bool((known.always | known.sometimes) & (_BESIDE | _MEMORY))


def problems(row: Figures) -> frozenset[Problem]:
    """Return what did not hold."""
    attack = ATTACKS[row.attack]
    outcomes = attack.outcomes
    if attack.is_chunked and row.server in _UNFRAMED_ON:
        outcomes = frozenset({"UNFRAMED"})
    discarded_bytes = row.discarded_bytes or 0
    found = {
        Problem.HELD: not row.was_let_go or row.held_seconds > HELD_SECONDS,
        # Only a second request can be answered with 200: the application refuses every body.
        Problem.SMUGGLED: row.smuggled or row.statuses.count(200) > attack.answers - 1,
        Problem.BYTES: discarded_bytes > MAX_BYTES + ONE_READ_BYTES,
        Problem.WIRE: attack.is_flood and row.arrived_bytes > MAX_BYTES + 2 * _SOCKET_BYTES,
        Problem.OUTCOME: row.outcome not in outcomes,
        Problem.MEMORY: row.memory_bytes > _MEMORY_BYTES_OF.get(row.server, _MEMORY_BYTES),
        Problem.BESIDE: row.beside_seconds is None or row.beside_seconds > BESIDE_SECONDS,
    }
    return frozenset(problem for problem, is_found in found.items() if is_found)


def surprises(row: Figures) -> tuple[frozenset[Problem], frozenset[Problem]]:
    """Return what did not hold although it should have, and what held although it does not."""
    known = gap(row.server, row.attack)
    found = problems(row)
    return found - known.always - known.sometimes, known.always - found


def may_be_the_machines(row: Figures) -> bool:
    """Whether nothing but times was surprising, so that a second try has to tell."""
    surprising = frozenset().union(*surprises(row))
    return bool(surprising) and surprising <= _OF_THE_MACHINE
