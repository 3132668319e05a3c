"""Paste: the environ has its pool of threads, and the stream its connection.

It reads nothing away, so a connection that it keeps must be closed behind a body that is left.
"""

from __future__ import annotations

from ._connection import Connection, descriptor_of, handler_of


class PasteConnection(Connection):
    """A connection of Paste (paste/httpserver.py, LimitedLengthFile)."""

    __slots__ = ()

    is_out_of_reach = False

    @property
    def descriptor(self) -> int | None:
        """That of the stream's file."""
        return descriptor_of(getattr(self._stream, "file", None))

    @property
    def threads(self) -> float | None:
        """The size of its pool; without one it has a thread for each connection."""
        # paste/httpserver.py, wsgi_setup
        pool = self._environ.get("paste.httpserver.thread_pool")
        threads = getattr(pool, "nworkers", None)
        return threads if isinstance(threads, int) else None

    def refuse_reuse(self) -> None:
        """Close the connection, or Paste takes what is left of the body for requests."""
        handler = handler_of(self._start_response)  # paste/httpserver.py, WSGIHandler
        if handler is not None:
            handler.close_connection = True

    def leave_body(self) -> None:
        """Close what requests are read from, where the handler is out of reach."""
        file = getattr(self._stream, "file", None)
        if file is not None and handler_of(self._start_response) is None:
            file.close()
