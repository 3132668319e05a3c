"""The rows, and how a server is known. A new server, or a changed one, is a changed row."""

from __future__ import annotations

import functools
import io
import math

from drainkit import Moment, Moments, Resource
from drainkit_wsgi._types import Environ

from ._cheroot import CherootConnection
from ._connection import StreamConnection
from ._gevent import GeventConnection
from ._granian import GranianConnection
from ._gunicorn import LARGEST_RECEIVE_BYTES, GunicornConnection
from ._paste import PasteConnection
from ._server import Invitation, Server
from ._uwsgi import UwsgiConnection
from ._werkzeug import WerkzeugConnection

UNKNOWN = Server(name="unknown")

# The server reads away what comes, without a deadline, before it calls the iterable's close().
_DISCARDS_BEFORE_CLOSE = Moments(whole=Moment.BETWEEN, pieces=Moment.BETWEEN)

SERVERS = (
    Server(
        name="gunicorn",
        input_module="gunicorn.http.body",
        software="gunicorn/",
        connection=GunicornConnection,
        invitation=Invitation.SENT,  # gunicorn/http/wsgi.py, create
        largest_read_bytes=LARGEST_RECEIVE_BYTES,
    ),
    Server(
        name="cheroot",
        input_module="cheroot.server",
        software="Cheroot/",
        connection=CherootConnection,
        invitation=Invitation.SENT,  # cheroot/server.py, read_request_headers
        # cheroot/server.py, send_headers: it reads away what is left of a body of known length,
        # without a bound, before it sends headers; not with a 413.
        moments_with_length=Moments(
            whole=Moment.FIRST,
            pieces=Moment.BEHIND,
            pieces_with_status=frozenset({413}),
            is_discarded_by_server=True,
        ),
        ends_behind_close=True,  # cheroot/server.py, HTTPRequest.respond
    ),
    Server(
        name="granian",
        input_module="granian._granian",
        software="Granian",
        connection=GranianConnection,
        largest_read_bytes=256 * 1024,  # its reads cost nothing more, and each costs drainkit
    ),
    Server(
        name="gevent",
        input_module="gevent.pywsgi",
        software="gevent/",
        connection=GeventConnection,
        holds=Resource.GREENLET,  # also in a process that gevent has not patched
    ),
    Server(
        name="paste",
        input_module="paste.httpserver",
        software="PasteWSGIServer/",
        connection=PasteConnection,
    ),
    Server(
        name="uwsgi",
        input_module="uwsgi",
        connection=UwsgiConnection,
        # Not by a worker; the HTTP router may have done so (plugins/http/http.c), and nginx does.
        invitation=Invitation.NEVER,
        # plugins/http: but with --http-keepalive, which is not the default. The answer goes out as
        # it is; nginx does not pass the field on.
        closes_silently=True,
    ),
    # The connection is Apache's, and behind a pipe where there is a daemon process.
    Server(name="mod_wsgi", input_module="mod_wsgi"),
    Server(name="waitress", software="waitress", buffers_body=True),  # waitress/channel.py
    # A test client, or a gateway that has the whole request: nothing is on a connection, and what
    # is there may be looked at, or sent again (behind a 307 or 308), when the answer is out.
    Server(name="memory", input_class=io.BytesIO, buffers_body=True),
    Server(name="memory", input_module="django.test.client", buffers_body=True),
    Server(
        name="werkzeug",
        software="Werkzeug/",
        connection=WerkzeugConnection,
        invitation=Invitation.SENT,  # werkzeug/serving.py, run_wsgi
        threads=math.inf,  # werkzeug/serving.py, ThreadedWSGIServer
        moments=_DISCARDS_BEFORE_CLOSE,  # werkzeug/serving.py, execute
    ),
    Server(
        name="runserver",  # Django's
        input_module="django.core.handlers.wsgi",
        # Its stream keeps the socket in a private name, so the connection is not reached.
        invitation=Invitation.SENT,  # http/server.py, by an HTTP/1.1 server, which it is
        threads=math.inf,  # django/core/servers/basehttp.py, run
        moments=_DISCARDS_BEFORE_CLOSE,  # django/core/servers/basehttp.py, ServerHandler.close
    ),
    Server(
        name="wsgiref",
        software="WSGIServer",  # since Python 3.15 without a version
        connection=StreamConnection,  # http/server.py: the socket's own buffered reader
        invitation=Invitation.NEVER,  # http/server.py: not by an HTTP/1.0 server, which it is
    ),
)


def server_of(environ: Environ) -> Server:
    """Return the row of the server that made an environ, or `UNKNOWN`."""
    return row_of((type(environ.get("wsgi.input")), environ.get("SERVER_SOFTWARE", "")))


@functools.lru_cache(maxsize=64)  # one process serves under one name or two
def row_of(signs: tuple[type, str]) -> Server:
    """Return the row of a server, or `UNKNOWN`.

    Args:
        signs: The class of the ``wsgi.input`` in its environs, and their ``SERVER_SOFTWARE``.
    """
    input_class, software = signs
    for is_made_by in _made_by_module, _made_by_class:
        for server in SERVERS:
            if is_made_by(server, input_class):
                return server
    for server in SERVERS:
        if server.software is not None and software.startswith(server.software):
            return server
    return UNKNOWN


def _made_by_module(server: Server, input_class: type) -> bool:
    return input_class.__module__ == server.input_module


def _made_by_class(server: Server, input_class: type) -> bool:
    return server.input_class is not None and issubclass(input_class, server.input_class)
