"""gunicorn: its socket stands in the environ, and what it would read on must be forbidden."""

from __future__ import annotations

import math
from typing import Any

from drainkit_wsgi._types import Environ

from ._connection import SocketConnection, chunked_bytes, have_come

# gunicorn/config.py, Timeout and WorkerConnections
_DEFAULT_TIMEOUT_SECONDS = 30
_DEFAULT_CONNECTIONS = 1000

# gunicorn/http/unreader.py, SocketUnreader: it receives up to 1 MiB, and each smaller read copies
# what is left of that. So both are this large. Its two buffers and what it hands over are five
# times as much, and glibc keeps that in an arena of each thread that has discarded something. Four
# drains at once in a new gthread worker: with 256 KiB it grew by 5 to 8 MiB, with this by 3.
LARGEST_RECEIVE_BYTES = 128 * 1024


def _buffered_bytes(stream: Any) -> int | None:
    try:
        # Both are written to at their end only.
        nbytes: int = stream.buf.tell() + stream.reader.unreader.buf.tell()
    except AttributeError:
        return None
    return nbytes


class GunicornConnection(SocketConnection):
    """A connection of gunicorn, with every worker class but the ASGI one."""

    __slots__ = ()

    def __init__(self, environ: Environ, stream: Any, start_response: Any) -> None:
        """Take note of what gunicorn gives to its applications, and let it receive less at once."""
        super().__init__(environ, stream, start_response)
        reader: Any = getattr(stream, "reader", None)
        # gunicorn/http/body.py: the reader of chunks has it in its request.
        unreader: Any = getattr(getattr(reader, "req", reader), "unreader", None)
        if hasattr(unreader, "max_body_chunk"):
            unreader.max_body_chunk = LARGEST_RECEIVE_BYTES

    key = "gunicorn.socket"  # gunicorn/http/wsgi.py, default_environ
    smallest_read_bytes = 1024  # gunicorn/http/body.py, Body.read

    @property
    def buffered_bytes(self) -> int | None:
        """What the body's two buffers hold (gunicorn/http/body.py and unreader.py)."""
        return _buffered_bytes(self._stream)

    @staticmethod
    def has_come(environ: Environ, stream: Any, nbytes: int) -> bool | None:
        """Tell it by these buffers, and by what the socket has."""
        buffered_bytes = _buffered_bytes(stream)
        if buffered_bytes is None:
            return None
        return have_come(nbytes, buffered_bytes, environ, environ.get(GunicornConnection.key))

    @staticmethod
    def chunks_come(stream: Any, most_bytes: int) -> int | None:
        """Tell it by the buffer of the connection."""
        try:
            buffer = stream.reader.req.unreader.buf  # gunicorn/http/body.py, ChunkedReader
            return chunked_bytes(buffer.getvalue()) if buffer.tell() <= most_bytes else None
        except AttributeError:
            return None

    @property
    def threads(self) -> float | None:
        """What ``--threads`` says."""
        threads = getattr(self._configuration, "threads", None)
        return threads if isinstance(threads, int) else None

    @property
    def most_requests(self) -> float:
        """What ``--worker-connections`` says: so many greenlets has its pool."""
        # gunicorn/workers/ggevent.py, run. The others have threads, or one request at once.
        most = getattr(self._configuration, "worker_connections", _DEFAULT_CONNECTIONS)
        return most if isinstance(most, int) else math.inf

    @property
    def request_seconds(self) -> float:
        """What ``--timeout`` says: a sync worker tells the arbiter nothing within a request."""
        if self._environ.get("wsgi.multithread"):
            return math.inf  # of every other worker another thread or greenlet tells it
        seconds = getattr(self._configuration, "timeout", _DEFAULT_TIMEOUT_SECONDS)
        return seconds or math.inf

    @property
    def _response(self) -> Any:
        # gunicorn/http/wsgi.py: start_response is a method of the Response, unless a middleware
        # stands in front of it.
        return getattr(self._start_response, "__self__", None)

    @property
    def _configuration(self) -> Any:
        return getattr(self._response, "cfg", None)

    def refuse_reuse(self) -> None:
        """Say that the connection must close, and that the body failed."""
        # gunicorn/http/parser.py, finish_body: to its own discarding, a read side that has been
        # shut is the end of the body. But Linux still delivers what comes then, and gunicorn would
        # take the rest of the body for requests. Where the Response is out of reach, the body can
        # say that it failed.
        force_close = getattr(self._response, "force_close", None)
        if force_close is not None:
            force_close()
        if hasattr(self._stream, "failed"):
            self._stream.failed = True
