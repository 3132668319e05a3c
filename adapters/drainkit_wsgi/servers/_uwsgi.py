"""uWSGI: a chunked body is read by a function of its own."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

from drainkit_wsgi._types import Environ

from ._connection import StreamConnection


class UwsgiConnection(StreamConnection):
    """A connection of uWSGI (plugins/python/wsgi_handlers.c, uwsgi_Input_fileno)."""

    __slots__ = ()

    @property
    def request_seconds(self) -> float:
        """What ``--harakiri`` says."""
        # plugins/python/python_plugin.c: the options as text, in bytes.
        options = getattr(sys.modules.get("uwsgi"), "opt", {})
        seconds = options.get("harakiri", b"")
        return int(seconds) if seconds.isdigit() and int(seconds) else math.inf

    @staticmethod
    def transfer_encoding(environ: Environ) -> str | None:
        """Return the field only where the server believes it."""
        # uWSGI takes the body to be as long as Content-Length says, if there is one
        # (core/protocol.c). nginx sends one for a body whose chunks it has decoded, and still the
        # client's field.
        return None if environ.get("CONTENT_LENGTH") else environ.get("HTTP_TRANSFER_ENCODING")

    @staticmethod
    def chunked_stream(stream: Any) -> Any:
        """Return what reads the chunks."""
        # The module exists only in a process of uWSGI.
        read_chunk = getattr(sys.modules.get("uwsgi"), "chunked_read", None)
        return None if read_chunk is None else _Chunks(stream, read_chunk)


class _Chunks:
    """A chunked body, whose ``wsgi.input`` is empty (core/chunked.c)."""

    def __init__(self, stream: Any, read_chunk: Callable[[], bytes]) -> None:
        self._read_chunk = read_chunk
        self.fileno = stream.fileno

    def read(self, size: int) -> bytes:
        """Return the next chunk, whatever its size: uWSGI limits it (--chunked-input-limit)."""
        return self._read_chunk()
