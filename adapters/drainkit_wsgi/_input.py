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

from drainkit import Drain, Kept

# Other ways to read, which some servers' streams have.
_UNCOUNTED = frozenset(
    {"read1", "readinto", "readinto1", "readall", "peek", "detach", "raw", "rfile", "reader"}
)


class CountingInput:
    """A ``wsgi.input`` that tells the drain what the application reads."""

    __slots__ = ("_parts",)

    def __init__(self, stream: Any, drain: Drain) -> None:
        # One attribute, because each costs as much as a read where a class has __getattr__ (before
        # Python 3.12). The last one is set by read_from(): from then on the application reads
        # from there.
        self._parts: tuple[Any, Drain, Kept | None] = (stream, drain, None)

    def read(self, *size: Any) -> bytes:
        stream, drain, kept = self._parts
        if kept is not None:
            return self._read_late(kept, stream.read, size, is_line=False)
        data: bytes = stream.read(*size)
        to_end = not size or size[0] is None or size[0] < 0
        drain.app_read_stream(len(data), to_end or (not data and size != (0,)))
        return data

    def readline(self, *size: Any) -> bytes:
        stream, drain, kept = self._parts
        if kept is not None:
            return self._read_late(kept, stream.readline, size, is_line=True)
        data: bytes = stream.readline(*size)
        drain.app_read_stream(len(data), not data and size != (0,))
        return data

    def readlines(self, *hint: Any) -> list[bytes]:
        stream, drain, kept = self._parts
        to_end = not hint or not hint[0] or hint[0] < 0
        lines: list[bytes] = []
        if kept is not None:
            left_bytes = float("inf") if to_end else hint[0]
            while left_bytes > 0 and (line := self.readline()):
                lines.append(line)
                left_bytes -= len(line)
            return lines
        lines = stream.readlines(*hint)
        drain.app_read_stream(sum(map(len, lines)), to_end or not lines)
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        stream, drain, kept = self._parts
        if kept is not None:
            line = self.readline()
        else:
            line = next(iter(stream), b"")
            drain.app_read_stream(len(line), not line)
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
        return getattr(self._parts[0], name)

    def read_from(self, kept: Kept) -> None:
        """Let the application read what is kept from now on, and the server's stream behind it."""
        stream, drain, _ = self._parts
        self._parts = (stream, drain, kept)

    def _read_late(
        self, kept: Kept, ask: Callable[..., bytes], size: tuple[Any, ...], *, is_line: bool
    ) -> bytes:
        """Return what the application asks for: what is kept, then the rest of the server's."""
        drain = self._parts[1]
        wanted = size[0] if size and size[0] is not None and size[0] >= 0 else None
        nbytes = len(kept) if wanted is None else min(wanted, len(kept))
        line_bytes = kept.find_line(nbytes) if is_line else 0
        rest = b""
        if line_bytes:
            nbytes = line_bytes
        elif nbytes != wanted:
            limit = None if wanted is None else wanted - nbytes
            # First: should the server's stream raise, what is kept stays so.
            rest = _read_behind(kept, drain, ask, limit, is_line=is_line)
        drain.late_read(nbytes)
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
