"""The answer of one request, on its way from the application to the server.

The order, and why (RFC 9112 section 9.6; `docs/explanation/when-and-how-long`):

1. The answer goes first, and the body is discarded in the iterable's ``close()``: PEP 3333's hook
   behind the response.
2. More answer than a socket buffer holds would block both sides, because a strict client does not
   read while it writes. Before that much is sent, the body is read off the connection.
3. If the application may still read it, up to ``late_read_bytes`` are kept.

What is to be done with each piece says the engine's `Order`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from drainkit import Framing, Moment, Moments, Order, Plan

from ._proxies import reads_no_further
from ._types import Environ, ExcInfo, Headers, StartResponse, Write
from ._upload import Upload
from ._whole import Whole, whole_length
from .servers import Server

# What a status line begins with (PEP 3333).
_STATUS_CODES = {f"{code:03}": code for code in range(1000)}

# Every piece costs a look-up of each, and in an enum that is slow before Python 3.12.
_PASS = Plan.PASS
_BEHIND = Moment.BEHIND

_NAME_CHARACTERS = len("content-length")

_END = object()
"""Stands for the end of the application's iterable, which may yield anything."""


class Begun(Protocol):
    """An answer that has begun: as `PromptResponse` has it."""

    status: str | None
    length: int | None
    held: Headers | None
    server_write: Write | None
    passed_bytes: int
    result: Iterable[bytes]
    items: Iterator[bytes] | None


class Closing(Protocol):
    """What is done about a body behind its answer: as `Upload` and `Exchange` do it.

    The names of `Exchange` are published, so what only this package may call is a private one.
    """

    def _stop(self, reason: BaseException) -> None: ...

    def discard(self, *, is_answered: bool) -> None: ...

    def _forget_kept(self) -> None: ...


