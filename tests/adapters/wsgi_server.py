"""A small WSGI server for tests: faithful to PEP 3333, and it writes down what happened.

Nothing in it waits. It calls `close()` and `start_response` as real servers do, and refuses what
they refuse, so that a middleware that is wrong about the protocol fails here and not in the field.
"""

import contextlib
import functools
import itertools
import socket
from dataclasses import dataclass, field

from drainkit import DrainPolicy
from drainkit.testing import ScriptedBody
from drainkit_wsgi import DrainMiddleware

KIB = 1024
MIB = 1024 * KIB

# RFC 9110 section 7.6.1 names them; PEP 3333 forbids applications to send them.
HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}


class Input:
    """A ``wsgi.input`` with what PEP 3333 demands and nothing more."""

    def __init__(self, body, events):
        self._body = body
        self._events = events

    def read(self, *size):
        self._events.append("read")
        return self._body.read(*size)

    def readline(self, *size):
        self._events.append("read")
        return self._body.readline(*size)

    def readlines(self, *hint):
        self._events.append("read")
        return self._body.readlines(*hint)

    def __iter__(self):
        return iter(self.readline, b"")


# By the module that defines a server's class of wsgi.input, that is how servers are known.
MODULES = {
    "gunicorn": "gunicorn.http.body",
    "cheroot": "cheroot.server",
    "granian": "granian._granian",
    "gevent": "gevent.pywsgi",
    "paste": "paste.httpserver",
    "uwsgi": "uwsgi",
    "unknown": "site.middleware",
}
SOFTWARE = {
    "werkzeug": "Werkzeug/3.1",
    "wsgiref": "WSGIServer/0.2 CPython/3.11",
    "waitress": "waitress",
}


@functools.cache
def input_class(module):
    """Return one class per module: the table of known servers must not grow with the tests."""
    return type("Body", (Input,), {"__module__": module})


class FileWrapper:
    """A server's ``wsgi.file_wrapper``, which it would hand to sendfile()."""

    def __init__(self, file, block_size=8192):
        self.file = file
        self.block_size = block_size

    def __iter__(self):
        return iter(functools.partial(self.file.read, self.block_size), b"")

    def close(self):
        self.file.close()


@dataclass
class Exchange:
    """What became of one request.

    Attributes:
        events: Everything that happened, in order.
        chunks: What the server wrote.
        result: What the application (drainkit's middleware) returned.
        raised: What came out of the application, its iterable or its ``close()``.
    """

    environ: dict
    source: ScriptedBody
    events: list = field(default_factory=list)
    status: str = ""
    headers: list = field(default_factory=list)
    chunks: list = field(default_factory=list)
    result: object = None
    raised: BaseException | None = None
    reports: list = field(default_factory=list)

    @property
    def order(self):
        """The events, each run of the same one told once."""
        return [event for event, _ in itertools.groupby(self.events)]

    @property
    def body(self):
        return b"".join(self.chunks)

    @property
    def report(self):
        (report,) = self.reports
        return report

    @property
    def outcome(self):
        return self.report.outcome

    def header(self, name):
        """Return the values of a response's field."""
        return [value for key, value in self.headers if key.lower() == name]


def make_environ(body, events, *, server="unknown", headers=None, length=True, **more):
    """Return the environ of a request with this body (bytes, or a script of them)."""
    source = body if isinstance(body, ScriptedBody) else ScriptedBody(_script(body))
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/site",
        "PATH_INFO": "/upload",
        "QUERY_STRING": "secret=1",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": SOFTWARE.get(server, ""),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.errors": None,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input": input_class(MODULES.get(server, "_io"))(source, events),
    }
    if length is True:
        pieces = [piece for piece in source._script if isinstance(piece, bytes)]
        environ["CONTENT_LENGTH"] = str(sum(map(len, pieces)))
    elif length is not None:
        environ["CONTENT_LENGTH"] = str(length)
    environ.update(more)
    return environ, source


def _script(body):
    return [body] if isinstance(body, bytes) else body


def serve(app, body=b"x" * 1000, *, policy=None, wrap=DrainMiddleware, **request):
    """Serve one request and return what happened.

    Args:
        app: Called with the environ and start_response; `events` of the exchange is in the
            environ under ``"test.events"``.
        body: The request's body.
        policy: The middleware's policy; ``None`` is the default one.
        wrap: The middleware; ``None`` serves the application without.
        request: For `make_environ`.
    """
    events = []
    server = request.get("server")
    environ, source = make_environ(body, events, **request)
    environ["test.events"] = events
    exchange = Exchange(environ, source, events)
    if wrap is not None:
        app = wrap(app, policy or DrainPolicy(), on_report=exchange.reports.append)
    started = False

    def write(data):
        assert started, "write() before start_response()"
        assert isinstance(data, bytes)
        if not data:
            return
        events.append(f"write {len(data)}")
        exchange.chunks.append(data)

    def start_response(status, headers, exc_info=None):
        nonlocal started
        try:
            if exc_info and exchange.chunks:
                raise exc_info[1].with_traceback(exc_info[2])
            assert exc_info or not started, "start_response() twice"
        finally:
            exc_info = None
        for name, value in headers:
            is_told = (server, name, value) == ("uwsgi", "Connection", "close")
            assert is_told or name.lower() not in HOP_BY_HOP, f"{name} is not theirs to send"
            assert "\n" not in value, f"{name} is malformed"
        events.append("start")
        started = True
        exchange.status, exchange.headers = status, list(headers)
        return write

    try:
        exchange.result = app(environ, start_response)
        try:
            for item in exchange.result:
                write(item)
            assert started, "no start_response()"
            events.append("end")
        finally:
            close = getattr(exchange.result, "close", None)
            if close is not None:
                events.append("close")
                close()
    except BaseException as error:
        exchange.raised = error
    return exchange


class Result:
    """An iterable of response chunks that writes down when it is closed."""

    def __init__(self, environ, chunks, raises_in_close=None):
        self._events = environ["test.events"]
        self._chunks = iter(chunks)
        self._raises_in_close = raises_in_close
        self.closed = 0

    def __iter__(self):
        return self._chunks

    def close(self):
        self._events.append("inner close")
        self.closed += 1
        if self._raises_in_close is not None:
            raise self._raises_in_close


def answering(*chunks, status="413 Content Too Large", headers=(), make=None):
    """Return an application that answers without reading.

    Args:
        chunks: The response's.
        status: Its status.
        headers: Its headers.
        make: Makes the iterable of the environ and the chunks; ``None`` makes a list.
    """

    def app(environ, start_response):
        start_response(status, list(headers))
        return list(chunks) if make is None else make(environ, chunks)

    return app


def generator(environ, chunks):
    """Make a generator: for `answering`."""
    yield from chunks


@contextlib.contextmanager
def reachable(sends=b"x"):
    """Give the request fields of a server whose connection drainkit can reach, as gunicorn's.

    The body still comes from its script; the connection only shows whether the client is quiet.
    """
    server, client = socket.socketpair()
    with server, client:
        client.sendall(sends)
        yield {"server": "gunicorn", "gunicorn.socket": server}
