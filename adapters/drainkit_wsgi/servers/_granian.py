"""granian: how many threads it has stands in the frame of its worker's function alone."""

from __future__ import annotations

from drainkit import main_thread_local

from ._connection import Connection


class GranianConnection(Connection):
    """A connection of granian's WSGI interface, which cannot be reached."""

    __slots__ = ()

    reads_to_end = True  # src/wsgi/types.rs, WSGIBody.fill_buffer

    @property
    def threads(self) -> float | None:
        """What ``--blocking-threads`` says; ``None`` where the worker is not granian's own."""
        # granian/server/common.py: its environ always has wsgi.multithread. granian/server/mp.py:
        # this function waits in the worker's main thread until the worker ends.
        threads = main_thread_local("granian", "_spawn_wsgi_", "blocking_threads")
        return threads if isinstance(threads, int) else None
