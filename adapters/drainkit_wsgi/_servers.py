"""What only concerns one server: a row a server, read in its source and measured.

Rule: a new server, or a changed one, is a changed row; no other module names a server.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ._types import Environ


class Invitation(enum.Enum):
    """When a server sends ``100 Continue`` (PEP 3333 allows each of the three)."""

    SENT = "before it calls the application"
    ON_READ = "when the body is first read, or perhaps so"
    NEVER = "never"


def _no_connection(environ: Environ, stream: Any) -> int | None:
    return None


def _no_socket(environ: Environ) -> Any:
    return None


def _no_reuse_to_refuse(start_response: Any) -> None:
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """How one server treats bodies and connections.

    Attributes:
        name: The server's name in reports.
        input_module: The module that defines the class of its ``wsgi.input``; ``None`` when that
            is a class of the standard library.
        software: How its ``SERVER_SOFTWARE`` begins, for requests whose ``wsgi.input`` another
            middleware has replaced; ``None`` when the site chooses it.
        connection: Returns, for the environ and the server's own stream, the file descriptor of
            the client's connection, or ``None`` when it cannot be reached; then no deadline can
            interrupt a read.
        socket: Returns the socket object of that connection, or ``None`` when it cannot be
            reached.
        buffers_body: The server has the whole body before it calls the application, so nothing
            is left on the connection.
        invitation: When it sends ``100 Continue``. Where the first read might send it, an
            untouched body that waits for it is not read.
        discards_before_headers: The server itself reads away what is left of a body of known
            length, without a bound, before it sends headers; except with these statuses.
        discards_before_close: The server itself reads away what comes, without a deadline, before
            it calls the iterable's ``close()``.
        refuse_reuse: Tells the server, through its ``start_response``, to close the connection
            after this response.
    """

    name: str
    input_module: str | None = None
    software: str | None = None
    connection: Callable[[Environ, Any], int | None] = field(default=_no_connection)
    socket: Callable[[Environ], Any] = field(default=_no_socket)
    buffers_body: bool = False
    invitation: Invitation = Invitation.ON_READ
    discards_before_headers: bool = False
    discards_not_with_status: frozenset[int] = frozenset()
    discards_before_close: bool = False
    refuse_reuse: Callable[[Any], None] = field(default=_no_reuse_to_refuse)


def _fileno(thing: Any) -> int | None:
    """Return the descriptor of a socket or stream, or None if it has none (any more)."""
    if sys.platform == "win32":
        return None  # a socket's number is no descriptor there and cannot be duplicated as one
    try:
        descriptor = thing.fileno()
    except (AttributeError, OSError, ValueError):
        return None
    return descriptor if isinstance(descriptor, int) and descriptor >= 0 else None


def _gunicorn_socket(environ: Environ) -> Any:
    return environ.get("gunicorn.socket")  # gunicorn/http/wsgi.py, default_environ


def _gunicorn_connection(environ: Environ, stream: Any) -> int | None:
    return _fileno(_gunicorn_socket(environ))


def _werkzeug_socket(environ: Environ) -> Any:
    return environ.get("werkzeug.socket")  # werkzeug/serving.py, make_environ


def _werkzeug_connection(environ: Environ, stream: Any) -> int | None:
    return _fileno(_werkzeug_socket(environ))


def _wsgiref_connection(environ: Environ, stream: Any) -> int | None:
    # http.server: the buffered reader of the socket itself.
    return _fileno(stream)


def _cheroot_connection(environ: Environ, stream: Any) -> int | None:
    # cheroot/server.py: KnownLengthRFile and ChunkedRFile hold the connection's reader.
    return _fileno(getattr(stream, "rfile", None))


def _cheroot_refuse_reuse(start_response: Any) -> None:
    # cheroot/wsgi.py: start_response is a method of the gateway, which holds the HTTPRequest.
    # With close_connection set the server neither reads the body away nor takes another request.
    request = getattr(getattr(start_response, "__self__", None), "req", None)
    if request is not None:
        request.close_connection = True


UNKNOWN = Server(name="unknown")

SERVERS = (
    Server(
        name="gunicorn",
        input_module="gunicorn.http.body",
        software="gunicorn/",
        connection=_gunicorn_connection,
        socket=_gunicorn_socket,
        invitation=Invitation.SENT,  # gunicorn/http/wsgi.py, create
    ),
    Server(
        name="cheroot",
        input_module="cheroot.server",
        software="Cheroot/",
        connection=_cheroot_connection,
        invitation=Invitation.SENT,  # cheroot/server.py, read_request_headers
        discards_before_headers=True,  # cheroot/server.py, send_headers
        discards_not_with_status=frozenset({413}),
        refuse_reuse=_cheroot_refuse_reuse,
    ),
    Server(name="granian", input_module="granian._granian", software="Granian"),
    Server(name="waitress", software="waitress", buffers_body=True),  # waitress/channel.py
    Server(
        name="werkzeug",
        software="Werkzeug/",
        connection=_werkzeug_connection,
        socket=_werkzeug_socket,
        invitation=Invitation.SENT,  # werkzeug/serving.py, run_wsgi
        discards_before_close=True,  # werkzeug/serving.py, execute
    ),
    Server(
        name="runserver",  # Django's
        input_module="django.core.handlers.wsgi",
        # Its stream keeps the socket in a private name, so the connection is not reached.
        invitation=Invitation.SENT,  # http/server.py, by an HTTP/1.1 server, which it is
        discards_before_close=True,  # django/core/servers/basehttp.py, ServerHandler.close
    ),
    Server(
        name="wsgiref",
        software="WSGIServer/",
        connection=_wsgiref_connection,
        invitation=Invitation.NEVER,  # http/server.py: not by an HTTP/1.0 server, which it is
    ),
)

_known: dict[tuple[type, str], Server] = {}


def server_of(environ: Environ) -> Server:
    """Return the row of the server that made *environ*, or `UNKNOWN`."""
    key = (type(environ.get("wsgi.input")), environ.get("SERVER_SOFTWARE", ""))
    server = _known.get(key)
    if server is None:
        # One process serves under one name or two; a table that grew would be a mistake.
        server = _find(*key)
        if len(_known) < _MOST_KNOWN:
            _known[key] = server
    return server


_MOST_KNOWN = 64


def _find(input_class: type, software: str) -> Server:
    for server in SERVERS:
        if server.input_module is not None and input_class.__module__ == server.input_module:
            return server
    for server in SERVERS:
        if server.software is not None and software.startswith(server.software):
            return server
    return UNKNOWN
