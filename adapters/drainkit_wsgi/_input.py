"""The ``wsgi.input`` that the application sees: the server's own, and a count of what it reads.

Rule 1: what the server's stream does with a read is not changed; its methods are passed on with
the arguments they were called with.
Rule 2: once some of the body has been read ahead, the application gets that first, exactly, and
a `LateReadError` where bytes are missing; never a wrong byte.
Rule 3: the server's stream is never asked for more than the application asked for: a client may
wait for an answer to what it has sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from drainkit import Drain, DrainControl, DrainPolicy, Kept

# More than any body has bytes: left of one whose length is not known.
NO_LENGTH = 1 << 62

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
    """

    __slots__ = ("_stream", "left_bytes")

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

    def read(self, *size: Any) -> bytes:
        data: bytes = self._stream.read(*size)
        nbytes = len(data)
        if size and size[0] is not None and size[0] >= 0 and (nbytes or not size[0]):
            self.left_bytes -= nbytes
        else:
            self.left_bytes = 0
        return data

    def readline(self, *size: Any) -> bytes:
        data: bytes = self._stream.readline(*size)
        self._count(len(data), is_end=not data and size != (0,))
        return data

    def readlines(self, *hint: Any) -> list[bytes]:
        lines: list[bytes] = self._stream.readlines(*hint)
        is_end = not lines or not hint or not hint[0] or hint[0] < 0
        self._count(sum(map(len, lines)), is_end=is_end)
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line: bytes = next(iter(self._stream), b"")
        self._count(len(line), is_end=not line)
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

    def take(self, drain: Drain) -> LateInput:
        """Let a drain count from now on; return what the application reads from then."""
        self.bind(drain)
        self._stream = late = LateInput(self._stream, drain)
        return late

    def _count(self, nbytes: int, *, is_end: bool) -> None:
        self.left_bytes = 0 if is_end else self.left_bytes - nbytes


class LateInput:
    """The server's stream once there is a drain: it counts, and what is kept comes first.

    Attributes:
        stream: The server's own.
        kept: What is kept for the application; ``None`` as long as nothing was read ahead.
    """

    __slots__ = ("_drain", "kept", "stream")

    def __init__(self, stream: Any, drain: Drain) -> None:
        """Let a drain count what is read of a stream."""
        self._drain = drain
        self.kept: Kept | None = None
        self.stream = stream

    def read(self, *size: Any) -> bytes:
        if self.kept is not None:
            return self._read_kept(self.kept, self.stream.read, size, is_line=False)
        data: bytes = self.stream.read(*size)
        to_end = not size or size[0] is None or size[0] < 0
        self._drain.app_read_stream(len(data), to_end or (not data and size != (0,)))
        return data

    def readline(self, *size: Any) -> bytes:
        if self.kept is not None:
            return self._read_kept(self.kept, self.stream.readline, size, is_line=True)
        data: bytes = self.stream.readline(*size)
        self._drain.app_read_stream(len(data), not data and size != (0,))
        return data

    def readlines(self, *hint: Any) -> list[bytes]:
        to_end = not hint or not hint[0] or hint[0] < 0
        lines: list[bytes] = []
        if self.kept is not None:
            left_bytes = float("inf") if to_end else hint[0]
            while left_bytes > 0 and (line := self.readline()):
                lines.append(line)
                left_bytes -= len(line)
            return lines
        lines = self.stream.readlines(*hint)
        self._drain.app_read_stream(sum(map(len, lines)), to_end or not lines)
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self.kept is not None:
            line = self.readline()
        else:
            line = next(iter(self.stream), b"")
            self._drain.app_read_stream(len(line), not line)
        if not line:
            raise StopIteration
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _read_kept(
        self, kept: Kept, ask: Callable[..., bytes], size: tuple[Any, ...], *, is_line: bool
    ) -> bytes:
        """Return what the application asks for: what is kept, then the rest of the server's."""
        wanted = size[0] if size and size[0] is not None and size[0] >= 0 else None
        nbytes = len(kept) if wanted is None else min(wanted, len(kept))
        line_bytes = kept.find_line(nbytes) if is_line else 0
        rest = b""
        if line_bytes:
            nbytes = line_bytes
        elif nbytes != wanted:
            limit = None if wanted is None else wanted - nbytes
            # First: should the server's stream raise, what is kept stays so.
            rest = _read_behind(kept, self._drain, ask, limit, is_line=is_line)
        self._drain.late_read(nbytes)
        return kept.take(nbytes) + rest


def _read_behind(
    kept: Kept, drain: Drain, ask: Callable[..., bytes], limit: int | None, *, is_line: bool
) -> bytes:
    """Return what the server's stream has behind what is kept, and never ask for more."""
    if kept.lost_bytes or kept.is_cut:
        raise kept.error()
    if drain.finished:
        return b""
    remaining = drain.remaining_bytes
    if limit is None or (remaining is not None and remaining < limit):
        limit = remaining
    data = ask() if limit is None else ask(limit)
    is_last = not data or len(data) == remaining or (limit is None and not is_line)
    drain.app_read(len(data), more=not is_last)
    return data
