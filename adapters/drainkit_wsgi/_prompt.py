"""The answer to a request whose body is small, as long as nothing asks for a drain.

It does what a `Response` does, in the same order, but makes nothing that only a drain needs.
Whatever it does not know it leaves to a `Response`, which goes on where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from drainkit import RESPONSE_BUFFER_BYTES, BodyKind, Framing, Moment, lacks_length

from ._response import (
    Closing,
    Response,
    close_and_discard,
    content_length,
    has_coding,
    is_file,
    moments_for,
    status_code,
)
from ._types import ExcInfo, Headers, StartResponse, Write
from ._upload import Facts
from ._whole import Whole, whole_length

_BY_LENGTH = Framing(BodyKind.LENGTH)

# Every early answer costs a look-up of each, and in an enum that is slow before Python 3.12.
_BEHIND = Moment.BEHIND
_FIRST = Moment.FIRST


class Owner(Closing, Protocol):
    """The exchange that an answer belongs to: as `Exchange` is it."""

    @property
    def settled(self) -> bool: ...

    def _has_come(self) -> bool: ...

    def _take_what_has_come(self) -> bool: ...

    def _make_response(self) -> Response: ...


class PromptResponse(Iterator[bytes]):
    """The answer on its way to the server, and the iterable that the server gets.

    Attributes:
        status: Its status line.
        length: Its Content-Length; ``None`` when there is none.
        held: Its headers, as long as its start has not been sent; ``None`` when it has.
        server_write: The server's ``write``; ``None`` before that.
        passed_bytes: Bytes of its content that have been sent.
        result: The application's iterable.
        items: The iterator of that, once it has been asked for.
    """

    __slots__ = (
        "_facts",
        "_is_closed",
        "_owner",
        "_response",
        "_start_response",
        "held",
        "items",
        "length",
        "passed_bytes",
        "result",
        "server_write",
        "status",
    )

    def __init__(self, owner: Owner, facts: Facts, start_response: StartResponse) -> None:
        """Begin before the answer.

        Args:
            owner: The exchange.
            facts: What is known of the request, whose body has a length and is small.
            start_response: The server's.
        """
        self._owner = owner
        self._facts = facts
        self._start_response = start_response
        self._response: Response | None = None
        self._is_closed = False
        self.status: str | None = None
        self.length: int | None = None
        self.held: Headers | None = None
        self.server_write: Write | None = None
        self.passed_bytes = 0
        self.result: Iterable[bytes] = ()
        self.items: Iterator[bytes] | None = None

    def start(self, status: str, headers: Headers, exc_info: ExcInfo | None = None) -> Write:
        """Take the answer's start: PEP 3333's ``start_response``."""
        if self.status is None and exc_info is None:
            try:
                self.length = content_length(headers)
            except (AttributeError, TypeError, ValueError):
                return self._grow().start(status, headers)
            self.status = status
            if self.length is None:
                # As a Response does: until the length of a whole answer is known.
                self.held = headers
            else:
                self.server_write = self._start_response(status, headers)
            return self.write
        if not self._is_settled:
            return self._grow().start(status, headers, exc_info)
        # It is the server's to take it in place of the first, or to refuse it.
        if exc_info is None:
            self._release(None)
            return self._start_response(status, headers)
        self.held = None
        self.server_write = write = self._start_response(status, headers, exc_info)
        return write

    def write(self, data: bytes) -> None:
        """Send bytes of the answer at once: PEP 3333's ``write``."""
        if not self._is_settled:
            self._grow().write(data)
            return
        self._release(None)
        assert self.server_write is not None  # start() returned this method
        self.server_write(data)

    def respond(self, result: Iterable[bytes]) -> Iterable[bytes]:
        """Take the application's iterable, and return the one that the server is to get."""
        if self._response is not None:
            return self._response.respond(result)
        owner = self._owner
        self.result = result
        nbytes = whole_length(result)
        if owner.settled:
            # All has been read meanwhile: nothing is left to do.
            self._release(nbytes)
            return result
        moment = self._moment(result, nbytes)
        # Small is what fits between two sockets, also if its client reads nothing yet. One that has
        # sent all of its body reads, however large the answer is.
        length = self.length if nbytes is None else nbytes
        if moment is _BEHIND and (
            (length is not None and length <= RESPONSE_BUFFER_BYTES) or owner._has_come()
        ):
            if self.held is not None:
                self._release(nbytes)
            if nbytes is None:
                return self
            self.passed_bytes = nbytes
            return Whole(result, self.close)
        if moment is _FIRST:
            self._release(nbytes)
            if owner._take_what_has_come():
                return result
        return self._grow().respond(result)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._response is not None:
            return next(self._response)
        try:
            if self.items is None:
                self.items = iter(self.result)
            item = next(self.items)
        except StopIteration:
            raise
        except Exception:
            self._owner.discard(is_answered=False)
            raise
        except BaseException as exc:
            self._owner._stop(exc)
            raise
        if isinstance(item, bytes):  # or the server is to say so
            self.passed_bytes += len(item)
        return item

    def close(self) -> None:
        """Close the application's iterable, once, and discard the body behind the answer."""
        if self._response is not None:
            self._response.close()
        elif not self._is_closed:
            self._is_closed = True
            is_complete = self.length is not None and self.passed_bytes >= self.length
            is_answered = is_complete or not self._facts[2].ends_behind_close
            close_and_discard(self.result, self._owner, is_answered=is_answered)

    def _moment(self, result: Iterable[bytes], nbytes: int | None) -> Moment | None:
        """Return when the body is discarded; ``None`` if it may have to be kept for late reads.

        Args:
            result: The application's iterable.
            nbytes: How long the whole answer is, where that is known: then the application has
                come to its end.
        """
        environ, _, server, framed, _, _, request = self._facts
        if nbytes is None and is_file(result, environ.get("wsgi.file_wrapper")):
            return _FIRST  # the server will send it, and tell nobody when it has
        moments = moments_for(
            server, _BY_LENGTH if isinstance(framed, int) else framed, request[0], environ
        )
        moment = moments.always
        if moment is None:
            assert self.status is not None  # start() was called
            status = status_code(self.status)
            # In pieces it is not known whether the first will be the last.
            moment = (
                moments.of_any_piece(status)
                if nbytes is None
                else moments.of_last_piece(status, nbytes, 0)
            )
        return moment if moment is _BEHIND or nbytes is not None else None

    def _release(self, whole_length: int | None) -> None:
        """Send a start that is held, with a Content-Length if the length of the whole is known."""
        headers = self.held
        if headers is None:
            return
        assert self.status is not None  # or nothing would be held
        self.held = None
        if whole_length is not None and lacks_length(
            status_code(self.status), method=self._facts[6][1], has_coding=has_coding(headers)
        ):
            self.length = whole_length
            headers = [*headers, ("Content-Length", str(whole_length))]
        self.server_write = self._start_response(self.status, headers)

    @property
    def _is_settled(self) -> bool:
        """Whether the application has read the rest, so that nothing is left to do."""
        return self._response is None and self._owner.settled

    def _grow(self) -> Response:
        """Return the `Response` that does everything, from where this one is."""
        if self._response is None:
            self._response = self._owner._make_response()
            if self.status is not None:
                self._response.take_over(self)
        return self._response
