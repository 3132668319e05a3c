"""One request with a body: what an adapter that knows its application's answers needs."""

from __future__ import annotations

import operator
import sys
import time
from collections.abc import Iterable
from typing import Any

from drainkit import (
    CONTROL_KEY,
    METHODS_WITHOUT_CONTENT,
    BodyKind,
    DrainControl,
    DrainPolicy,
    Framing,
    OnReport,
    answered,
    is_heard,
    publish,
)

from ._come import MOST_BYTES, has_come, may_have_come, report_of, take
from ._input import NO_LENGTH, Input
from ._prompt import PromptResponse
from ._response import Response, close_iterable, status_code
from ._types import Environ, ExcInfo, Headers, StartResponse, Write
from ._upload import Facts, Request, Upload, framing_of
from .servers import Server, row_of

# What every Content-Length that can be believed fits (as in the engine's framing()).
_MOST_DIGITS = 19

# At once, as each request with a body needs them all.
_request_of = operator.itemgetter("SERVER_PROTOCOL", "REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO")


class Exchange:
    """One request with a body, from the moment its headers are known to the end of its drain.

    Around an application it needs `starter` and `respond`, as in `DrainMiddleware`. An adapter that
    stands inside an application, and sends the start of the answer by itself, opens it when the
    request begins, sets `status` when the application has answered, hands the answer to `respond`,
    and calls `discard` when it has gone out. So does drainkit_django, which tells `respond_whole`
    of an answer whose bytes Django sends by itself.
    """

    __slots__ = (
        "_facts",
        "_input",
        "_is_taken",
        "_on_report",
        "_response",
        "_start_response",
        "_status",
        "_upload",
    )

    def __init__(
        self,
        facts: Facts,
        source: Input,
        on_report: OnReport | None,
        start_response: StartResponse | None,
    ) -> None:
        """Begin; use `open`."""
        self._facts = facts
        self._input = source
        self._is_taken = False
        self._on_report = on_report
        self._start_response = start_response
        self._status: int | str | None = None
        self._response: Response | PromptResponse | None = None
        self._upload: Upload | None = None

    @classmethod
    def open(
        cls, environ: Environ, policy: DrainPolicy | None, on_report: OnReport | None = None
    ) -> Exchange | None:
        """Begin an exchange if its body could be left on the connection.

        Args:
            environ: The WSGI environ. Its ``wsgi.input`` is replaced by one that counts, and the
                `drainkit.DrainControl` is put into it.
            policy: The bounds; ``None`` leaves bodies alone unless the application says otherwise.
            on_report: Told of the drain.

        Returns:
            The exchange; ``None`` when the request has no body, when the server has read it
            already, or when another drainkit takes care of it.
        """
        return open_body(environ, policy, on_report) if has_body(environ) else None

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do, as the body has been read or its drain has ended."""
        if self._upload is None:
            return self._input.left_bytes <= 0 or self._is_taken
        return self._upload.drain.settled

    @property
    def status(self) -> int | None:
        """The answer's status code; ``None`` until it is known."""
        if self._upload is not None:
            return self._upload.drain.status
        return status_code(self._status) if isinstance(self._status, str) else self._status

    @status.setter
    def status(self, status: int | None) -> None:
        self._status = status
        if self._upload is not None:
            self._upload.drain.status = status

    def starter(self, start_response: StartResponse) -> StartResponse:
        """Return the ``start_response`` for the application.

        Args:
            start_response: The server's.
        """
        self._start_response = start_response
        return self._start

    def _start(self, status: str, headers: Headers, exc_info: ExcInfo | None = None) -> Write:
        """Take the answer's start, once the server's ``start_response`` is known."""
        response = self._response
        if response is None:
            self._status = status
            start_response, left_bytes = self._start_response, self._input.left_bytes
            assert start_response is not None  # starter() was called
            if self._upload is None and (left_bytes <= 0 or self._is_taken):
                # The ordinary request: nobody will ask what the answer is.
                if exc_info is None:
                    return start_response(status, headers)
                return start_response(status, headers, exc_info)
            if not self._facts[2].closes_silently and (
                left_bytes <= MOST_BYTES or may_have_come(self._facts, self._input)
            ):
                # As most early answers: what a drain needs is made only when one turns out to be
                # needed.
                if self._on_report is not None:
                    self._on_report = answered(self._on_report)
                response = PromptResponse(self, self._facts, start_response)
                self._response = response
            else:
                response = self._make_response()
        return response.start(status, headers, exc_info)

    def respond(self, result: Iterable[bytes], *, length: int | None = None) -> Iterable[bytes]:
        """Take the application's iterable; return what the server is to get.

        Args:
            result: The iterable. It is returned as it is when it needs nothing: the body has been
                read, or the server's ``wsgi.file_wrapper`` made it.
            length: The answer's Content-Length, where `starter` is not used; ``None`` when there
                is none.
        """
        response = self._response
        if response is None:
            # The ordinary request comes here, and saves a call.
            if (self._upload is None and self._input.left_bytes <= 0) or self.settled:
                return result  # nothing is left to do
            response = self._make_response()
            if self._start_response is None:
                response.start_elsewhere(self.status, length)
        try:
            return response.respond(result)
        except BaseException:
            # The server (its start_response) raised, and will never see what it would close.
            close_iterable(result)
            raise

    def respond_whole(self, nbytes: int, *, length: int | None = None) -> int | None:
        """Take note of a whole answer that the adapter sends by itself, before it does.

        The body is discarded now where that cannot wait until the answer has gone out.

        Args:
            nbytes: The bytes of its content.
            length: Its Content-Length; ``None`` when there is none.

        Returns:
            The Content-Length to add, with which a client sees the end of the answer before
            anything else shows it; ``None`` when there is nothing to add.
        """
        if self.settled:
            return None
        response = self._make_response()
        response.start_elsewhere(self.status, length)
        return response.end_elsewhere(nbytes)

    def discard(self, *, is_answered: bool = False) -> None:
        """Read the body away, within the policy's bounds, and report. Does nothing twice.

        While the process is being ended (by `SystemExit` and the like) no drain begins.

        Args:
            is_answered: Whether the whole answer has gone out, as it has when the server calls
                the iterable's ``close()``.

        Raises nothing but what interrupts the whole process (`KeyboardInterrupt` and the like).
        """
        upload = self._upload
        if upload is None:
            # As most early answers: nothing of a drain is made where no read can wait.
            if (
                self._is_taken
                or self._input.left_bytes <= 0
                or self._take_what_has_come(may_wait=is_answered)
            ):
                self._response = None  # as below
                return
            upload = self._needed()
        ending = sys.exc_info()[1]
        if ending is not None and not isinstance(ending, Exception):
            upload._stop(ending)
        upload.discard(is_answered=is_answered)
        if is_answered:
            upload._forget_kept()
        if isinstance(self._response, PromptResponse):
            self._response = None  # it has this object: the two would wait for a garbage collector

    def _stop(self, reason: BaseException) -> None:
        """Leave the body alone: the process, its worker or this greenlet is being ended."""
        if not self.settled:
            self._needed()._stop(reason)

    def _forget_kept(self) -> None:
        """Keep nothing any more: the answer is over, and nobody can ask."""
        if self._upload is not None:
            self._upload._forget_kept()

    def _has_come(self) -> bool:
        """Tell whether all that is left of the body has surely come, and is small."""
        return has_come(self._facts, self._input)

    def _take_what_has_come(self, *, may_wait: bool = False) -> bool:
        """Discard what is left of the body if that is small and has come, and report.

        Args:
            may_wait: Whether the answer has gone out, so that this may wait a moment.

        Returns:
            Whether that is done. If not, a drain is needed.
        """
        facts, source = self._facts, self._input
        started = time.monotonic()
        try:
            nbytes = take(facts, source, self._start_response, started, may_wait=may_wait)
        except BaseException as exc:
            self._stop(exc)  # as a drain does
            raise
        if nbytes is None:
            return False
        self._is_taken = True
        if is_heard(self._on_report):
            now = time.monotonic()
            report = report_of(facts, nbytes, now - started, self.status)
            publish(report, self._on_report, now)
        return True

    def _make_response(self) -> Response:
        """Begin an answer with all that a drain may need."""
        self._response = response = Response(self._needed(), self._start_response)
        return response

    def _needed(self) -> Upload:
        """Return the upload, which is made when a drain is needed for the first time."""
        upload = self._upload
        if upload is None:
            upload = Upload(self._facts, self._input, self._start_response, self._on_report)
            if self._status is not None:
                upload.drain.status = self.status
            self._upload = upload
        return upload


