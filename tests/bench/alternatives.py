"""What a site could take instead of drainkit, as it is found in the field."""

from collections.abc import Iterable, Iterator
from typing import Any

NONE = "no middleware"
# The same once more: what it seems to differ by is what the run cannot tell apart.
CONTROL = "no middleware, again"
SNIPPET = "Flask snippet"
NAIVE = "naive loop"
HANDLER = "in the handler"
DRAINKIT = "drainkit"
LEAST = "the least middleware"
HANDLER_64 = "in the handler, 64 KiB reads"
FLOOR = "bare socket"

READ_BYTES = 65_536
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"expect"})


class StreamConsumingMiddleware:
    """Armin Ronacher's Flask snippet 47 of 2011, on today's werkzeug.

    Changed in one place: a missing CONTENT_LENGTH counts as 0, where the original raises KeyError.
    """

    def __init__(self, app: Any) -> None:
        from werkzeug.wsgi import LimitedStream

        self._limited_stream = LimitedStream
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        stream = self._limited_stream(
            environ["wsgi.input"], int(environ.get("CONTENT_LENGTH") or 0)
        )
        environ["wsgi.input"] = stream
        app_iter = self.app(environ, start_response)
        try:
            stream.exhaust()
            yield from app_iter
        finally:
            if hasattr(app_iter, "close"):
                app_iter.close()


class NaiveLoop:
    """Call the application, then receive until the body has ended."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)
        if scope["type"] == "http":
            while (await receive()).get("more_body", False):
                pass


class LeastWsgi:
    """What cannot be left out under WSGI: an input that passes on and counts; it drains nothing."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if environ.get("CONTENT_LENGTH") or "HTTP_TRANSFER_ENCODING" in environ:
            environ["wsgi.input"] = _LeastInput(environ["wsgi.input"])
        return self.app(environ, start_response)


class _LeastInput:
    __slots__ = ("nbytes", "stream")

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.nbytes = 0

    def read(self, *size: int) -> bytes:
        data: bytes = self.stream.read(*size)
        self.nbytes += len(data)
        return data


class LeastAsgi:
    """The same under ASGI: a look at each header field, and a ``receive()`` that counts."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        has_body = False
        for name, _ in scope["headers"]:
            if name in _FRAMING:
                has_body = True
        await self.app(scope, _LeastReceive(receive) if has_body else receive, send)


class _LeastReceive:
    __slots__ = ("nbytes", "receive")

    def __init__(self, receive: Any) -> None:
        self.receive = receive
        self.nbytes = 0

    async def __call__(self) -> Any:
        message = await self.receive()
        self.nbytes += len(message.get("body", b""))
        return message


def wsgi(contender: str, app: Any) -> Any:
    """Return a WSGI application with a contender around it."""
    if contender == SNIPPET:
        return StreamConsumingMiddleware(app)
    if contender == LEAST:
        return LeastWsgi(app)
    if contender == DRAINKIT:
        from drainkit_wsgi import DrainMiddleware

        return DrainMiddleware(app, _policy())
    return app


def asgi(contender: str, app: Any) -> Any:
    """Return an ASGI application with a contender around it."""
    if contender == NAIVE:
        return NaiveLoop(app)
    if contender == LEAST:
        return LeastAsgi(app)
    if contender == DRAINKIT:
        from drainkit_asgi import DrainMiddleware

        return DrainMiddleware(app, _policy())
    return app


def _policy() -> Any:
    import json
    import os

    from drainkit import DrainPolicy

    # As tests/servers/harness.py hands it over; nothing in it means the defaults.
    return DrainPolicy(**json.loads(os.environ.get("DRAINKIT_TEST_POLICY") or "{}"))


def read_away(environ: dict[str, Any], read_bytes: int) -> int:
    """Read a WSGI body as a handler would; return how many bytes came."""
    read = environ["wsgi.input"].read
    total = 0
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left > 0 and (data := read(min(left, read_bytes))):
        total += len(data)
        left -= len(data)
    return total


async def receive_away(receive: Any) -> int:
    """Receive an ASGI body as a handler would; return how many bytes came."""
    total = 0
    more = True
    while more:
        message = await receive()
        total += len(message.get("body", b""))
        more = message.get("more_body", False)
    return total


def fixed(start_response: Any, status: str, body: bytes) -> Iterable[bytes]:
    """Answer a WSGI request."""
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]


async def fixed_async(send: Any, status: int, body: bytes) -> None:
    """Answer an ASGI request."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