class Response(Iterator[bytes]):
    """The answer on its way to the server, and the iterable that the server gets.

    An object and not a generator: some servers read the status before they ask for the first item.
    """

    __slots__ = (
        "_held",
        "_is_closed",
        "_is_whole",
        "_items",
        "_order",
        "_result",
        "_start_response",
        "_upload",
        "_write",
    )

    def __init__(self, upload: Upload, start_response: StartResponse | None) -> None:
        """Begin before the answer.

        Args:
            upload: The request's body.
            start_response: The server's; ``None`` where the adapter sends the start by itself.
        """
        self._upload = upload
        drain = upload.drain
        moments = moments_for(upload.server, drain.framing, drain.protocol, upload.environ)
        self._order = Order(drain, moments, sends_while_reading=False)
        self._start_response = start_response
        self._held: tuple[str, Headers, ExcInfo | None] | None = None
        self._write: Write | None = None
        self._result: Iterable[bytes] = ()
        self._items: Iterator[bytes] | None = None
        self._is_whole = False
        self._is_closed = False

    def start(self, status: str, headers: Headers, exc_info: ExcInfo | None = None) -> Write:
        """Take the answer's start: PEP 3333's ``start_response``."""
        self._upload.answered()
        if exc_info is None:
            # A second call without exc_info is an error, and the server says which.
            self._release()
        length, must_pass = None, self._write is not None
        try:
            length = content_length(headers)
        except (AttributeError, TypeError, ValueError):
            must_pass = True  # not what PEP 3333 asks for: the server is to say so
        plan = self._order.start(status_code(status), length)
        # Held until it is known whether the whole answer is: then Content-Length can be set, and a
        # client sees the end of the answer while the body is discarded behind it.
        self._held = (status, headers, exc_info)
        if must_pass or plan is _PASS:
            self._release()
        return self.write

    def take_over(self, answer: Begun) -> None:
        """Go on with an answer that has begun, and has turned out to need all of this."""
        assert answer.status is not None  # or it would not have begun
        self._order.start(status_code(answer.status), answer.length)
        if answer.held is None:
            self._order.released()
            self._write = answer.server_write
        else:
            self._held = (answer.status, answer.held, None)
        self._order.passed(answer.passed_bytes)
        self._result, self._items = answer.result, answer.items

    def start_elsewhere(self, status: int | None, length: int | None) -> None:
        """Take the start of an answer that the adapter sends by itself."""
        self._upload.answered()
        self._order.start(status, length)

    def write(self, data: bytes) -> None:
        """Send bytes of the answer at once: PEP 3333's ``write``."""
        self._release()
        if isinstance(data, bytes):  # or the server is to say so
            nbytes = len(data)
            self._do(self._order.piece(nbytes, more=True), nbytes)
        assert self._write is not None  # start() returned this method
        self._write(data)

    def respond(self, result: Iterable[bytes]) -> Iterable[bytes]:
        """Take the application's iterable, and return the one that the server is to get.

        One that needs nothing is returned as it is: the body is settled, or the server's
        ``wsgi.file_wrapper`` made it.
        """
        upload = self._upload
        self._result = result
        length = whole_length(result)
        if length is not None:
            self._is_whole = True
            self._release(length)
            plan = self._order.end(length)
            self._do(plan, length)
            if plan is Plan.DISCARD_BEHIND:
                return Whole(result, self.close)
            if upload.drain.settled:
                upload.discard()  # or a drain that met a bound before it was known to be the last
                if upload.waits_until_taken:
                    return Whole(result, self._close_when_taken)
                return result
            return self
        # Now and not with the first item: some servers take the status before they ask for it.
        self._release()
        if upload.drain.finished:
            return result
        if is_file(result, upload.environ.get("wsgi.file_wrapper")):
            upload.discard()  # the server will send it, and tell nobody when it has
            return result
        if self._order.stream() is Plan.READ_AHEAD_FIRST and not upload.is_interruptible:
            # Now, because some servers send the headers before they ask for the first item.
            self._read_ahead(0)
        return self

    def end_elsewhere(self, nbytes: int) -> int | None:
        """Take note of a whole answer that the adapter sends by itself.

        Returns:
            The Content-Length that it lacks, or ``None``.
        """
        order = self._order
        length = order.length_to_add(nbytes, method=self._upload.drain.method, has_coding=False)
        if order.end(nbytes) in (Plan.DISCARD_FIRST, Plan.DISCARD_BETWEEN):
            self._upload.discard()  # nothing can be done between its bytes and its end
        return length

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        item = self._take()
        if item is _END:
            self._release()
            self._end()
            raise StopIteration
        if self._is_whole or not isinstance(item, bytes):  # or the server is to say so
            self._release()
            return item  # type: ignore[no-any-return]
        nbytes = len(item)
        # That it is the last is not known: whoever looked would keep it waiting.
        plan = self._order.piece(nbytes, more=True)
        if self._held is not None:
            self._release()
        self._do(plan, nbytes)
        return item

    def close(self) -> None:
        """Close the application's iterable, once, and discard the body behind the answer."""
        if not self._is_closed:
            self._is_closed = True
            is_answered = self._is_complete or not self._upload.server.ends_behind_close
            close_and_discard(self._result, self._upload, is_answered=is_answered)

    def _close_when_taken(self) -> None:
        """Close the iterable of an answer that went out behind a drain, when the peer has it."""
        if not self._is_closed:
            self._is_closed = True
            close_iterable(self._result)
            self._upload.wait_until_taken()

    def _release(self, whole_length: int | None = None) -> None:
        """Send a start that is held, with a Content-Length if the length of the whole is known."""
        if self._held is None:
            return
        status, headers, exc_info = self._held
        self._held = None
        if whole_length is not None:
            length = self._order.length_to_add(
                whole_length, method=self._upload.drain.method, has_coding=has_coding(headers)
            )
            if length is not None:
                headers = [*headers, ("Content-Length", str(length))]
        if self._upload.server.closes_silently:
            # PEP 3333 leaves this field to the server, which leaves it out.
            headers = [*headers, ("Connection", "close")]
        self._order.released()
        assert self._start_response is not None  # the application got its own from Exchange.starter
        if exc_info is None:
            self._write = self._start_response(status, headers)
        else:
            self._write = self._start_response(status, headers, exc_info)

    def _take(self) -> Any:
        """Return the application's next item, or `_END`."""
        try:
            if self._items is None:
                self._items = iter(self._result)
            return next(self._items, _END)
        except Exception:
            self._upload.discard()
            raise
        except BaseException as exc:
            self._upload._stop(exc)
            raise

    @property
    def _is_complete(self) -> bool:
        """Whether as much of the answer has been sent as its Content-Length says."""
        length = self._order.length
        return length is not None and self._order.passed_bytes >= length

    def _end(self) -> None:
        """Do what must be done before the server ends the answer."""
        order, upload = self._order, self._upload
        moment = order.moment_at_end
        if moment is _BEHIND:
            return
        if moment is Moment.BETWEEN or not upload.drain.settled:
            is_answered = order.passed_bytes > 0 and upload.bears_shutting
            upload.discard(is_answered=is_answered or self._is_complete)

    def _do(self, plan: Plan, nbytes: int) -> None:
        """Do what a plan asks for before its piece is sent, and count the piece."""
        if plan is _PASS:
            self._pass(nbytes)
        else:
            _BEFORE_A_PIECE[plan](self, nbytes)
        self._order.passed(nbytes)

    def _pass(self, nbytes: int) -> None:
        if nbytes and self._order.is_discarded_by_server:
            # Otherwise the server would throw away what the application wants to read.
            self._upload.connection.refuse_reuse()

    def _read_ahead(self, nbytes: int) -> None:
        self._upload.read_ahead()
        self._order.client_is_quiet = self._upload.client_is_quiet
        self._pass(nbytes)

    def _discard_first(self, nbytes: int) -> None:
        # An application that has given all that its Content-Length says may still read.
        self._upload.discard(may_read_on=not self._is_whole)

    def _discard_behind(self, nbytes: int) -> None:
        """Do nothing yet: the body is discarded behind the last piece, or behind the end."""

    def _end_undiscarded(self, nbytes: int) -> None:
        self._upload.discard()  # reads nothing, as nothing may be read, and says why


