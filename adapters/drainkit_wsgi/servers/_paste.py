"""Paste: the environ has its pool of threads, and the stream its connection."""

from __future__ import annotations

from ._connection import Connection, descriptor_of


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
