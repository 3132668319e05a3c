"""One request with a body: what an adapter that knows its application's answers needs."""

from __future__ import annotations

from collections.abc import Iterable

from drainkit import CONTROL_KEY, DrainPolicy, OnReport

from ._response import Response, close_iterable, status_code
from ._types import Environ, ExcInfo, Headers, StartResponse, Write
from ._upload import Upload
from .servers import server_of


class Exchange:
    """One request with a body, from the moment its headers are known to the end of its drain.

    `DrainMiddleware` uses it around an application, with `starter` and `respond`. An adapter that
    stands inside an application, and sends the start of the answer by itself, opens it when the
    request begins, sets `status` when the application has answered, hands the answer to `respond`
    or `respond_whole`, and calls `discard` when it has gone out.
    """

    __slots__ = ("_response", "_start_response", "_upload")

    def __init__(self, upload: Upload) -> None:
        """Begin; use `open`."""
        self._upload = upload
        self._response: Response | None = None
        self._start_response: StartResponse | None = None

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
        """Whether nothing is left to do: the body has been read, or its drain has ended."""
        return self._upload.drain.settled

    @property
    def status(self) -> int | None:
        """The answer's status code; ``None`` until it is known."""
        return self._upload.drain.status

    @status.setter
    def status(self, status: int | None) -> None:
        self._upload.drain.status = status

    def starter(self, start_response: StartResponse) -> StartResponse:
        """Return the ``start_response`` for the application.

        Args:
            start_response: The server's.
        """
        self._start_response = self._upload.start_response = start_response
        return self._start

    def _start(self, status: str, headers: Headers, exc_info: ExcInfo | None = None, /) -> Write:
        response = self._response
        if response is None:
            drain = self._upload.drain
            if drain.finished:
                # The ordinary request: nobody will ask how long the answer is.
                drain.status = status_code(status)
                assert self._start_response is not None  # starter() was called
                if exc_info is None:
                    return self._start_response(status, headers)
                return self._start_response(status, headers, exc_info)
            response = self._response = Response(self._upload, self._start_response)
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
            if self._upload.drain.finished:
                return result  # the ordinary request: nothing is left to do
            response = self._begin(length)
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
        return None if self.settled else self._begin(length).end_elsewhere(nbytes)

    def discard(self, *, is_answered: bool = False) -> None:
        """Read the body away, within the policy's bounds, and report. Does nothing twice.

        Args:
            is_answered: Whether the whole answer has gone out, as it has when the server calls
                the iterable's ``close()``.

        Raises nothing but what interrupts the whole process (`KeyboardInterrupt` and the like).
        """
        self._upload.discard(is_answered=is_answered)

    def _begin(self, length: int | None) -> Response:
        """Begin an answer of which start() was not told, or not yet."""
        self._response = response = Response(self._upload, self._start_response)
        if self._start_response is None:
            response.start_elsewhere(self.status, length)
        return response


def open_body(
    environ: Environ, policy: DrainPolicy | None, on_report: OnReport | None
) -> Exchange | None:
    """Do what `Exchange.open` does, for a request that is known to have a body (`has_body`)."""
    if CONTROL_KEY in environ or "wsgi.input" not in environ:
        return None
    server = server_of(environ)
    if server.buffers_body:
        return None
    return Exchange(Upload(environ, policy, on_report, server))


def has_body(environ: Environ) -> bool:
    """Tell from the headers whether a request may have a body."""
    length = environ.get("CONTENT_LENGTH")
    if (length and length != "0") or "HTTP_TRANSFER_ENCODING" in environ:
        return True
    # HTTP/2 and HTTP/3 need no header field for a body (RFC 9113 section 8.1). Every request
    # without one comes here, and nearly all of them speak HTTP/1.1: asked first, as it is cheaper.
    protocol: str = environ.get("SERVER_PROTOCOL", "")
    return protocol != "HTTP/1.1" and protocol[:6] in ("HTTP/2", "HTTP/3")
