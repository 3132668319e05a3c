"""What each server's row means for an answer, found by asking `Order`; and no row is written here.

Rule: a world is one function that returns its subjects, and an entry of `WORLDS`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from drainkit import (
    RESPONSE_BUFFER_BYTES,
    BodyKind,
    Capacity,
    Drain,
    DrainPolicy,
    Framing,
    Moments,
    Order,
    Plan,
)
from drainkit_asgi._proxies import moments_behind
from drainkit_asgi.servers import SERVERS, UNKNOWN, Server, server_of
from drainkit_wsgi._response import moments_for
from drainkit_wsgi.servers import Invitation
from drainkit_wsgi.servers import Server as WsgiServer
from drainkit_wsgi.servers._rows import SERVERS as WSGI_SERVERS
from drainkit_wsgi.servers._rows import UNKNOWN as WSGI_UNKNOWN

_SMALL_BYTES = 5
_BIG_BYTES = RESPONSE_BUFFER_BYTES + 1

ALONE = "alone"
WRAPPED = "behind a middleware that wraps `receive`, as Starlette's BaseHTTPMiddleware does"
BEHIND_GO = "behind a proxy that sends `X-Forwarded-Host`, as Caddy and Traefik do"
BEHIND_NGINX = "behind a proxy that sends `Connection: close` or speaks HTTP/1.0, as nginx does"
_HEADERS = {
    ALONE: [],
    WRAPPED: [],
    BEHIND_GO: [(b"x-forwarded-host", b"example.org")],
    BEHIND_NGINX: [(b"connection", b"close")],
}
# Those proxies speak HTTP/1 to a server.
_PROXIES = (BEHIND_GO, BEHIND_NGINX)

# What is written in a cell for each plan.
WORDS = {
    Plan.DISCARD_FIRST: "first",
    Plan.DISCARD_BETWEEN: "between",
    Plan.DISCARD_BEHIND: "behind",
    Plan.END: "never",
    Plan.HOLD: "held",
    Plan.PASS: "at once",
    Plan.READ_AHEAD_FIRST: "behind the body",
}
STORED = "stored"
EVERY = "every server that does not store"


@dataclass(frozen=True)
class Subject:
    """One server as a request meets it.

    Attributes:
        server: Its name.
        version: The HTTP version, before the dot.
        behind: What stands in front of it; `ALONE` for nothing.
        moments: When the body may be discarded there.
        sends_while_reading: Whether the adapter can do both at once.
        is_stored: Whether the server has the whole body before it calls the application.
        invites_eagerly: Whether no body waits for a read: it sends ``100 Continue`` by itself, or
            never.
        may_invite: Whether the adapter reads behind an answer although that might invite the body.
        status: The status of all its answers that are meant; ``None`` for any.
    """

    server: str
    version: str
    behind: str
    moments: Moments
    sends_while_reading: bool
    is_stored: bool = False
    invites_eagerly: bool = False
    may_invite: bool = True
    status: int | None = None


def order_of(
    subject: Subject, status: int, *, length: int | None = None, expects: bool = False
) -> Order:
    """Return the order of an answer that has started, with nothing read of the body."""
    drain = Drain(
        DrainPolicy(), Framing(BodyKind.CHUNKED, expects_continue=expects), capacity=Capacity()
    )
    order = Order(drain, subject.moments, sends_while_reading=subject.sends_while_reading)
    order.start(subject.status or status, length)
    return order


def _whole(subject: Subject) -> str:
    return WORDS[order_of(subject, 200).end(_SMALL_BYTES)]


def _pieces(subject: Subject) -> str:
    order = order_of(subject, 200)
    order.released()
    order.passed(_SMALL_BYTES)
    return WORDS[order.end(_SMALL_BYTES)]


def _small_error(subject: Subject) -> str:
    return WORDS[order_of(subject, 401).end(_SMALL_BYTES)]


def _big(subject: Subject) -> str:
    return WORDS[order_of(subject, 200).end(_BIG_BYTES)]


def _first_piece_of_error(subject: Subject) -> str:
    order = order_of(subject, 401)
    plan = order.piece(_SMALL_BYTES, more=True)
    if plan is not Plan.HOLD:
        return WORDS[plan]
    order.is_patient = False
    return f"held, then {WORDS[order.piece(_SMALL_BYTES, more=True)]}"


def _full_piece(subject: Subject) -> str:
    order = order_of(subject, 200, length=_SMALL_BYTES)
    return WORDS[order.piece(_SMALL_BYTES, more=True)]


def _uninvited(subject: Subject) -> str:
    if not subject.may_invite:
        return WORDS[Plan.END]
    return WORDS[order_of(subject, 401, expects=True).end(_SMALL_BYTES)]


COLUMNS: dict[str, Callable[[Subject], str]] = {
    "a whole answer": _whole,
    "the last of several pieces": _pieces,
    "a small error": _small_error,
    "more than 64 KiB": _big,
    "an error, uninvited": _uninvited,
    "first piece of an error": _first_piece_of_error,
    "full piece": _full_piece,
}


def cells(subject: Subject) -> tuple[str, ...]:
    """Return what stands in each column for a subject."""
    if subject.is_stored:
        return (STORED,) * len(COLUMNS)
    return tuple(column(subject) for column in COLUMNS.values())


# --- ASGI -----------------------------------------------------------------------------------------


def _wrapped(server: Server) -> Server:
    """Return what drainkit finds where a middleware has replaced the server's ``receive``."""
    if server is UNKNOWN:
        return server  # what made ``send`` is not known either

    class Sender:
        async def send(self, message: Any) -> None: ...

    Sender.__module__ = server.module

    async def receive() -> Any: ...

    receive.__module__ = "a.middleware"
    return server_of(receive, Sender().send)


