"""The connection of one request, as far as its server lets it be reached."""

from __future__ import annotations

import array
import contextlib
import math
import re
import select
import selectors
import sys
import time
from collections.abc import Callable
from typing import Any, ClassVar

from drainkit_wsgi._types import Environ

if sys.platform != "win32":  # where no connection is reached, and nothing is asked of one
    import fcntl
    import termios


def descriptor_of(thing: Any) -> int | None:
    """Return the descriptor of a socket or stream; ``None`` if it has none (any more)."""
    # On Windows a socket's number is no descriptor and cannot be duplicated as one.
    if thing is None or sys.platform == "win32":
        return None
    try:
        descriptor = thing.fileno()
    except (AttributeError, OSError, ValueError):
        return None
    return descriptor if isinstance(descriptor, int) and descriptor >= 0 else None


def handler_of(start_response: Any) -> Any:
    """Return the handler of a request, whose ``close_connection`` may be set.

    Args:
        start_response: The server's, a method of the handler; ``None`` where the adapter does not
            have it.

    Returns:
        ``None`` where there is none, or a middleware in front has a ``start_response`` of its own.
    """
    handler = getattr(start_response, "__self__", None)
    return handler if hasattr(handler, "close_connection") else None


def have_come(nbytes: int, buffered_bytes: int, environ: Environ, connection: Any) -> bool:
    """Tell whether so many bytes of a body have surely come.

    Args:
        nbytes: How many.
        buffered_bytes: How many the server has in buffers of its own.
        environ: The WSGI environ.
        connection: The socket, or a stream that has its ``fileno()``.
    """
    if buffered_bytes >= nbytes:
        return True
    if environ.get("wsgi.url_scheme") == "https":
        return False  # the connection has records, of which the last may not be whole
    descriptor = descriptor_of(connection)
    if descriptor is None:
        return False
    with contextlib.suppress(OSError):
        buffered_bytes += waiting_bytes(descriptor)
    return buffered_bytes >= nbytes


# The size of a plain chunk, whose line has no extension. It is small where all of it has come.
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,5})\r\n")


def chunked_bytes(raw: bytes) -> int | None:
    """Return how much content a chunked body has that is here from its beginning.

    Args:
        raw: The body as it came; behind it there may be more.

    Returns:
        ``None`` where its end is missing, and where a chunk has an extension or the end a trailer.
    """
    begin = nbytes = 0
    # RFC 9112 section 7.1. Whatever is not as plain as here is the server's to read.
    while (size := _CHUNK_SIZE.match(raw, begin)) is not None:
        chunk_bytes = int(size[1], 16)
        begin = size.end() + chunk_bytes + 2
        if raw[begin - 2 : begin] != b"\r\n":
            return None
        if not chunk_bytes:
            return nbytes
        nbytes += chunk_bytes
    return None


def waiting_bytes(descriptor: int) -> int:
    """Return how many bytes a connection has received that nobody has read.

    Raises:
        OSError: The kernel does not tell it of this descriptor.
    """
    waiting = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
    return waiting[0]


