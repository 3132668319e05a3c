"""cheroot: what it would read on must be forbidden, through the request behind start_response."""

from __future__ import annotations

from typing import Any

from ._connection import FileConnection


class CherootConnection(FileConnection):
    """A connection of cheroot (cheroot/server.py, KnownLengthRFile and ChunkedRFile)."""

    __slots__ = ()

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
