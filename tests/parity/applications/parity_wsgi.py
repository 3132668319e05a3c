"""Plain WSGI applications of the scenarios; each path is one."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from parity_parts import Since, alphabet, query_of
from parity_wsgi_parts import drained, entry, note, respond, scope_of

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

WORK_SECONDS = 0.8
FRAME_SECONDS = 0.5
FRAMES = 3
# Fits no buffer that drainkit counts with, and every buffer between two sockets.
PIECE = b"x" * 100_000
PAGE = b"p" * 200_000
# A list of its own for each answer: servers add fields to it.
_PLAIN = [("Content-Type", "text/plain")]


def hello(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Greet."""
    return respond(start_response, "200 OK", b"hello")


def early(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 413 to an upload at once."""
    return respond(start_response, "413 Content Too Large", b"too large")


def page(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 413 with a page of 200 KB."""
    return respond(start_response, "413 Content Too Large", PAGE)


def pieces(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 413 in two pieces, of which nobody knows how long they are."""
    start_response("413 Content Too Large", [*_PLAIN])
    return iter([b"too ", b"large"])


def moved(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer a POST to a URL without its last slash with 308, and reads nothing."""
    return respond(start_response, "308 Permanent Redirect", b"moved", {"Location": "/hello/"})


def late(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Begin an answer of more than 64 KiB, then read the body and say what came of it."""
    start_response("200 OK", [*_PLAIN])
    return _late(environ)


def _late(environ: WSGIEnvironment) -> Iterator[bytes]:
    for _ in range(3):
        yield PIECE[:40_000]
    nbytes, has_order, how = 0, True, "end"
    try:
        left_bytes = int(environ["CONTENT_LENGTH"])
        while data := environ["wsgi.input"].read(min(65_536, left_bytes)):
            has_order &= data == alphabet(nbytes, len(data))
            nbytes += len(data)
            left_bytes -= len(data)
    except OSError:
        how = "error"
    note(environ, "late", {"bytes": nbytes, "in_order": has_order, "how": how})
    yield b"\nGOT %d %s" % (nbytes, how.encode())


def input_end(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Read until nothing comes, in each of the ways that there are, and answer the length."""
    stream = environ["wsgi.input"]
    how = environ["PATH_INFO"].split("/")[2]
    if how == "whole":
        nbytes = len(stream.read())
    elif how == "pieces":
        nbytes = sum(map(len, iter(lambda: stream.read(65_536), b"")))
    elif how == "lines":
        nbytes = sum(map(len, iter(stream.readline, b"")))
    elif how == "list":
        nbytes = sum(map(len, stream.readlines()))
    else:
        nbytes = sum(map(len, stream))
    return respond(start_response, "200 OK", b"%d" % nbytes)


def first_piece(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Yield a piece, work, yield another; with some of the body read before, or nothing."""
    start_response("200 OK", [*_PLAIN])
    return _first_piece(environ)


def _first_piece(environ: WSGIEnvironment) -> Iterator[bytes]:
    if environ["PATH_INFO"].endswith("/touched"):
        environ["wsgi.input"].read(5)
    yield PIECE
    time.sleep(WORK_SECONDS)
    yield PIECE


def transform(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Read 2 KB, yield 100 KB, read 2 KB more, yield again."""
    start_response("200 OK", [*_PLAIN])
    return (environ["wsgi.input"].read(2_000) * 50 for _ in range(2))


def frames(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Yield frames of 100 KB, with a pause before each but the first; the body is not wanted."""
    start_response("200 OK", [("Content-Type", "multipart/x-mixed-replace")])
    return _frames()


def _frames() -> Iterator[bytes]:
    for number in range(FRAMES):
        if number:
            time.sleep(FRAME_SECONDS)
        yield PIECE


def nothing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Yield what is no bytes among what is."""
    start_response("200 OK", [*_PLAIN])
    return iter([b"begin ", None, b"end"])  # type: ignore[list-item]


def by_keyword(environ: WSGIEnvironment, start_response: Any) -> Iterable[bytes]:
    """Start again with ``exc_info`` by keyword."""
    start_response("200 OK", [*_PLAIN])
    try:
        raise LookupError("raised by the application, as the scenario wants it")
    except LookupError:
        headers = [*_PLAIN, ("Content-Length", "5")]
        start_response("500 Internal Server Error", headers, exc_info=sys.exc_info())
    return [b"sorry"]


def with_number(app: WSGIApplication) -> WSGIApplication:
    """Put a middleware around an application that makes a number of CONTENT_LENGTH."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["CONTENT_LENGTH"] = int(environ["CONTENT_LENGTH"])
        return app(environ, start_response)

    return application


def length(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Read the body, or leave it, and answer Content-Length."""
    nbytes = int(environ["CONTENT_LENGTH"])
    if environ["PATH_INFO"].endswith("/read"):
        nbytes = len(environ["wsgi.input"].read(nbytes))
    return respond(start_response, "200 OK", b"%d" % nbytes)


def behind(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Read five bytes of the body behind the last byte of the answer."""
    nbytes = int(environ["PATH_INFO"].split("/")[2])
    start_response("200 OK", [*_PLAIN, ("Content-Length", str(nbytes))])
    return _behind(environ, nbytes)


def _behind(environ: WSGIEnvironment, nbytes: int) -> Iterator[bytes]:
    yield b"k" * nbytes
    try:
        note(environ, "read", environ["wsgi.input"].read(5).decode())
    except Exception as error:
        note(environ, "read", f"{type(error).__name__}: {error}")


def threaded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 202 while a thread of the application goes on to read the body."""
    has_begun = threading.Event()
    threading.Thread(target=_read_on, args=(environ, has_begun), daemon=True).start()
    has_begun.wait(5.0)
    return respond(start_response, "202 Accepted", b"later")


def _read_on(environ: WSGIEnvironment, has_begun: threading.Event) -> None:
    stream, whole_bytes = environ["wsgi.input"], int(environ["CONTENT_LENGTH"])
    nbytes, is_false, how = 0, False, "end"
    try:
        while nbytes < whole_bytes and (data := stream.read(min(1000, whole_bytes - nbytes))):
            is_false |= data != alphabet(nbytes, len(data))
            nbytes += len(data)
            has_begun.set()
            time.sleep(0.002)
    except Exception as error:
        how = f"{type(error).__name__}: {error}"
    is_false |= how == "end" and nbytes != whole_bytes
    note(environ, "thread", {"bytes": nbytes, "is_false": is_false, "how": how})


def scripted(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Do what the query says, a word for each step, and note what came of it.

    ``r10`` reads up to ten bytes, ``n`` a line, ``R`` the rest of the body, ``s200`` starts the
    response, ``l10`` the same with a Content-Length, ``w10`` writes ten bytes, ``b10`` yields
    them, ``p5`` waits for 5 ms. ``/scripted/list`` returns them in a list, and
    ``/scripted/lazy`` starts the response only when it is iterated over.
    """
    script = _Script(environ, start_response)
    how = environ["PATH_INFO"].split("/")[2]
    if how == "lazy":
        return script.items()
    if how == "list":
        return list(script.items())
    items = script.items()
    return _begun(next(items, b""), items)


def _begun(first: bytes, items: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from items


class _Script:
    """A scripted application at work on one request."""

    def __init__(self, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        self._environ = environ
        self._start_response = start_response
        self._steps = iter(query_of(scope_of(environ))["steps"][0].split())
        self._since = Since(scope_of(environ))
        self._write: Any = None
        self._sent_bytes = 0
        self._read = _BodyRead(environ)

    def items(self) -> Iterator[bytes]:
        """Yield what the steps yield, and note in the end what came of them."""
        try:
            yield from self._play()
        except Exception as error:
            note(self._environ, "error", type(error).__name__)
            raise
        finally:
            note(self._environ, "read", self._read.facts())
            self._since.note("done")

    def _play(self) -> Iterator[bytes]:
        for step in self._steps:
            kind, number = step[0], int(step[1:] or 0)
            if kind in "rnR":
                self._read.step(kind, number)
            elif kind in "sl":
                self._start(kind, number)
            elif kind == "p":
                time.sleep(number / 1000)
            else:
                data = alphabet(self._sent_bytes, number)
                self._sent_bytes += number
                if kind == "w":
                    self._write(data)
                else:
                    yield data

    def _start(self, kind: str, number: int) -> None:
        headers = [*_PLAIN, ("Content-Length", str(number))] if kind == "l" else [*_PLAIN]
        status = f"{200 if kind == 'l' else number} Status"
        self._write = self._start_response(status, headers)


class _BodyRead:
    """What a scripted application has read of its body, as PEP 3333 lets it."""

    def __init__(self, environ: WSGIEnvironment) -> None:
        self._stream = environ["wsgi.input"]
        length = environ.get("CONTENT_LENGTH")
        self._whole_bytes = int(length) if length else None
        # Only a server that says so ends a body without a length.
        self._can_end = length or environ.get("wsgi.input_terminated")
        self._nbytes = 0
        self._in_order = True
        self._ended = False

    def step(self, kind: str, number: int) -> None:
        """Read some, a line, or all that is left."""
        while self._can_end and not self._ended:
            most = number if kind == "r" else 65_536
            if self._whole_bytes is not None:
                most = min(most, self._whole_bytes - self._nbytes)
            data = self._stream.readline(most) if kind == "n" else self._stream.read(most)
            self._in_order &= data == alphabet(self._nbytes, len(data))
            self._nbytes += len(data)
            self._ended = not data or self._nbytes == self._whole_bytes
            if kind != "R":
                return

    def facts(self) -> dict[str, Any]:
        """Return what came, for the scenario."""
        return {"bytes": self._nbytes, "in_order": self._in_order, "ended": self._ended}


application = entry(
    {
        "hello": hello,
        "early": drained(early),
        "page": drained(page),
        "pieces": drained(pieces),
        "moved": drained(moved),
        "late": drained(late),
        "input": drained(input_end),
        "first": drained(first_piece),
        "transform": drained(transform),
        "frames": drained(frames),
        "nothing": drained(nothing),
        "keyword": drained(by_keyword),
        "length": with_number(drained(length)),
        "behind": drained(behind),
        "threaded": drained(threaded),
        "scripted": drained(scripted),
    }
)