class Connection:
    """A connection that cannot be reached, and the base of those that can."""

    __slots__ = ("_environ", "_start_response", "_stream")

    smallest_read_bytes: ClassVar[int] = 1
    """What the server gathers before a read returns, however little it asks for."""

    def __init__(self, environ: Environ, stream: Any, start_response: Any) -> None:
        """Take note of what a server gives to its applications.

        Args:
            environ: The WSGI environ.
            stream: The server's own ``wsgi.input``.
            start_response: The server's; ``None`` where the adapter does not have it.
        """
        self._environ = environ
        self._stream = stream
        self._start_response = start_response

    is_out_of_reach: ClassVar[bool] = True
    """Whether no descriptor is ever to be had."""

    @staticmethod
    def has_come(environ: Environ, stream: Any, nbytes: int) -> bool | None:
        """Tell whether so much of a body has surely come: then a read of it waits for nobody.

        ``None`` where the server's buffers are not known: the connection may be silent although
        the body has come. No object is made for it: it is asked for each early answer to a small
        body.

        Args:
            environ: The WSGI environ.
            stream: The server's own ``wsgi.input``.
            nbytes: What is left of the body, whose length is known.
        """
        return None

    @staticmethod
    def chunks_come(stream: Any, most_bytes: int) -> int | None:
        """Tell how much content an untouched chunked body has that has come with its end.

        ``None`` where that cannot be known, or not yet.

        Args:
            stream: The server's own ``wsgi.input``.
            most_bytes: It is not looked at where the server has more than this.
        """
        return None

    reads_to_end: ClassVar[bool] = False
    """Whether a read that gives less than it was asked for has come to the end of the body."""

    @property
    def descriptor(self) -> int | None:
        """The file descriptor; ``None`` when there is none, and no deadline can end a read."""
        return None

    @property
    def socket(self) -> Any:
        """The socket object; ``None`` when it cannot be reached."""
        return None

    @property
    def is_tls(self) -> bool:
        """Whether it carries TLS records."""
        return bool(self._environ.get("wsgi.url_scheme") == "https")

    @property
    def buffered_bytes(self) -> int | None:
        """How much of what has come the server has in buffers of its own.

        ``None`` where that cannot be known.
        """
        return None

    @property
    def threads(self) -> float | None:
        """How many threads the server has; ``math.inf`` with one for each connection.

        ``None`` where that cannot be known.
        """
        return None

    @property
    def most_requests(self) -> float:
        """How many requests the server serves at once, where that is not a matter of threads."""
        return math.inf

    @property
    def request_seconds(self) -> float:
        """How long one request may take before the server ends its whole worker for it."""
        return math.inf

    @property
    def sleep(self) -> Callable[[float], None]:
        """What waits for some seconds, and lets others run meanwhile."""
        return time.sleep

    @staticmethod
    def is_readable(descriptor: int, wait_seconds: float) -> bool:
        """Tell whether something has come, or the end of the stream.

        Args:
            descriptor: That of the connection.
            wait_seconds: How long to wait for it, while others run; ``0`` only looks.
        """
        if hasattr(select, "poll"):  # as nearly everywhere; it needs no descriptor of its own
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(wait_seconds * 1000))
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            return bool(selector.select(wait_seconds))

    def refuse_reuse(self) -> None:
        """Tell the server to close the connection behind this answer, if it can be told.

        The application may still read the body.
        """

    def leave_body(self) -> None:
        """Tell the server not to read on in a body that the application will read no more.

        Not needed where `refuse_reuse` says so much.
        """

    @staticmethod
    def transfer_encoding(environ: Environ) -> str | None:
        """Return the Transfer-Encoding in which the server has the body.

        It is not the client's where something in front has already decoded the body.
        """
        return environ.get("HTTP_TRANSFER_ENCODING")

    @staticmethod
    def chunked_stream(stream: Any) -> Any:
        """Return what reads a chunked body where ``wsgi.input`` cannot; ``None`` if nothing does.

        Args:
            stream: The server's own ``wsgi.input``.
        """
        return None


class StreamConnection(Connection):
    """A connection that is reached through ``wsgi.input`` itself."""

    __slots__ = ()

    is_out_of_reach = False

    @property
    def descriptor(self) -> int | None:
        """That of the stream."""
        return descriptor_of(self._stream)


class FileConnection(Connection):
    """A connection that is reached through the file from which ``wsgi.input`` reads."""

    __slots__ = ()

    is_out_of_reach = False

    @property
    def descriptor(self) -> int | None:
        """That of the stream's file."""
        return descriptor_of(getattr(self._stream, "rfile", None))


class SocketConnection(Connection):
    """A connection whose socket stands in the environ."""

    __slots__ = ()

    is_out_of_reach = False

    key: ClassVar[str]

    @property
    def descriptor(self) -> int | None:
        """That of the socket."""
        return descriptor_of(self.socket)

    @property
    def socket(self) -> Any:
        """The socket in the environ."""
        return self._environ.get(self.key)
