"""gunicorn: its socket stands in the environ, and what it would read on must be forbidden."""

from __future__ import annotations

from typing import Any

from drainkit_wsgi._types import Environ

from ._connection import SocketConnection

# gunicorn/http/unreader.py, SocketUnreader: it receives up to 1 MiB, and each smaller read copies
# what is left of that. So both are this large: as quick as larger ones, and each thread holds less.
LARGEST_RECEIVE_BYTES = 256 * 1024


class GunicornConnection(SocketConnection):
    """A connection of gunicorn, with every worker class but the ASGI one."""

    __slots__ = ()

    def __init__(self, environ: Environ, stream: Any, start_response: Any) -> None:
        """Take note of what gunicorn gives to its applications, and let it receive less at once."""
        super().__init__(environ, stream, start_response)
        unreader: Any = getattr(getattr(stream, "reader", None), "unreader", None)
        if hasattr(unreader, "max_body_chunk"):
            unreader.max_body_chunk = LARGEST_RECEIVE_BYTES

    key = "gunicorn.socket"  # gunicorn/http/wsgi.py, default_environ
    smallest_read_bytes = 1024  # gunicorn/http/body.py, Body.read

    @property
    def buffered_bytes(self) -> int | None:
        """What the body's two buffers hold (gunicorn/http/body.py and unreader.py)."""
        try:
            of_body: int = self._stream.buf.getbuffer().nbytes
            of_connection: int = self._stream.reader.unreader.buf.getbuffer().nbytes
        except AttributeError:
            return None
        return of_body + of_connection

    def refuse_reuse(self) -> None:
        """Say that the connection must close, and that the body failed."""
        # gunicorn/http/parser.py, finish_body: to its own discarding, a read side that has been
        # shut is the end of the body. But Linux still delivers what comes then, and gunicorn would
        # take the rest of the body for requests. gunicorn/http/wsgi.py: start_response is a method
        # of the Response; where a middleware stands in front of it, the body can say that it
        # failed.
        response = getattr(self._start_response, "__self__", None)
        force_close = getattr(response, "force_close", None)
        if force_close is not None:
            force_close()
        if hasattr(self._stream, "failed"):
            self._stream.failed = True
