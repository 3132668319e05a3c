"""Servers without a network: the least that a request costs on either protocol."""

import io
import types
from collections.abc import Callable, Sequence
from typing import Any

BODY_BYTES = 4096
HEADERS = 12
FORM_TYPE = "application/x-www-form-urlencoded"
FORM_BODY = b"&".join(b"field%02d=%s" % (number, b"v" * 119) for number in range(32))
FORM_BODY += b"x" * (BODY_BYTES - len(FORM_BODY))


class Body(io.BytesIO):
    """gunicorn's body: its buffers show that all of it came with its head."""

    buf = io.BytesIO()
    reader = types.SimpleNamespace(unreader=types.SimpleNamespace(buf=io.BytesIO()))


class BodyToCome(io.BytesIO):
    """A body of gunicorn's that is not seen to have come."""


Body.reader.unreader.buf.write(bytes(BODY_BYTES))

# drainkit knows a server by the module of its classes, and takes the way that it takes there.
Body.__module__ = BodyToCome.__module__ = "gunicorn.http.body"


def environ(method: str, *, headers: int = HEADERS, **more: Any) -> dict[str, Any]:
    """Return the environ of a request as gunicorn makes it; without a body unless *more* says so.

    Args:
        method: The request method.
        headers: How many header fields.
        more: More keys.
    """
    return {
        "wsgi.errors": None,
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": io.BytesIO,
        "wsgi.input_terminated": True,
        "wsgi.url_scheme": "http",
        "SERVER_SOFTWARE": "gunicorn/27.0.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "REQUEST_METHOD": method,
        "QUERY_STRING": "",
        "RAW_URI": "/upload",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "50000",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/upload",
        "HTTP_HOST": "127.0.0.1:8000",
        **{f"HTTP_X_FIELD_{number}": "value" for number in range(headers - 1)},
        **more,
    }


def _start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], None]:
    return _write


def _write(data: bytes) -> None:
    return None


def serve_wsgi(
    app: Any, template: dict[str, Any], body: bytes, stream: Callable[[bytes], Any] = Body
) -> None:
    """Serve one request as PEP 3333 says, from a fresh environ."""
    request = template.copy()
    request["wsgi.input"] = stream(body)
    result = app(request, _start_response)
    try:
        for _ in result:
            pass
    finally:
        if hasattr(result, "close"):
            result.close()


def scope(method: str, *, headers: int = HEADERS, **more: str) -> dict[str, Any]:
    """Return the scope of a request as uvicorn makes it.

    Args:
        method: The request method.
        headers: How many header fields besides *more*.
        more: More header fields; underscores stand for hyphens.
    """
    fields = [(b"host", b"127.0.0.1:8000")]
    fields += [(b"x-field-%d" % number, b"value") for number in range(headers - 1)]
    fields += [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "root_path": "",
        "method": method,
        "path": "/upload",
        "raw_path": b"/upload",
        "query_string": b"",
        "headers": fields,
        "state": {},
    }


class Cycle:
    """One request and its response, as uvicorn's RequestResponseCycle."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self._at = 0
        self._complete = False

    async def receive(self) -> dict[str, Any]:
        """Return the next piece; a disconnect behind the last one, or behind the response."""
        if self._complete or self._at == len(self._pieces):
            return {"type": "http.disconnect"}
        body = self._pieces[self._at]
        self._at += 1
        return {"type": "http.request", "body": body, "more_body": self._at < len(self._pieces)}

    async def send(self, message: Any) -> None:
        """Take a message of the response."""
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._complete = True


Cycle.__module__ = "uvicorn.protocols.http.h11_impl"


async def serve_asgi(app: Any, template: dict[str, Any], pieces: Sequence[bytes]) -> None:
    """Serve one request from a fresh scope."""
    cycle = Cycle(pieces)
    await app(template.copy(), cycle.receive, cycle.send)