def open_body(
    environ: Environ,
    policy: DrainPolicy | None,
    on_report: OnReport | None,
    start_response: StartResponse | None = None,
) -> Exchange | None:
    """Do what `Exchange.open` does, for a request that is known to have a body (`has_body`).

    With the server's *start_response*, the application's is `Exchange._start`.
    """
    get = environ.get
    stream, is_read_elsewhere = get("wsgi.input"), False
    if stream is None or CONTROL_KEY in environ:
        return None
    server = row_of((type(stream), get("SERVER_SOFTWARE", "")))
    if server.buffers_body:
        environ[CONTROL_KEY] = DrainControl(policy)  # an application may use it on every server
        return None
    length = get("CONTENT_LENGTH")
    framed: int | Framing
    # As nearly every request with a body. Here, because a call would cost each of them.
    if (
        type(length) is str
        and length.isdigit()
        and length.isascii()
        and len(length) <= _MOST_DIGITS
        and "HTTP_TRANSFER_ENCODING" not in environ
        and "HTTP_EXPECT" not in environ
    ):
        framed = left_bytes = int(length)
    else:
        framed, left_bytes, stream, is_read_elsewhere = _looked_at_closely(environ, server, stream)
    source = Input(stream, policy, left_bytes)
    environ[CONTROL_KEY] = source
    if not is_read_elsewhere:
        environ["wsgi.input"] = source
    try:
        request: Request = _request_of(environ)
    except KeyError:  # PEP 3333: where one is empty it may be missing
        request = (
            get("SERVER_PROTOCOL", ""),
            get("REQUEST_METHOD", ""),
            get("SCRIPT_NAME", ""),
            get("PATH_INFO", ""),
        )
    facts = (environ, stream, server, framed, is_read_elsewhere, time.monotonic(), request)
    return Exchange(facts, source, on_report, start_response)


