"""What only concerns one server: a row a server, read in its source and measured.

Rule: a new server, or a changed one, is a changed row; what takes more than a row has a module of
its own (`_hypercorn.py`), and no other module names a server.
"""

from __future__ import annotations

import enum
import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from ._hypercorn import leave_hypercorn
from ._types import Receive, Scope, Send


class Order(enum.Enum):
    """When the body is discarded, seen from the response."""

    HOLD_END = "hold the end"
    """The whole response, the body, then the empty last message. After the last message
    ``receive()`` would be ``http.disconnect`` at once (ASGI: "after a response has been sent")."""
    END_FIRST = "end first"
    """The whole response, then the body; but of a response in several messages, all but the last
    message, then the body, then the last message."""
    DISCARD_FIRST = "discard first"
    """The body, then the response: clean on every server, and slow for eager clients."""
    HOLD_END_OF_ERRORS = "hold the end of errors"
    """`HOLD_END` for an error that is whole and small, `DISCARD_FIRST` for every other response:
    over HTTP/2 curl 7.88 goes on sending at a status below 400, but hears no more of the server
    once it has as much as Content-Length says. At other statuses it ends the stream short, which
    is a protocol error, and ends what of the response has not been sent by then."""


# RFC 9113 section 7.
_NO_ERROR = 0x0


def _nothing_to_close(receive: Receive) -> None:
    return None


def _nothing_to_leave(receive: Receive, send: Send) -> None:
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """How one server treats bodies and connections.

    Attributes:
        name: The server's name in reports.
        module: How the name of the module begins that defines its ``receive`` or ``send``; also
            what is loaded in a process that it serves.
        order: The proven order, by HTTP version (the part before the dot).
        buffers_body: The server has the whole body before it calls the application, so nothing
            is left on the connection.
        needs_length: Its ``receive()`` waits for ever for the end of a request that has no body,
            and over HTTP/2 only a Content-Length tells whether there is one.
        invites_eagerly: ``100 Continue`` goes out before the application asks for the body, so
            the body comes. Elsewhere the first ``receive()`` might invite it.
        close: Closes the connection of a server that would go on discarding by itself, without a
            bound, after a drain has ended at one.
        leave: Called as soon as a body is to be left, if possible before its response ends: what
            the server must be told so that the rest of it does no harm.
    """

    name: str
    module: str
    order: Mapping[str, Order]
    buffers_body: bool = False
    needs_length: bool = False
    invites_eagerly: bool = False
    close: Callable[[Receive], None] = field(default=_nothing_to_close)
    leave: Callable[[Receive, Send], None] = field(default=_nothing_to_leave)


def _uvicorn_close(receive: Receive) -> None:
    # uvicorn/protocols/http/*_impl.py: receive is a method of the RequestResponseCycle.
    cycle: Any = getattr(receive, "__self__", None)
    transport = getattr(cycle, "transport", None)
    stream: Any = getattr(cycle, "stream", None)
    if transport is None:
        return
    if not hasattr(stream, "reset"):
        transport.close()
    elif not stream.pending_bytes:
        # zttp_h2_impl.py: the connection has other streams. Not while some of the response waits
        # for the client's credit, which a reset would cut off.
        stream.reset(_NO_ERROR)
        transport.write(cycle.conn.data_to_send())


def _everywhere(order: Order) -> Mapping[str, Order]:
    return MappingProxyType({"1": order, "2": order, "3": order})


def _errors_early(order: Order) -> Mapping[str, Order]:
    """Return an order for HTTP/1, and the one for the streams of HTTP/2 and HTTP/3."""
    later = Order.HOLD_END_OF_ERRORS
    return MappingProxyType({"1": order, "2": later, "3": later})


UNKNOWN = Server(name="unknown", module="", order=_everywhere(Order.DISCARD_FIRST))

