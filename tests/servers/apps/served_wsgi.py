"""The WSGI application that the real servers serve: ``application``, bare or wrapped.

DRAINKIT_TEST_WRAP=1 wraps it, DRAINKIT_TEST_POLICY holds the policy's fields as JSON,
DRAINKIT_TEST_REPORTS names the file that gets one JSON line a report. drainkit is imported only to
wrap.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import served_parts as parts

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_REASONS = {
    200: "OK",
    302: "Found",
    404: "Not Found",
    413: "Content Too Large",
    422: "Unprocessable Content",
}


class Plain(list[bytes]):
    """An iterable that can be told from every other."""


def _start(start_response: StartResponse, status: int, *headers: tuple[str, str]) -> None:
    start_response(f"{status} {_REASONS[status]}", [("Content-Type", "text/plain"), *headers])


def _fixed(
    start_response: StartResponse, status: int, body: bytes, *headers: tuple[str, str]
) -> Iterable[bytes]:
    _start(start_response, status, ("Content-Length", str(len(body))), *headers)
    return [body]


def _pieces(environ: WSGIEnvironment) -> Iterator[bytes]:
    """Read to the body's end where the server ends it, else to its length."""
    chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
    ended = environ.get("wsgi.input_terminated") or (
        chunked and "WSGIServer" not in environ["SERVER_SOFTWARE"]
    )
    left = 1 << 62 if ended else int(environ.get("CONTENT_LENGTH") or 0)
    while left > 0:
        piece = environ["wsgi.input"].read(min(left, parts.PIECE_BYTES))
        if not piece:
            return
        left -= len(piece)
        yield piece


def _late(environ: WSGIEnvironment) -> Iterator[bytes]:
    yield b"start:"
    yield str(sum(map(len, _pieces(environ)))).encode()


def bare(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer by the path alone; most paths leave the body unread."""
    path = environ["PATH_INFO"]
    if path == "/ready":
        return _fixed(start_response, 200, parts.READY)
    if path == "/413":
        return _fixed(start_response, 413, parts.TOO_LARGE)
    if path == "/413-nolength":
        _start(start_response, 413)
        return [parts.TOO_LARGE]
    if path == "/200":
        return _fixed(start_response, 200, f"200 {environ.get('QUERY_STRING', '')}".encode())
    if path == "/302":
        return _fixed(start_response, 302, b"", ("Location", "/ready"))
    if path == "/page":
        return _fixed(start_response, 413, parts.page())
    if path == "/page-stream":
        _start(start_response, 413, ("Content-Length", str(parts.PAGE_BYTES)))
        return parts.page_pieces()
    if path == "/page-stream-nolength":
        _start(start_response, 413)
        return parts.page_pieces()
    if path == "/422":
        environ["wsgi.input"].read(10)
        return _fixed(start_response, 422, b"10 bytes were enough")
    if path == "/raise":
        raise RuntimeError("raised before reading, as the test asked")
    if path == "/late":
        _start(start_response, 200)
        return _late(environ)
    if path == "/upper":
        _start(start_response, 200)
        return (piece.upper() for piece in _pieces(environ))
    if path == "/length":
        return _fixed(start_response, 200, str(sum(map(len, _pieces(environ)))).encode())
    if path == "/identity":
        body = str(sum(map(len, _pieces(environ)))).encode()
        _start(start_response, 200, ("Content-Length", str(len(body))))
        return Plain([body])
    return _fixed(start_response, 404, b"no such path")


def _identity_shown(app: WSGIApplication) -> WSGIApplication:
    """Say in a header of /identity whether the server gets the application's very iterable."""

    def shown(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/identity":
            return app(environ, start_response)
        held: list[tuple[str, list[tuple[str, str]]]] = []

        def hold(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], object]:
            held.append((status, headers))
            return lambda data: None

        result = app(environ, hold)
        status, headers = held[-1]
        same = "yes" if type(result) is Plain else "no"
        start_response(status, [*headers, ("X-Same-Iterable", same)])
        return result

    return shown


def _application() -> WSGIApplication:
    if os.environ.get("DRAINKIT_TEST_WRAP") != "1":
        return _identity_shown(bare)
    from drainkit import DrainPolicy
    from drainkit_wsgi import DrainMiddleware, _servers

    if os.environ.get("DRAINKIT_TEST_UNKNOWN") == "1":
        _servers.SERVERS = ()  # as if this server were of tomorrow
    drained = DrainMiddleware(
        bare, policy=DrainPolicy(**parts.policy_fields()), on_report=parts.keep_report
    )
    return _identity_shown(drained)


application = _application()