def _looked_at_closely(
    environ: Environ, server: Server, stream: Any
) -> tuple[Framing, int, Any, bool]:
    """Look at a body that is not framed by a plain Content-Length alone.

    Returns:
        The framing; the bytes for `Input`; the stream that has the body, and whether the
        application reads it by the server's own means, and not from ``wsgi.input``.
    """
    framed, is_read_elsewhere = framing_of(environ, server), False
    if framed.kind is BodyKind.NO_BODY:
        return framed, 0, stream, False
    if framed.kind is BodyKind.CHUNKED and not environ.get("wsgi.input_terminated"):
        chunks = server.connection.chunked_stream(stream)
        if chunks is None:
            # Nobody tells where the body ends when wsgi.input is read.
            problem = "the server does not end chunked bodies"
            framed = Framing(BodyKind.UNKNOWN, None, framed.expects_continue, problem)
        else:
            stream, is_read_elsewhere = chunks, True
    left_bytes = NO_LENGTH if framed.length is None else framed.length
    return framed, left_bytes, stream, is_read_elsewhere


def has_body(environ: Environ) -> bool:
    """Tell from the headers whether a request may have a body."""
    length = environ.get("CONTENT_LENGTH")
    if (length and length != "0") or "HTTP_TRANSFER_ENCODING" in environ:
        return True
    # HTTP/2 and HTTP/3 need no header field for a body (RFC 9113 section 8.1). Every request
    # without one comes here, and nearly all of them speak HTTP/1.1: asked first, as it is cheaper.
    protocol: str = environ.get("SERVER_PROTOCOL", "")
    if protocol == "HTTP/1.1" or protocol[:6] not in ("HTTP/2", "HTTP/3"):
        return False
    # Nearly none of them has one, and a look would wait for it. A sender of content should generate
    # a Content-Type (RFC 9110 section 8.3).
    return environ.get("REQUEST_METHOD") not in METHODS_WITHOUT_CONTENT or bool(
        environ.get("CONTENT_TYPE")
    )
