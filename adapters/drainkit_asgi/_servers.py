"""What only concerns one server: a row a server, read in its source and measured.

Rule: a new server, or a changed one, is a changed row; no other module names a server.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from ._types import Receive, Send


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


def _nothing_to_close(receive: Receive) -> None:
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
        invites_eagerly: ``100 Continue`` goes out before the application asks for the body, so
            the body comes. Elsewhere the first ``receive()`` might invite it.
        close: Closes the connection of a server that would go on discarding by itself, without a
            bound, after a drain has ended at one.
    """

    name: str
    module: str
    order: Mapping[str, Order]
    buffers_body: bool = False
    invites_eagerly: bool = False
    close: Callable[[Receive], None] = field(default=_nothing_to_close)


def _uvicorn_close(receive: Receive) -> None:
    # uvicorn/protocols/http/*_impl.py: receive is a method of the RequestResponseCycle.
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is not None:
        transport.close()


def _everywhere(order: Order) -> Mapping[str, Order]:
    return MappingProxyType({"1": order, "2": order, "3": order})


UNKNOWN = Server(name="unknown", module="", order=_everywhere(Order.DISCARD_FIRST))

SERVERS = (
    Server(
        name="uvicorn",
        module="uvicorn.protocols.http.",
        order=_everywhere(Order.HOLD_END),
        close=_uvicorn_close,
    ),
    Server(
        name="hypercorn",
        module="hypercorn.protocol.http_stream",
        order=_everywhere(Order.HOLD_END),
        invites_eagerly=True,  # hypercorn/protocol/h11.py, _handle_events
    ),
    Server(
        name="granian",
        module="granian._granian",
        # Measured: over HTTP/1 receive() is a spurious http.disconnect as soon as a response in
        # several messages has reached its end or its Content-Length; not so after a single one.
        order=MappingProxyType({"1": Order.END_FIRST, "2": Order.HOLD_END, "3": Order.HOLD_END}),
    ),
    Server(name="gunicorn", module="gunicorn.asgi.protocol", order=_everywhere(Order.HOLD_END)),
    Server(
        name="daphne",
        module="daphne.server",
        order=_everywhere(Order.HOLD_END),
        buffers_body=True,  # daphne/http_protocol.py, process
        invites_eagerly=True,
    ),
)

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
    function = getattr(function, "func", function)  # functools.partial
    owner = getattr(function, "__self__", None)
    if owner is not None:
        return type(owner).__module__
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