SERVERS = (
    Server(
        name="uvicorn",
        module="uvicorn.protocols.http.",
        order=_errors_early(Order.HOLD_END),
        needs_length=True,  # 0.54, zttp_h2_impl.py, handle_request: end_stream is not looked at
        close=_uvicorn_close,
    ),
    Server(
        name="hypercorn",
        module="hypercorn.protocol.http_stream",
        order=_errors_early(Order.HOLD_END),
        invites_eagerly=True,  # hypercorn/protocol/h11.py, _handle_events
        leave=leave_hypercorn,
    ),
    Server(
        name="granian",
        module="granian._granian",
        # Measured: over HTTP/1 receive() is a spurious http.disconnect as soon as a response in
        # several messages has reached its end or its Content-Length; not so after a single one.
        order=_errors_early(Order.END_FIRST),
    ),
    Server(name="gunicorn", module="gunicorn.asgi.protocol", order=_everywhere(Order.HOLD_END)),
    Server(
        name="aiohttp-asgi",
        module="aiohttp_asgi.resource",
        # receive() reads the request whatever has been sent; aiohttp would discard the rest by
        # itself, for 10 s (aiohttp/web_protocol.py, start).
        order=_everywhere(Order.END_FIRST),
        invites_eagerly=True,  # aiohttp_asgi/resource.py, default_expect_handler
    ),
    Server(
        name="daphne",
        module="daphne.server",
        order=_everywhere(Order.HOLD_END),
        buffers_body=True,  # daphne/http_protocol.py, process
        invites_eagerly=True,
    ),
)


def reads_no_further(scope: Scope, *, is_big: bool) -> bool:
    """Tell whether a proxy in front may read no more of an upload, and its client lose the answer.

    Caddy and Traefik are such: Go's ReverseProxy stops once it has the whole answer, and its
    net/http closes with more than 256 KiB unread, 0.5 s later (net/http/server.go,
    closeWriteAndWait). They send X-Forwarded-Host. nginx stops once it has the beginning, so that
    a client which does not read while it writes never has the end of an answer that fits no
    buffer. It speaks HTTP/1.0, or sends "Connection: close", unless it is told otherwise.

    Proxies that read on send the same; a client that does waits longer than it must.

    Args:
        scope: The request's.
        is_big: Whether the answer fits no socket's buffer.
    """
    return any(
        name == b"x-forwarded-host" or (is_big and name == b"connection" and value == b"close")
        for name, value in scope["headers"]
    ) or (is_big and scope.get("http_version") == "1.0")


# Looking at what is loaded takes as long as a small request, so each answer is kept.
_known: dict[tuple[str, str], Server] = {}
_MOST_KNOWN = 64


def server_of(receive: Receive, send: Send) -> Server:
    """Return the row of the server that made *receive* and *send*, or `UNKNOWN`.

    Where middleware stands between, the server is the one that is loaded in this process, if
    it is only one.
    """
    modules = (_module_of(receive), _module_of(send))
    server = _known.get(modules)
    if server is None:
        server = _find(modules)
        # A process has a handful of such pairs; more would be a mistake, and must not grow.
        if len(_known) < _MOST_KNOWN:
            _known[modules] = server
    return server


def _module_of(function: Any) -> str:
    owner = getattr(function, "__self__", None)
    if owner is not None:
        return type(owner).__module__
    if isinstance(function, functools.partial):
        return _module_of(function.func)
    module = getattr(function, "__module__", None)
    return module if isinstance(module, str) else ""


def _find(modules: tuple[str, str]) -> Server:
    receive_module, send_module = modules
    for server in SERVERS:
        if receive_module.startswith(server.module):
            return server
    for server in SERVERS:
        if send_module.startswith(server.module):
            return _behind_middleware(server)
    loaded = [server for server in SERVERS if _is_loaded(server)]
    return _behind_middleware(loaded[0]) if len(loaded) == 1 else UNKNOWN


def _behind_middleware(server: Server) -> Server:
    """Return the row of a server whose ``receive`` something else stands in front of.

    After the last message Starlette's BaseHTTPMiddleware receives nothing but the disconnect that
    the ASGI specification allows, whatever the server would have given.
    """
    order = {
        version: Order.DISCARD_FIRST if order is Order.END_FIRST else order
        for version, order in server.order.items()
    }
    return replace(server, order=MappingProxyType(order))


def _is_loaded(server: Server) -> bool:
    # A row for a package names what the names of its modules begin with.
    return any(
        name == server.module or (name.startswith(server.module) and name.endswith("_impl"))
        for name in list(sys.modules)
    )
