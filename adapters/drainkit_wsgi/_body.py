"""The ``wsgi.input`` that the application sees: the server's own, and a count of what it reads.

Rule 1: what the server's stream does with a read is not changed; its methods are passed on with
the arguments they were called with.
Rule 2: once some of the body has been read ahead, the application gets that first, exactly, and
an `OSError` where bytes are missing; never a wrong byte.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from drainkit import BodyKind, Drain


class LateReadError(OSError):
    """The application read a body after drainkit had to discard it."""


# Other ways to read, which some servers' streams have.
_UNCOUNTED = frozenset(
    {"read1", "readinto", "readinto1", "readall", "peek", "detach", "raw", "rfile", "reader"}
)


class CountingInput:
    """A ``wsgi.input`` that tells the drain what the application reads."""

    __slots__ = ("_drain", "_late", "_stream")

    def __init__(self, stream: Any, drain: Drain) -> None:
        self._stream = stream
        self._drain = drain
        # Set by read_ahead(): from then on the application reads from there.
        self._late: io.BufferedReader | None = None

    def read(self, *size: Any) -> bytes:
        if self._late is not None:
            return self._late.read(*size)
        data: bytes = self._stream.read(*size)
        self._count(data, to_end=not size or size[0] is None or size[0] < 0, asked=size != (0,))
        return data

    def readline(self, *size: Any) -> bytes:
        if self._late is not None:
            return self._late.readline(*size)
        data: bytes = self._stream.readline(*size)
        self._count(data, to_end=False, asked=size != (0,))
        return data

    def readlines(self, *hint: Any) -> list[bytes]:
        if self._late is not None:
            return self._late.readlines(*hint)
        lines: list[bytes] = self._stream.readlines(*hint)
        to_end = not hint or not hint[0] or hint[0] < 0
        self._count(b"".join(lines), to_end=to_end, asked=True)
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._late is not None:
            return next(self._late)
        line: bytes = next(iter(self._stream), b"")
        self._count(line, to_end=False, asked=True)
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

    def _count(self, data: bytes, *, to_end: bool, asked: bool) -> None:
        drain = self._drain
        length = drain.framing.length
        nbytes = len(data)
        if length is not None and drain.bytes_read + nbytes >= length:
            drain.app_read(nbytes, more=False)
        else:
            drain.app_read(nbytes, more=not to_end and (nbytes > 0 or not asked))

    def read_ahead(self, ahead: ReadAhead) -> None:
        """Let the application read from *ahead* from now on."""
        if self._late is None:
            self._late = io.BufferedReader(_LateInput(self._stream, self._drain, ahead))


class ReadAhead:
    """Body bytes that were read before the application asked for them.

    Attributes:
        limit_bytes: How many are kept at the most.
        kept: Those kept, in order.
        lost_bytes: How many behind them were thrown away.
    """

    __slots__ = ("kept", "limit_bytes", "lost_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.kept = bytearray()
        self.lost_bytes = 0

    def add(self, data: bytes) -> None:
        """Keep what fits, in order; nothing is kept behind a gap."""
        fits = 0 if self.lost_bytes else self.limit_bytes - len(self.kept)
        self.kept += data[:fits]
        self.lost_bytes += max(0, len(data) - fits)

    def lose(self) -> None:
        """Throw away what is kept: the application has answered and will not ask."""
        self.lost_bytes += len(self.kept)
        self.kept = bytearray()


class _LateInput(io.RawIOBase):
    """First what was read ahead, then the rest of the server's stream."""

    def __init__(self, stream: Any, drain: Drain, ahead: ReadAhead) -> None:
        self._stream = stream
        self._drain = drain
        self._ahead = ahead

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        ahead = self._ahead
        if ahead.kept:
            nbytes = min(len(buffer), len(ahead.kept))
            buffer[:nbytes] = ahead.kept[:nbytes]
            del ahead.kept[:nbytes]
            self._drain.late_read(nbytes)
            return nbytes
        if ahead.lost_bytes:
            raise LateReadError(
                f"drainkit discarded {ahead.lost_bytes} bytes of this request's body, because it "
                f"was read only after the response had begun and only late_read_bytes="
                f"{ahead.limit_bytes} are kept; read the body before responding, or raise "
                f"DrainPolicy.late_read_bytes"
            )
        if self._drain.finished:
            return 0
        remaining = self._drain.remaining_bytes
        data = self._stream.read(len(buffer) if remaining is None else min(len(buffer), remaining))
        nbytes = len(data)
        buffer[:nbytes] = data
        ended = nbytes == 0 or (self._drain.framing.kind is BodyKind.LENGTH and nbytes == remaining)
        self._drain.app_read(nbytes, more=not ended)
        return nbytes