_BEFORE_A_PIECE = {
    Plan.READ_AHEAD: Response._read_ahead,
    Plan.DISCARD_FIRST: Response._discard_first,
    Plan.DISCARD_BETWEEN: Response._discard_behind,
    Plan.DISCARD_BEHIND: Response._discard_behind,
    Plan.END: Response._end_undiscarded,
}


def status_code(status: str) -> int | None:
    """Return the code of a status line; ``None`` when the application gave something else."""
    try:
        return _STATUS_CODES.get(status[:3])
    except TypeError:
        return None  # no string: the server is to say so


def close_iterable(result: Iterable[bytes]) -> None:
    """Close an application's iterable, if it can be closed (PEP 3333)."""
    close = getattr(result, "close", None)
    if close is not None:
        close()


def close_and_discard(result: Iterable[bytes], body: Closing, *, is_answered: bool) -> None:
    """Close an application's iterable, and discard the body behind the answer.

    Args:
        result: The iterable.
        body: The body, or the exchange that it belongs to.
        is_answered: Whether the server has written the end of the answer.
    """
    ending = sys.exc_info()[1]
    if ending is not None and not isinstance(ending, Exception):
        body._stop(ending)
    try:
        # First, so that what the application holds (a database connection) is not held for as long
        # as the client uploads.
        close_iterable(result)
    except Exception:
        body.discard(is_answered=is_answered)
        raise
    except BaseException as exc:
        body._stop(exc)
        raise
    else:
        body.discard(is_answered=is_answered)
    finally:
        body._forget_kept()


def moments_for(server: Server, framing: Framing, protocol: str, environ: Environ) -> Moments:
    """Return when the body of a request may be discarded."""
    moments = server.moments_for(framing)
    # As nearly every request: asked first, as it is cheaper.
    is_multiplexed = protocol != "HTTP/1.1" and protocol[5:6] in ("2", "3")
    if is_multiplexed or reads_no_further(environ):
        return _body_first(moments)
    return moments


@functools.cache
def _body_first(moments: Moments) -> Moments:
    """Return the same, but that the body goes before the end of the answer.

    Over HTTP/2 clients lose an answer that is followed by a reset of its stream, as servers send
    it for a body that is left (httpx, curl 7.88). Without that reset curl hears no more of the
    server once it has what Content-Length says.
    """
    return dataclasses.replace(moments, whole=Moment.FIRST, pieces=Moment.FIRST)


def content_length(headers: Headers) -> int | None:
    """Return the Content-Length of an answer; ``None`` when it has none that counts.

    Raises:
        AttributeError, TypeError, ValueError: The headers are not what PEP 3333 asks for.
    """
    if not isinstance(headers, list):
        raise TypeError  # some servers take an iterator, and what is read of it would be gone
    for name, value in headers:
        # By its length first, which is cheaper: every name of an early answer is looked at.
        if len(name) == _NAME_CHARACTERS and name.lower() == "content-length":
            return int(value) if value.isascii() and value.isdigit() else None
    return None


def has_coding(headers: Headers) -> bool:
    """Tell whether an answer has a Transfer-Encoding."""
    return "transfer-encoding" in [name.lower() for name, _ in headers]


def is_file(result: Iterable[bytes], file_wrapper: Any) -> bool:
    """Tell whether the server's ``wsgi.file_wrapper`` made an iterable, which it then must get."""
    if inspect.isclass(file_wrapper):
        return isinstance(result, file_wrapper)
    # Or it is a function that returns the file itself.
    return file_wrapper is not None and hasattr(result, "read")
