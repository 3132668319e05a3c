"""A row a server, each fact read in its source or measured; and which server made a request."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from drainkit import DISCARD_FIRST, Moment, Moments
from drainkit_asgi._types import Receive, Send

from ._granian import most_requests
from ._hypercorn import HypercornConnection
from ._row import Server
from ._uvicorn import UvicornConnection

# Behind the last message receive() is http.disconnect at once (ASGI: "after a response has been
# sent"), and so it is where that message waits.
_BETWEEN = Moments(whole=Moment.BETWEEN, pieces=Moment.BETWEEN)

# Over HTTP/2 curl 7.88 goes on sending at a status below 400, but hears no more of the server once
# it has as much as Content-Length says. At other statuses it ends the stream short, which is a
# protocol error, and ends what of the answer has not been sent by then.
_STREAM = Moments(
    whole=Moment.FIRST,
    pieces=Moment.FIRST,
    small_error=Moment.BETWEEN,
    uninvited=Moment.BETWEEN,
    holds_full=True,
)

# receive() gives the body behind the answer's only message. It is a spurious http.disconnect as
# soon as an answer in several messages has reached its end or its Content-Length.
_BEHIND = Moments(whole=Moment.BEHIND, pieces=Moment.FIRST, holds_full=True)


def _everywhere(moments: Moments) -> Mapping[str, Moments]:
    return MappingProxyType({"1": moments, "2": moments, "3": moments})


def _on_http_1(moments: Moments) -> Mapping[str, Moments]:
    return MappingProxyType({"1": moments, "2": _STREAM, "3": _STREAM})


UNKNOWN = Server(name="unknown", module="", moments=_everywhere(DISCARD_FIRST))

SERVERS = (
    Server(
        name="uvicorn",
        module="uvicorn.protocols.http.",
        moments=_on_http_1(_BETWEEN),
        needs_length=True,  # 0.54, zttp_h2_impl.py, handle_request: end_stream is not looked at
        stepped_module="uvicorn.protocols.http.",  # receive: waits for an asyncio.Event
        connection=UvicornConnection,
    ),
    Server(
        name="hypercorn",
        module="hypercorn.protocol.http_stream",
        moments=_on_http_1(_BETWEEN),
        invites_eagerly=True,  # hypercorn/protocol/h11.py, _handle_events
        stepped_module="asyncio.queues",  # hypercorn/asyncio/task_group.py: receive is Queue.get
        channel_module="trio",  # hypercorn/trio/task_group.py
        connection=HypercornConnection,
    ),
    Server(
        name="granian",
        module="granian._granian",
        moments=_on_http_1(_BEHIND),
        tells_end=False,
        takes_behind=True,  # src/asgi/io.rs, receive and send
        most_requests=most_requests,
    ),
    Server(
        name="gunicorn",
        module="gunicorn.asgi.protocol",
        moments=_everywhere(_BETWEEN),
        stepped_module="gunicorn.asgi.protocol",  # receive: waits for a future of its own
    ),
    Server(
        name="aiohttp-asgi",
        module="aiohttp_asgi.resource",
        # receive() reads the request whatever has been sent; aiohttp would discard the rest by
        # itself, for 10 s (aiohttp/web_protocol.py, start).
        moments=_everywhere(_BEHIND),
        tells_end=False,
        invites_eagerly=True,  # aiohttp_asgi/resource.py, default_expect_handler
    ),
    Server(
        name="daphne",
        module="daphne.server",
        moments=_everywhere(_BETWEEN),
        buffers_body=True,  # daphne/http_protocol.py, process
        invites_eagerly=True,
    ),
)

# Looking at what is loaded takes as long as a small request, so each answer is kept: by the classes
# of a server's objects where both functions are methods, and otherwise by the modules' names.
_known: dict[tuple[Any, Any], Server] = {}
_MOST_KNOWN = 64


def server_of(receive: Receive, send: Send) -> Server:
    """Return the row of the server that made *receive* and *send*, or `UNKNOWN`.

    Where middleware stands between, the server is the one that is loaded in this process, if
    it is only one.
    """
    owners = (type(getattr(receive, "__self__", None)), type(getattr(send, "__self__", None)))
    return _known.get(owners) or _look_up(owners, receive, send)


def _look_up(owners: tuple[type, type], receive: Receive, send: Send) -> Server:
    modules = (_module_of_receive(receive), _module_of(send))
    key = modules if type(None) in owners else owners
    server = _known.get(key)
    if server is None:
        server = _find(modules)
        # A process has a handful of such pairs; more would be a mistake, and must not grow.
        if len(_known) < _MOST_KNOWN:
            _known[key] = server
    return server


def _module_of_receive(receive: Receive) -> str:
    # A wrapper of middleware may name the server's module as its own (functools.wraps), but it must
    # not be stepped: it may begin and end a context, as a span of OpenTelemetry does.
    if getattr(receive, "__self__", None) is None and hasattr(receive, "__wrapped__"):
        return ""
    return _module_of(receive)


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
            return _as_received(server, receive_module)
    for server in SERVERS:
        if send_module.startswith(server.module):
            return _as_received(_behind_middleware(server), receive_module)
    loaded = [server for server in SERVERS if _is_loaded(server)]
    return _behind_middleware(loaded[0]) if len(loaded) == 1 else UNKNOWN


def _as_received(server: Server, receive_module: str) -> Server:
    """Return a row that says what the ``receive`` of this module allows."""
    stepped = server.stepped_module
    return replace(
        server,
        is_stepped=stepped is not None and receive_module.startswith(stepped),
        is_channel=receive_module == server.channel_module,
    )


def _behind_middleware(server: Server) -> Server:
    """Return the row of a server whose ``receive`` something else stands in front of.

    After the last message Starlette's BaseHTTPMiddleware receives nothing but the disconnect that
    the ASGI specification allows, whatever the server would have given.
    """
    moments = {
        version: DISCARD_FIRST if moments.whole is Moment.BEHIND else moments
        for version, moments in server.moments.items()
    }
    moments_behind_it = MappingProxyType(moments)
    return replace(server, moments=moments_behind_it, tells_end=True, takes_behind=False)


def _is_loaded(server: Server) -> bool:
    # A row for a package names what the names of its modules begin with.
    return any(
        name == server.module or (name.startswith(server.module) and name.endswith("_impl"))
        for name in list(sys.modules)
    )