def asgi() -> Iterator[Subject]:
    """Return the subjects of `drainkit_asgi`."""
    for behind, headers in _HEADERS.items():
        for server in (*SERVERS, UNKNOWN):
            found = _wrapped(server) if behind is WRAPPED else server
            for version, moments in found.moments.items():
                if behind in _PROXIES and version != "1":
                    continue
                scope = {"http_version": version, "headers": headers}
                yield Subject(
                    server=server.name,
                    version=version,
                    behind=behind,
                    moments=moments_behind(scope, moments),
                    sends_while_reading=True,
                    is_stored=server.buffers_body,
                    invites_eagerly=server.invites_eagerly,
                )


# --- WSGI -----------------------------------------------------------------------------------------


def wsgi() -> Iterator[Subject]:
    """Return the subjects of `drainkit_wsgi`."""
    headers = {ALONE: {}, BEHIND_GO: {"HTTP_X_FORWARDED_HOST": "example.org"}}
    for behind, environ in headers.items():
        for server in (*WSGI_SERVERS, WSGI_UNKNOWN):
            for version in ("1", "2", "3"):
                if behind in _PROXIES and version != "1":
                    continue
                for name, moments, status in _kinds(server, f"HTTP/{version}", environ):
                    yield Subject(
                        server=name,
                        version=version,
                        behind=behind,
                        moments=moments,
                        sends_while_reading=False,
                        is_stored=server.buffers_body,
                        invites_eagerly=server.invitation is not Invitation.ON_READ,
                        may_invite=False,
                        status=status,
                    )


def _kinds(
    server: WsgiServer, protocol: str, environ: dict[str, Any]
) -> Iterator[tuple[str, Moments, int | None]]:
    """Return what a row knows of its server's requests and answers, each kind by its name."""

    def moments_of(framing: Framing) -> Moments:
        return moments_for(server, framing, protocol, environ)

    with_length = moments_of(Framing(BodyKind.LENGTH, 1))
    without = moments_of(Framing(BodyKind.CHUNKED))
    yield server.name, with_length, None
    if without != with_length:
        yield f"{server.name} (chunked)", without, None
    for status in sorted(with_length.pieces_with_status):
        yield f"{server.name} ({status})", with_length, status


WORLDS: dict[str, Callable[[], Iterator[Subject]]] = {"ASGI": asgi, "WSGI": wsgi}


# --- the table ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One line of a table: servers that do the same."""

    servers: str
    versions: str
    cells: tuple[str, ...]


def tables(subjects: Sequence[Subject]) -> dict[str, list[Line]]:
    """Return a table for each thing that servers may be behind, of what differs there."""
    # Two rows of a server may share its name, and are then one line: they must do the same.
    once = dict.fromkeys((s.behind, s.server, s.version, cells(s)) for s in subjects)
    alone: dict[tuple[str, str], tuple[str, ...]] = {}
    for behind, server, version, told in once:
        if behind == ALONE and alone.setdefault((server, version), told) != told:
            raise ValueError(f"two rows are called {server!r} and do different things")
    # What does what behind something, in which versions.
    found: dict[str, dict[tuple[str, ...], dict[str, list[str]]]] = {}
    for behind, server, version, told in once:
        if behind == ALONE or told != alone[server, version]:
            by_server = found.setdefault(behind, {}).setdefault(told, {})
            by_server.setdefault(server, []).append(version)
    versions = list(dict.fromkeys(subject.version for subject in subjects))
    every = {subject.server for subject in subjects if not subject.is_stored}
    return {
        behind: [
            line
            for told, by_server in kinds.items()
            for line in _lines(told, by_server, versions, every)
        ]
        for behind, kinds in found.items()
    }


def _lines(
    told: tuple[str, ...], by_server: dict[str, list[str]], versions: list[str], every: set[str]
) -> Iterator[Line]:
    groups: dict[tuple[str, ...], list[str]] = {}
    for server, spoken in by_server.items():
        groups.setdefault(tuple(spoken), []).append(server)
    for spoken, servers in groups.items():
        spoken_text = "any" if list(spoken) == versions else ", ".join(spoken)
        servers_text = EVERY if set(servers) == every else ", ".join(servers)
        yield Line(servers_text, spoken_text, told)


def named(subjects: Sequence[Subject], is_meant: Callable[[Subject], bool]) -> str:
    """Return the names of the servers that are meant, alone."""
    names = [s.server for s in subjects if s.behind == ALONE and is_meant(s)]
    return ", ".join(dict.fromkeys(names)) or "none"
