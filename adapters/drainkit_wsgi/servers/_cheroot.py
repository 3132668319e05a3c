"""cheroot: what it would read on must be forbidden, through the request behind start_response."""

from __future__ import annotations

from typing import Any

from drainkit_wsgi._types import Environ

from ._connection import FileConnection, chunked_bytes, have_come


class CherootConnection(FileConnection):
    """A connection of cheroot (cheroot/server.py, KnownLengthRFile and ChunkedRFile)."""

    __slots__ = ()

    @staticmethod
    def has_come(environ: Environ, stream: Any, nbytes: int) -> bool | None:
        """Tell it by the buffer of the stream's file, and by what its socket has."""
        file = getattr(stream, "rfile", None)
        try:
            # cheroot/makefile.py: a buffer that has data is shown without a read.
            buffered_bytes = len(file.peek(0)) if file.has_data() else 0  # type: ignore[union-attr]
        except AttributeError:
            return None
        return have_come(nbytes, buffered_bytes, environ, file)

    @staticmethod
    def chunks_come(stream: Any, most_bytes: int) -> int | None:
        """Tell it by that buffer."""
        file = getattr(stream, "rfile", None)
        try:
            raw = file.peek(0) if file.has_data() else b""  # type: ignore[union-attr]
        except AttributeError:
            return None
        return chunked_bytes(raw) if len(raw) <= most_bytes else None

    @property
    def socket(self) -> Any:
        """The socket of the request's connection."""
        return getattr(getattr(self._request, "conn", None), "socket", None)

    @property
    def threads(self) -> float | None:
        """The size of its pool."""
        # cheroot/wsgi.py, Server.numthreads
        server = getattr(getattr(self._request, "conn", None), "server", None)
        threads = getattr(server, "numthreads", None)
        return threads if isinstance(threads, int) else None

    def refuse_reuse(self) -> None:
        """Close the connection: then the server neither reads on nor takes another request."""
        request = self._request
        if request is not None:
            request.close_connection = True

    @property
    def _request(self) -> Any:
        # cheroot/wsgi.py: start_response is a method of the gateway, which holds the HTTPRequest.
        return getattr(getattr(self._start_response, "__self__", None), "req", None)
