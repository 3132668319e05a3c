"""gevent.pywsgi: what it would read on must be forbidden, whatever becomes of the connection."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from ._connection import FileConnection, handler_of


class GeventConnection(FileConnection):
    """A connection of gevent.pywsgi (gevent/pywsgi.py, Input)."""

    __slots__ = ()

    # Where nobody has patched the process, the standard library's ways to wait stop everybody: all
    # requests are greenlets of one thread.

    @property
    def sleep(self) -> Callable[[float], None]:
        """What gevent has for it."""
        sleep: Callable[[float], None] = getattr(_gevent(), "sleep", time.sleep)
        return sleep

    @staticmethod
    def is_readable(descriptor: int, wait_seconds: float) -> bool:
        """Tell it by gevent's loop, if it is to wait."""
        wait_read = getattr(getattr(_gevent(), "socket", None), "wait_read", None)
        if wait_read is None or not wait_seconds:
            return FileConnection.is_readable(descriptor, wait_seconds)
        try:
            wait_read(descriptor, wait_seconds, TimeoutError())
        except TimeoutError:
            return False
        return True

    def refuse_reuse(self) -> None:
        """Close the connection."""
        handler = handler_of(self._start_response)  # gevent/pywsgi.py, WSGIHandler
        if handler is not None:
            handler.close_connection = True

    def leave_body(self) -> None:
        """Let the body end where it was read to.

        Behind close() the server would read the rest of it away by itself, without a bound,
        whatever becomes of the connection.
        """
        stream = self._stream
        if hasattr(stream, "chunked_input") and hasattr(stream, "position"):
            stream.chunked_input = False
            stream.content_length = stream.position
            if handler_of(self._start_response) is None:
                # Or the rest of the body would be taken for requests. gevent/pywsgi.py,
                # handle_one_request: behind a file that is closed there is none.
                stream.rfile.close()


def _gevent() -> Any:
    # It is there where it made the connection; somebody may only have named a class like its own.
    return sys.modules.get("gevent")
