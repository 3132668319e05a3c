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


def _no_socket(environ: Environ, start_response: Any) -> Any:
    return None


def _no_reuse_to_refuse(start_response: Any, stream: Any) -> None:
    return None


def _sent_transfer_encoding(environ: Environ) -> str | None:
    return environ.get("HTTP_TRANSFER_ENCODING")


def _no_chunks(environ: Environ, stream: Any) -> Any:
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
        socket: Returns, for the environ and the server's ``start_response``, the socket object of
            that connection, or ``None`` when it cannot be reached.
        buffers_body: The server has the whole body before it calls the application, so nothing
            is left on the connection.
        invitation: When it sends ``100 Continue``. Where the first read might send it, an
            untouched body that waits for it is not read.
        discards_before_headers: The server itself reads away what is left of a body of known
            length, without a bound, before it sends headers; except with these statuses.
        discards_before_close: The server itself reads away what comes, without a deadline, before
            it calls the iterable's ``close()``.
        transfer_encoding: Returns the Transfer-Encoding in which the server has the body; not that
            of the client where something in front has already decoded it.
        chunks: Returns, for the environ and the server's own stream, a stream that reads a chunked
            body where ``wsgi.input`` cannot; ``None`` when there is none.
        refuse_reuse: Tells the server, through its ``start_response`` or its own stream, to
            close the connection after this response.
        largest_read_bytes: The size of read with which it discards at the least cost, in measure.
    """

    name: str
    input_module: str | None = None
    software: str | None = None
    connection: Callable[[Environ, Any], int | None] = field(default=_no_connection)
    socket: Callable[[Environ, Any], Any] = field(default=_no_socket)
    buffers_body: bool = False
    invitation: Invitation = Invitation.ON_READ
    discards_before_headers: bool = False
    discards_not_with_status: frozenset[int] = frozenset()
    discards_before_close: bool = False
    transfer_encoding: Callable[[Environ], str | None] = field(default=_sent_transfer_encoding)
    chunks: Callable[[Environ, Any], Any] = field(default=_no_chunks)
    refuse_reuse: Callable[[Any, Any], None] = field(default=_no_reuse_to_refuse)
    largest_read_bytes: int = 64 * 1024


def _fileno(thing: Any) -> int | None:
    """Return the descriptor of a socket or stream, or None if it has none (any more)."""
    if sys.platform == "win32":
        return None  # a socket's number is no descriptor there and cannot be duplicated as one
    try:
        descriptor = thing.fileno()
    except (AttributeError, OSError, ValueError):
        return None
    return descriptor if isinstance(descriptor, int) and descriptor >= 0 else None


def _gunicorn_socket(environ: Environ, start_response: Any) -> Any:
    return environ.get("gunicorn.socket")  # gunicorn/http/wsgi.py, default_environ


def _gunicorn_connection(environ: Environ, stream: Any) -> int | None:
    return _fileno(_gunicorn_socket(environ, None))


def _gunicorn_refuse_reuse(start_response: Any, stream: Any) -> None:
    # gunicorn/http/parser.py, finish_body: to its own discarding, a read side that has been shut
    # is the end of the body. But Linux still delivers what comes then, and gunicorn would take the
    # rest of the body for requests. gunicorn/http/wsgi.py: start_response is a method of the
    # Response; where a middleware stands in front of it, the body can say that it failed.
    force_close = getattr(getattr(start_response, "__self__", None), "force_close", None)
    if force_close is not None:
        force_close()
    if hasattr(stream, "failed"):
        stream.failed = True


def _werkzeug_socket(environ: Environ, start_response: Any) -> Any:
    return environ.get("werkzeug.socket")  # werkzeug/serving.py, make_environ


def _werkzeug_connection(environ: Environ, stream: Any) -> int | None:
    return _fileno(_werkzeug_socket(environ, None))


def _stream_connection(environ: Environ, stream: Any) -> int | None:
    return _fileno(stream)


def _rfile_connection(environ: Environ, stream: Any) -> int | None:
    return _fileno(getattr(stream, "rfile", None))


def _cheroot_request(start_response: Any) -> Any:
    # cheroot/wsgi.py: start_response is a method of the gateway, which holds the HTTPRequest.
    return getattr(getattr(start_response, "__self__", None), "req", None)


def _cheroot_socket(environ: Environ, start_response: Any) -> Any:
    request = _cheroot_request(start_response)
    return getattr(getattr(request, "conn", None), "socket", None)


def _cheroot_refuse_reuse(start_response: Any, stream: Any) -> None:
    # With close_connection set the server neither reads the body away nor takes another request.
    request = _cheroot_request(start_response)
    if request is not None:
        request.close_connection = True


def _gevent_refuse_reuse(start_response: Any, stream: Any) -> None:
    # gevent/pywsgi.py: start_response is a method of the WSGIHandler. Behind close() it would read
    # the rest of the body away by itself, without a bound, whatever becomes of the connection.
    handler: Any = getattr(start_response, "__self__", None)
    if hasattr(handler, "close_connection"):
        handler.close_connection = True
    if hasattr(stream, "chunked_input") and hasattr(stream, "position"):
        stream.chunked_input = False
        stream.content_length = stream.position


def _uwsgi_transfer_encoding(environ: Environ) -> str | None:
    # uWSGI takes the body to be as long as Content-Length says, if there is one (core/protocol.c).
    # nginx sends one for a body whose chunks it has decoded, and still the client's field.
    return None if environ.get("CONTENT_LENGTH") else environ.get("HTTP_TRANSFER_ENCODING")


class _UwsgiChunks:
    """A chunked body of uWSGI, whose ``wsgi.input`` is empty then (core/chunked.c)."""

    def __init__(self, stream: Any, read_chunk: Callable[[], bytes]) -> None:
        self._read_chunk = read_chunk
        self.fileno = stream.fileno

    def read(self, size: int) -> bytes:
        """Return the next chunk, whatever its size: uWSGI limits it (--chunked-input-limit)."""
        return self._read_chunk()


def _uwsgi_chunks(environ: Environ, stream: Any) -> Any:
    # The module exists only in a process of uWSGI.
    read_chunk = getattr(sys.modules.get("uwsgi"), "chunked_read", None)
    return None if read_chunk is None else _UwsgiChunks(stream, read_chunk)


UNKNOWN = Server(name="unknown")

SERVERS = (
    Server(
        name="gunicorn",
        input_module="gunicorn.http.body",
        software="gunicorn/",
        connection=_gunicorn_connection,
        socket=_gunicorn_socket,
        invitation=Invitation.SENT,  # gunicorn/http/wsgi.py, create
        refuse_reuse=_gunicorn_refuse_reuse,
        # gunicorn/http/unreader.py, read: it receives up to 1 MiB, and each smaller read copies
        # what is left of that. A larger one than this costs more memory than it saves time.
        largest_read_bytes=512 * 1024,
    ),
    Server(
        name="cheroot",
        input_module="cheroot.server",
        software="Cheroot/",
        connection=_rfile_connection,  # cheroot/server.py, KnownLengthRFile and ChunkedRFile
        socket=_cheroot_socket,
        invitation=Invitation.SENT,  # cheroot/server.py, read_request_headers
        discards_before_headers=True,  # cheroot/server.py, send_headers
        discards_not_with_status=frozenset({413}),
        refuse_reuse=_cheroot_refuse_reuse,
    ),
    Server(
        name="granian",
        input_module="granian._granian",
        software="Granian",
        largest_read_bytes=256 * 1024,  # its reads cost nothing more, and each costs drainkit
    ),
    Server(
        name="gevent",
        input_module="gevent.pywsgi",
        software="gevent/",
        connection=_rfile_connection,  # gevent/pywsgi.py, Input
        refuse_reuse=_gevent_refuse_reuse,
    ),
    Server(
        name="uwsgi",
        input_module="uwsgi",
        connection=_stream_connection,  # plugins/python/wsgi_handlers.c, uwsgi_Input_fileno
        # Not by a worker; the HTTP router may have done so (plugins/http/http.c), and nginx does.
        invitation=Invitation.NEVER,
        transfer_encoding=_uwsgi_transfer_encoding,
        chunks=_uwsgi_chunks,
    ),
    # The connection is Apache's, and behind a pipe where there is a daemon process.
    Server(name="mod_wsgi", input_module="mod_wsgi"),
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
        connection=_stream_connection,  # http/server.py: the socket's own buffered reader
        invitation=Invitation.NEVER,  # http/server.py: not by an HTTP/1.0 server, which it is
    ),
)


def reads_no_further(environ: Environ) -> bool:
    """Tell whether a proxy in front may read no more of an upload once it has the whole answer.

    Caddy and Traefik are such: Go's ReverseProxy then stops, and its net/http closes with more
    than 256 KiB unread, 0.5 s later (net/http/server.go, closeWriteAndWait). They send this field,
    and so do proxies that would read on; a client that forges it only waits longer itself.
    """
    return "HTTP_X_FORWARDED_HOST" in environ


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
