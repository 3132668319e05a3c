"""The application of the cases, for WSGI."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from ._replies import (
    FIRST_BYTES,
    NOT_FOUND,
    PIECE_BYTES,
    RAISED,
    REPLIES,
    Reply,
    ok,
)

Pieces = Callable[[WSGIEnvironment], Iterable[bytes]]


def body_pieces(environ: WSGIEnvironment) -> Iterator[bytes]:
    """Yield the request's body: to its end if the server says that it ends it, else to its length.

    Args:
        environ: The request.
    """
    ended = environ.get("wsgi.input_terminated", False)
    left = 0 if ended else int(environ.get("CONTENT_LENGTH") or 0)
    while ended or left > 0:
        piece = environ["wsgi.input"].read(PIECE_BYTES if ended else min(left, PIECE_BYTES))
        if not piece:
            return
        left -= len(piece)
        yield piece


def wsgi_application(
    *, ready: bytes = b"ready", pieces: Callable[[WSGIEnvironment], Iterable[bytes]] = body_pieces
) -> WSGIApplication:
    """Make the application that `CASES` are uploaded to; its paths stand in their ``upload``.

    Args:
        ready: What ``/ready`` answers, so that a test can tell its own server from another.
        pieces: How a request's body is read. Servers differ in how they end a chunked one, and WSGI
            does not say.
    """

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/raise":
            raise RuntimeError(RAISED)
        if path in ("/late", "/upper"):
            start_response("200 OK", [("Content-Type", "text/plain")])
            body = pieces(environ)
            return _late(body) if path == "/late" else (piece.upper() for piece in body)
        reply = _reply(path, environ, ready, pieces)
        phrase = HTTPStatus(reply.status).phrase
        start_response(f"{reply.status} {phrase}", reply.headers())
        # A list has ended when it is returned; a generator may go on.
        return reply.pieces() if reply.streamed else list(reply.pieces())

    return application


def _reply(path: str, environ: WSGIEnvironment, ready: bytes, pieces: Pieces) -> Reply:
    if path == "/ready":
        return ok(ready)
    if path == "/200":
        return ok(f"200 {environ.get('QUERY_STRING', '')}".encode())
    if path == "/422":
        environ["wsgi.input"].read(10)
        return Reply(422, FIRST_BYTES)
    if path == "/length":
        return ok(_length(pieces(environ)))
    return REPLIES.get(path, NOT_FOUND)


def _length(pieces: Iterable[bytes]) -> bytes:
    return str(sum(map(len, pieces))).encode()


def _late(pieces: Iterable[bytes]) -> Iterator[bytes]:
    yield b"start:"
    yield _length(pieces)
