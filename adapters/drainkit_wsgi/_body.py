"""The ``wsgi.input`` that the application sees: the server's own, and a count of what it reads.

Rule 1: what the server's stream does with a read is not changed; its methods are passed on with
the arguments they were called with.
Rule 2: once some of the body has been read ahead, the application gets that first, exactly, and
an `OSError` where bytes are missing; never a wrong byte.
Rule 3: the server's stream is never asked for more than the application asked for: a client may
wait for an answer to what it has sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from drainkit import Drain


class LateReadError(OSError):
    """The application read a body after drainkit had to discard it."""


# Other ways to read, which some servers' streams have.
_UNCOUNTED = frozenset(
    {"read1", "readinto", "readinto1", "readall", "peek", "detach", "raw", "rfile", "reader"}
)


class CountingInput:
    """A ``wsgi.input`` that tells the drain what the application reads."""

    __slots__ = ("_parts",)

    def __init__(self, stream: Any, drain: Drain) -> None:
        # One attribute, because each costs as much as a read where a class has __getattr__ (before
        # Python 3.12). The last one is set by read_ahead(): from then on the application reads
        # from there.
        self._parts: tuple[Any, Drain, ReadAhead | None] = (stream, drain, None)

    def read(self, *size: Any) -> bytes:
        stream, drain, ahead = self._parts
        if ahead is not None:
            return self._read_late(ahead, stream.read, size, is_line=False)
        data: bytes = stream.read(*size)
        to_end = not size or size[0] is None or size[0] < 0
        drain.app_read_stream(len(data), to_end or (not data and size != (0,)))
        return data

    def readline(self, *size: Any) -> bytes:
        stream, drain, ahead = self._parts
        if ahead is not None:
            return self._read_late(ahead, stream.readline, size, is_line=True)
        data: bytes = stream.readline(*size)
        drain.app_read_stream(len(data), not data and size != (0,))
        return data

    def readlines(self, *hint: Any) -> list[bytes]:
        stream, drain, ahead = self._parts
        to_end = not hint or not hint[0] or hint[0] < 0
        lines: list[bytes] = []
        if ahead is not None:
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
        stream, drain, ahead = self._parts
        if ahead is not None:
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

    def read_ahead(self, ahead: ReadAhead) -> None:
        """Let the application read from *ahead* from now on."""
        stream, drain, _ = self._parts
        self._parts = (stream, drain, ahead)

    def _read_late(
        self, ahead: ReadAhead, ask: Callable[..., bytes], size: tuple[Any, ...], *, is_line: bool
    ) -> bytes:
        """Return what the application asks for: what is kept, then the rest of the server's."""
        drain = self._parts[1]
        wanted = size[0] if size and size[0] is not None and size[0] >= 0 else None
        nbytes = len(ahead.kept) if wanted is None else min(wanted, len(ahead.kept))
        end = ahead.kept.find(b"\n", 0, nbytes) + 1 if is_line else 0
        if end or nbytes == wanted:
            return _take(drain, ahead, end or nbytes)
        if ahead.lost_bytes:
            raise LateReadError(
                f"drainkit discarded {ahead.lost_bytes} bytes of this request's body, because it "
                f"was read only after the response had begun and only late_read_bytes="
                f"{ahead.limit_bytes} are kept; read the body before responding, or raise "
                f"DrainPolicy.late_read_bytes"
            )
        if ahead.is_cut:
            raise LateReadError(
                f"the rest of this request's body did not come while drainkit read it, because the "
                f"response had begun: {len(ahead.kept)} bytes are left to be read; read the body "
                f"before responding, or raise DrainPolicy.idle_seconds and max_seconds"
            )
        if drain.finished:
            return _take(drain, ahead, nbytes)
        remaining = drain.remaining_bytes
        limit = None if wanted is None else wanted - nbytes
        if limit is None or (remaining is not None and remaining < limit):
            limit = remaining
        data = ask() if limit is None else ask(limit)
        ended = not data or len(data) == remaining or (limit is None and not is_line)
        drain.app_read(len(data), more=not ended)
        return _take(drain, ahead, nbytes) + data


def _take(drain: Drain, ahead: ReadAhead, nbytes: int) -> bytes:
    drain.late_read(nbytes)
    return ahead.take(nbytes)


class ReadAhead:
    """Body bytes that were read before the application asked for them.

    Attributes:
        limit_bytes: How many are kept at the most.
        kept: Those kept, in order.
        lost_bytes: How many behind them were thrown away.
        is_cut: Whether a read was ended half-way, so that the server's stream cannot be trusted
            to go on where it stopped.
    """

    __slots__ = ("is_cut", "kept", "limit_bytes", "lost_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.kept = bytearray()
        self.lost_bytes = 0
        self.is_cut = False

    def add(self, data: bytes) -> None:
        """Keep what fits, in order; nothing is kept behind a gap."""
        fits = 0 if self.lost_bytes else self.limit_bytes - len(self.kept)
        self.kept += data[:fits]
        self.lost_bytes += max(0, len(data) - fits)

    def take(self, nbytes: int) -> bytes:
        """Give away the first of what is kept."""
        with memoryview(self.kept) as kept:
            data = bytes(kept[:nbytes])
        del self.kept[:nbytes]
        return data

    def lose(self) -> None:
        """Throw away what is kept: the application has answered and will not ask."""
        self.lost_bytes += len(self.kept)
        self.kept = bytearray()
