"""Body bytes that were read before the application asked for them.

Rule 1: in order, and nothing behind a gap.
Rule 2: an application that reads late has every byte, or a `LateReadError`; never an end where
bytes are missing.
Rule 3: nothing is kept that the process's budget has no room for, and that room is given back,
whatever ends the request.
"""

from __future__ import annotations

from ._budget import BODIES_AT_ONCE, Budget, process_budget


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
        is_crowded_out: Whether less is kept than the policy allows, as the process keeps so much.
    """

    __slots__ = (
        "_budget",
        "_bytes",
        "_largest_bytes",
        "_reserved_bytes",
        "has_ended",
        "is_answered",
        "is_crowded_out",
        "is_cut",
        "limit_bytes",
        "lost_bytes",
    )

    def __init__(self, limit_bytes: int, *, budget: Budget = process_budget) -> None:
        """Keep nothing yet.

        Args:
            limit_bytes: How many bytes may be kept: ``late_read_bytes`` of the policy.
            budget: Where what all requests keep is counted; the whole process, unless a test says
                otherwise.
        """
        self._budget = budget
        self._reserved_bytes = 0
        self.is_crowded_out = False
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

    def reserve(self, remaining_bytes: int | None) -> bool:
        """Take room for whatever will be kept, before it is read; `settle` gives the rest back.

        Args:
            remaining_bytes: How many bytes of the body are left; ``None`` when that is not known.

        Returns:
            Whether there is as much room. If not, nothing may be read for the application, or
            `crowd_out` must say that it may be lost.
        """
        most_bytes = self.limit_bytes
        if remaining_bytes is not None:
            most_bytes = min(most_bytes, len(self._bytes) + remaining_bytes)
        more_bytes = most_bytes - self._reserved_bytes
        if self.lost_bytes or more_bytes <= 0:
            return True
        if not self._budget.take(more_bytes, self.limit_bytes * BODIES_AT_ONCE):
            return False
        self._reserved_bytes = most_bytes
        return True

    def crowd_out(self) -> None:
        """Keep no more than is kept already: what is read from now on is lost."""
        self.is_crowded_out = True

    def settle(self) -> None:
        """Give back the room that was taken for more than is kept."""
        nbytes = self._reserved_bytes - len(self._bytes)
        if nbytes > 0:
            self._reserved_bytes -= nbytes
            self._budget.give(nbytes)

    def __del__(self) -> None:
        # Whoever held it was given up: a generator that nobody closed, a task that was cancelled.
        if self._reserved_bytes:
            self._budget.give(self._reserved_bytes)

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
        fits = self.limit_bytes - len(self._bytes)
        if self.lost_bytes or self.is_crowded_out:
            fits = 0
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
        self.settle()
        return data

    def lose(self) -> None:
        """Throw away what is kept: the application has answered and will not ask."""
        self.lost_bytes += len(self._bytes)
        self._bytes = bytearray()
        self.has_ended = False
        self.is_answered = True
        self.settle()

    def error(self) -> LateReadError:
        """Return the error for an application that asks for bytes that are not there."""
        if self.is_answered:
            lost = f"{self.lost_bytes} bytes" if self.lost_bytes else "the rest"
            return LateReadError(
                f"drainkit discarded {lost} of this request's body, because the application had "
                f"answered; read the body before responding, or set the policy of the request's "
                f"drainkit.control to None, and the body is left to what reads it later"
            )
        if self.lost_bytes and self.is_crowded_out:
            return LateReadError(
                f"drainkit discarded {self.lost_bytes} bytes of this request's body, because it "
                f"was read only after the response had begun, and this process keeps "
                f"{BODIES_AT_ONCE} times late_read_bytes={self.limit_bytes} for such requests "
                f"already; read the body before responding, or raise DrainPolicy.late_read_bytes"
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
