"""Body bytes that were read before the application asked for them.

Rule 1: in order, and nothing behind a gap.
Rule 2: an application that reads late has every byte, or a `LateReadError`; never an end where
bytes are missing.
"""

from __future__ import annotations


class LateReadError(OSError):
    """The application read a body after drainkit had to discard some of it."""


class Kept:
    """What is kept of one body for an application that reads late.

    Attributes:
        limit_bytes: How many bytes are kept at the most.
        lost_bytes: How many behind those were thrown away.
        has_ended: Whether the body ends behind what is kept.
        is_cut: Whether a read failed or was ended half-way, so that the rest cannot be read.
        is_answered: Whether the application has answered, so that nothing is kept any more.
    """

    __slots__ = (
        "_bytes",
        "_largest_bytes",
        "has_ended",
        "is_answered",
        "is_cut",
        "limit_bytes",
        "lost_bytes",
    )

    def __init__(self, limit_bytes: int) -> None:
        """Keep nothing yet.

        Args:
            limit_bytes: How many bytes may be kept: ``late_read_bytes`` of the policy.
        """
        self.limit_bytes = limit_bytes
        self.lost_bytes = 0
        self.has_ended = False
        self.is_cut = False
        self.is_answered = False
        # Bytes and not pieces: a client that sends one byte at a time must not make an object of
        # each be kept.
        self._bytes = bytearray()
        self._largest_bytes = 0

    def __len__(self) -> int:
        """Return how many bytes are kept."""
        return len(self._bytes)

    @property
    def is_full(self) -> bool:
        """Whether the next piece might not fit, if it is as large as the largest so far."""
        return len(self._bytes) + self._largest_bytes > self.limit_bytes

    def expect(self, nbytes: int) -> None:
        """Take note of a piece that the application had: the next may be as large."""
        self._largest_bytes = max(self._largest_bytes, nbytes)

    def add(self, data: bytes, *, more: bool = True, may_lose: bool = True) -> None:
        """Keep what fits, in order; nothing is kept behind a gap.

        Args:
            data: What was read.
            more: Whether the body goes on.
            may_lose: Whether what does not fit is thrown away. False where the application has
                begun to read, because it will want the rest.
        """
        self.expect(len(data))
        fits = 0 if self.lost_bytes else self.limit_bytes - len(self._bytes)
        if may_lose and len(data) > fits:
            self.lost_bytes += len(data) - fits
            data = data[:fits]
        self._bytes += data
        self.has_ended = not more and not self.lost_bytes

    def find_line(self, nbytes: int) -> int:
        """Return how long the first line within so many bytes is; ``0`` when none ends there."""
        return self._bytes.find(b"\n", 0, nbytes) + 1

    def take(self, nbytes: int) -> bytes:
        """Give away the first of what is kept."""
        # No memoryview: where nothing counts references (PyPy) it would outlive its use, and the
        # bytes could not be taken out.
        data = bytes(self._bytes[:nbytes])
        del self._bytes[:nbytes]
        return data

    def lose(self) -> None:
        """Throw away what is kept: the application has answered and will not ask."""
        self.lost_bytes += len(self._bytes)
        self._bytes = bytearray()
        self.has_ended = False
        self.is_answered = True

    def error(self) -> LateReadError:
        """Return the error for an application that asks for bytes that are not there."""
        if self.is_answered:
            lost = f"{self.lost_bytes} bytes" if self.lost_bytes else "the rest"
            return LateReadError(
                f"drainkit discarded {lost} of this request's body, because the application had "
                f"answered; read the body before responding, or set the policy of the request's "
                f"drainkit.control to None, and the body is left to what reads it later"
            )
        if self.lost_bytes:
            return LateReadError(
                f"drainkit discarded {self.lost_bytes} bytes of this request's body, because it "
                f"was read only after the response had begun, and no more than late_read_bytes="
                f"{self.limit_bytes} are kept; read the body before responding, or raise "
                f"DrainPolicy.late_read_bytes"
            )
        return LateReadError(
            f"a read of this request's body failed or ended at a deadline, while drainkit read "
            f"ahead because the response had begun; {len(self)} bytes before that can still be "
            f"read; read the body before responding, or raise DrainPolicy.idle_seconds and "
            f"max_seconds"
        )
