"""The ``wsgi.input`` that the application sees: the server's own, counted, and with an end.

Rule 1: it ends where Content-Length says, also where the server's stream does not.
Rule 2: the server's stream is asked as the application asks, and never for more than that: a
client may wait for an answer to what it has sent.
Rule 3: once some of the body has been read ahead, the application gets that first, exactly, and
a `LateReadError` where bytes are missing; never a wrong byte.
Rule 4: two never read the server's stream at once. A thread of the application waits while the
body is read ahead for it; and a body that a thread is reading is left to it.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from typing import Any

from drainkit import Drain, DrainControl, DrainPolicy, Kept

# What is left of a body whose length is not known; it stays far above every length.
NO_LENGTH = 1 << 70
_MOST_BYTES = 1 << 65

# How often a thread looks whether what is read ahead for it has been read.
_LOOK_SECONDS = 0.005

# Other ways to read, which some servers' streams have.
_UNCOUNTED = frozenset(
    {"read1", "readinto", "readinto1", "readall", "peek", "detach", "raw", "rfile", "reader"}
)


class Input(DrainControl):
    """What the application has of a body: ``wsgi.input``, and its hand on the drain.

    Both in one object, which counts and needs no drain: that is made only when one is needed, and
    counts from then on (`take`).

    Attributes:
        left_bytes: What the application has not read, as it is known without a drain: of
            `NO_LENGTH` bytes where the length is not known; ``0`` behind the end.
        is_being_read: Whether the application is reading now; then it is a thread of its own.
    """

    __slots__ = ("_stream", "is_being_read", "left_bytes")

    def __init__(self, stream: Any, policy: DrainPolicy | None, left_bytes: int) -> None:
        """Begin before the application reads.

        Args:
            stream: The server's own ``wsgi.input``.
            policy: The bounds of the middleware.
            left_bytes: The length of the body, or `NO_LENGTH`.
        """
        self._drain = None
        self._policy = policy
        self._stream = stream
        self.left_bytes = left_bytes
        self.is_being_read = False

    # Without a slash: some servers take a keyword, although PEP 3333 knows none.
    def read(self, size: int | None = -1) -> bytes:
        left_bytes = self.left_bytes
        if left_bytes <= 0:
            return b""
        data: bytes
        self.is_being_read = True
        try:
            if size is None or size < 0:
                data = _read_all(self._stream, left_bytes)
                self.left_bytes = 0
                return data
            data = self._stream.read(size if size < left_bytes else left_bytes)
            nbytes = len(data)
            self.left_bytes = left_bytes - nbytes if nbytes or not size else 0
            return data
        finally:
            self.is_being_read = False

    def readline(self, size: int | None = -1) -> bytes:
        left_bytes = self.left_bytes
        if left_bytes <= 0:
            return b""
        if size is None or not 0 <= size < left_bytes:
            size = left_bytes
        self.is_being_read = True
        try:
            line = _read_line(self._stream, size)
            self.left_bytes = left_bytes - len(line) if line or not size else 0
            return line
        finally:
            self.is_being_read = False

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        if hint is None or hint <= 0:
            # At once: the readline() of some servers gives one line, and then none.
            return io.BytesIO(self.read()).readlines()
        left_bytes = hint
        lines: list[bytes] = []
        while left_bytes > 0 and (line := self.readline()):
            lines.append(line)
            left_bytes -= len(line)
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def __getattr__(self, name: str) -> Any:
        if name in _UNCOUNTED:
            raise AttributeError(
                f"{name}() of wsgi.input would not be counted by drainkit; PEP 3333 knows "
                f"read, readline, readlines and iteration"
            )
        # Not in PEP 3333, but some servers' streams have more, and some applications use it.
        return getattr(self._stream, name)

    def take_all(self, asked_bytes: int, nbytes: int | None) -> int | None:
        """Read what is left, and throw it away. Whoever asks for it later gets an error, no end.

        Args:
            asked_bytes: How many bytes to ask for.
            nbytes: How many there are; ``None`` where a read that gives less has come to the end.

        Returns:
            How many came, if that was all. ``None`` if not, and then nothing is lost: the next read
            has what came.
        """
        stream = self._stream
        # First: a thread that begins to read behind the question has the error.
        self._stream = discarded = Discarded(stream)
        if self.is_being_read:
            self._stream = stream
            return None
        try:
            data = stream.read(asked_bytes)
        except Exception as exc:
            # Without a traceback, or that and this frame would hold each other.
            self._stream = PartlyRead(stream, b"", exc.with_traceback(None))
            return None
        except BaseException:
            self._stream = stream
            raise
        discarded.nbytes = taken_bytes = len(data)
        if taken_bytes == nbytes or (nbytes is None and taken_bytes < asked_bytes):
            return taken_bytes
        self._stream = PartlyRead(stream, data, None)
        return None

    def take(self, drain: Drain, whole_bytes: int) -> LateInput:
        """Let a drain count from now on; return what the application reads from then.

        Args:
            drain: The drain.
            whole_bytes: The length of the body, or `NO_LENGTH`.
        """
        self.bind(drain)
        self._stream = late = LateInput(self._stream, drain)
        # Behind that: a read that a thread begins from now on counts for the drain.
        late.is_shared = self.is_being_read
        drain.bytes_read += whole_bytes - self.left_bytes
        self.left_bytes = NO_LENGTH  # the drain knows
        return late


class Discarded:
    """The server's stream once the rest of the body has been thrown away: an error, and no end."""

    __slots__ = ("_stream", "nbytes")

    def __init__(self, stream: Any) -> None:
        """Begin before it is known how many bytes that were."""
        self._stream = stream
        self.nbytes = 0

    def read(self, size: int = -1, /) -> bytes:
        if size == 0:
            return b""
        kept = Kept(0)
        kept.lose()
        kept.lost_bytes = self.nbytes
        raise kept.error()

    readline = read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class PartlyRead:
    """The server's stream behind a read that did not give what it should: that comes first."""

    __slots__ = ("_data", "_error", "_stream")

    def __init__(self, stream: Any, data: bytes, error: Exception | None) -> None:
        """Begin with what the read gave, or with what it raised."""
        self._stream = stream
        self._data = data
        self._error = error

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            rest: bytes = b""
            if self._error is None:
                rest = self._stream.read()  # first: should it raise, what is here stays
            return self._first(len(self._data)) + rest
        return self._first(size) or self._stream.read(size)

    def readline(self, size: int = -1, /) -> bytes:
        end = self._data.find(b"\n") + 1 or len(self._data)
        line = self._first(end if size < 0 else min(end, size))
        if line.endswith(b"\n") or len(line) == size:
            return line
        rest: bytes = self._stream.readline(*([] if size < 0 else [size - len(line)]))
        return line + rest

    def _first(self, size: int) -> bytes:
        error, self._error = self._error, None
        if error is not None:
            raise error
        data, self._data = self._data[:size], self._data[size:]
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class LateInput:
    """The server's stream once there is a drain: it counts, and what is kept comes first.

    Attributes:
        stream: The server's own.
        kept: What is kept for the application; ``None`` as long as nothing was read ahead.
        is_drained: Whether drainkit itself is reading now.
        is_shared: Whether a thread of the application was found reading when drainkit wanted to.
        sleep: What waits for some seconds, and lets others run meanwhile.
    """

    __slots__ = ("_drain", "is_drained", "is_shared", "kept", "sleep", "stream")

    def __init__(self, stream: Any, drain: Drain) -> None:
        """Let a drain count what is read of a stream."""
        self._drain = drain
        self.kept: Kept | None = None
        self.is_drained = False
        self.is_shared = False
        self.sleep: Callable[[float], None] = time.sleep
        self.stream = stream

    def read(self, size: int = -1, /) -> bytes:
        return self._read(None if size < 0 else size, is_line=False)

    def readline(self, size: int = -1, /) -> bytes:
        return self._read(None if size < 0 else size, is_line=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _read(self, size: int | None, *, is_line: bool) -> bytes:
        """Return what is kept, as far as it is asked for, then what the server's stream has."""
        kept = self.kept
        if size == 0:
            return b""
        while self.is_drained:
            if kept is not None and kept.is_answered:
                raise kept.error()
            self.sleep(_LOOK_SECONDS)
            kept = self.kept
        if kept is None:
            return self._read_behind(size, is_line=is_line)
        nbytes = len(kept) if size is None else min(size, len(kept))
        line_bytes = kept.find_line(nbytes) if is_line else 0
        rest = b""
        if line_bytes:
            nbytes = line_bytes
        elif nbytes != size:
            # First: should the server's stream raise, what is kept stays so.
            rest = self._read_behind(None if size is None else size - nbytes, is_line=is_line)
        self._drain.late_read(nbytes)
        return kept.take(nbytes) + rest

    def _read_behind(self, size: int | None, *, is_line: bool) -> bytes:
        """Return what the server's stream has behind what is kept."""
        drain, kept = self._drain, self.kept
        if kept is not None and (kept.lost_bytes or kept.is_cut):
            raise kept.error()
        if drain.finished:
            return b""
        remaining = drain.remaining_bytes
        left_bytes = NO_LENGTH if remaining is None else remaining
        data = self._ask(size, left_bytes, is_line=is_line)
        to_end = size is None and not is_line
        drain.app_read(len(data), more=not (to_end or len(data) in (0, left_bytes)))
        return data

    def _ask(self, size: int | None, left_bytes: int, *, is_line: bool) -> bytes:
        """Ask the server's stream for what the application wants, and for no more than is left."""
        if size is None and not is_line:
            return _read_all(self.stream, left_bytes)
        nbytes = left_bytes if size is None else min(size, left_bytes)
        if is_line:
            return _read_line(self.stream, nbytes)
        data: bytes = self.stream.read(nbytes)
        return data


def _read_line(stream: Any, size: int) -> bytes:
    line: bytes = stream.readline() if size > _MOST_BYTES else stream.readline(size)
    return line


def _read_all(stream: Any, left_bytes: int) -> bytes:
    """Read a stream to its end, or so many bytes."""
    data: bytes
    if left_bytes > _MOST_BYTES:
        data = stream.read()
        return data
    data = piece = stream.read(left_bytes)
    # Most streams have gathered everything, or have come to their end.
    while piece and len(data) < left_bytes:
        piece = stream.read(left_bytes - len(data))
        data += piece
    return data
