"""One request and its response while they are under way: clocks, counts, what went wrong.

Rule: a failure of the network is a value (``Answer.error``), never an exception.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from typing import Protocol

from ._fields import ResponseError
from ._values import Answer, Ended, Upload, in_bytes

# Far more than an error page: a response without an end must not fill the memory.
_MOST_RESPONSE_BYTES = 64 * 1024 * 1024
# Enough for a picture on any screen.
_MOST_SAMPLES = 256


class Incoming(Protocol):
    """A response as far as it has come, in whichever version of HTTP."""

    @property
    def status(self) -> int | None: ...
    @property
    def reason(self) -> str: ...
    @property
    def headers(self) -> Sequence[tuple[str, str]]: ...
    @property
    def body(self) -> bytearray: ...
    @property
    def interim(self) -> Sequence[int]: ...
    @property
    def version(self) -> str | None: ...
    @property
    def malformed(self) -> str | None: ...
    @property
    def complete(self) -> bool: ...
    @property
    def started(self) -> bool: ...
    @property
    def held_bytes(self) -> int: ...
    @property
    def excess(self) -> bytes: ...
    def feed(self, data: bytes) -> None: ...
    def eof(self) -> None: ...


class _Trace:
    """How much was sent when, thinned out as it grows."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, int]] = [(0.0, 0)]
        self._latest = self._samples[0]
        self._gap_seconds = 0.0

    def add(self, seconds: float, sent_bytes: int) -> None:
        """Take a sample; one that follows the last too closely counts only if it stays the last."""
        self._latest = (seconds, sent_bytes)
        if seconds - self._samples[-1][0] < self._gap_seconds:
            return
        self._samples.append(self._latest)
        if len(self._samples) >= _MOST_SAMPLES:
            del self._samples[1::2]
            self._gap_seconds = max(2 * self._gap_seconds, 2 * seconds / _MOST_SAMPLES)

    def values(self) -> tuple[tuple[float, int], ...]:
        """Return the samples, the latest included."""
        if self._samples[-1] == self._latest:
            return tuple(self._samples)
        return (*self._samples, self._latest)


class Exchange:
    """One request and its response while they are under way."""

    def __init__(
        self, parser: Incoming, timeout_seconds: float, stall_seconds: float | None
    ) -> None:
        """Start the clock.

        Args:
            parser: What takes the response.
            timeout_seconds: The longest that the exchange may take.
            stall_seconds: The longest that it may take from any body byte sent; None for no such
                limit.
        """
        self.start = time.monotonic()
        self._last_deadline = self.start + timeout_seconds
        self._stall_seconds = stall_seconds
        self.deadline = self._last_deadline
        self.trace = _Trace()
        self.parser = parser
        self.sent = 0
        self.body_start = self.start
        self.noticed_seconds: float | None = None
        self.sent_at_noticed: int | None = None
        self.first_byte_seconds: float | None = None
        self.sent_at_first_byte: int | None = None
        self.error: str | None = None
        self.ended: Ended = "open"
        self._restart()

    def _restart(self) -> None:
        """Count the silence from now; the exchange's own deadline stays what it is."""
        if self._stall_seconds is not None:
            stalled = time.monotonic() + self._stall_seconds
            self.deadline = min(stalled, self._last_deadline)

    def note_sent(self, sent_bytes: int) -> None:
        """Note how many body bytes the kernel has taken in all."""
        self.sent = sent_bytes
        self.trace.add(self.elapsed, sent_bytes)
        self._restart()

    def notice(self) -> None:
        """Note that the first byte of an answer lies ready."""
        if self.noticed_seconds is None:
            self.noticed_seconds = self.elapsed
            self.sent_at_noticed = self.sent

    def rest_of_pause(self, upload: Upload) -> float:
        """Return the seconds by which the upload is ahead of its rate."""
        if upload.rate_bytes_per_second is None:
            return 0.0
        due = self.body_start + self.sent / upload.rate_bytes_per_second
        return max(0.0, due - time.monotonic())

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.start

    def left(self, at_most: float | None = None) -> float:
        """Return the seconds to the deadline, never quite 0 since that would mean non-blocking."""
        left = max(self.deadline - time.monotonic(), 0.001)
        return left if at_most is None else min(left, max(at_most, 0.001))

    def expired(self) -> bool:
        return time.monotonic() >= self.deadline

    def took(self, data: bytes) -> None:
        """Take what ``recv`` returned; b"" is the end of the connection."""
        if not data:
            self.ended = "fin"
            self.parser.eof()
            return
        try:
            self.parser.feed(data)
        except ResponseError as error:
            self.error = self.error or f"bad response: {error}"
        self.note_answer()

    def note_answer(self) -> None:
        """Note how far the answer has come."""
        self.check_size()
        if self.parser.started and self.first_byte_seconds is None:
            self.notice()
            self.first_byte_seconds = self.elapsed
            self.sent_at_first_byte = self.sent

    def check_size(self) -> None:
        """Give up a response that does not fit into memory."""
        if self.parser.held_bytes > _MOST_RESPONSE_BYTES:
            self.error = self.error or f"response of more than {in_bytes(_MOST_RESPONSE_BYTES)}"

    def lose(self, what: str, doing: str) -> None:
        """Note that the answer was lost by what the server said; the first error counts."""
        self.ended = "reset"
        self.error = self.error or f"{what} while {doing} after {in_bytes(self.sent)}"

    def failed(self, error: OSError, doing: str) -> None:
        """Note an error of the connection; the first one counts."""
        self.ended = how_ended(error)
        sent = in_bytes(self.sent)
        self.error = self.error or f"{type(error).__name__} while {doing} after {sent}"

    def answer(self) -> Answer:
        parser = self.parser
        error = self.error
        if error is None and not parser.complete:
            what = {"fin": "connection closed", "timeout": "timed out"}.get(self.ended, "stopped")
            have = (
                f"{in_bytes(len(parser.body))} of the response's body"
                if parser.status
                else "a response"
            )
            error = f"{what} after {have}" if parser.status else f"{what} before {have}"
        return Answer(
            status=parser.status,
            reason=parser.reason,
            headers=tuple(parser.headers),
            body=bytes(parser.body),
            complete=parser.complete,
            sent_bytes=self.sent,
            error=error,
            first_byte_seconds=self.first_byte_seconds,
            sent_at_first_byte_bytes=self.sent_at_first_byte,
            seconds=self.elapsed,
            ended=self.ended,
            noticed_seconds=self.noticed_seconds,
            sent_at_noticed_bytes=self.sent_at_noticed,
            version=parser.version,
            interim=tuple(parser.interim),
            excess=parser.excess,
            trace=self.trace.values(),
            malformed=parser.malformed,
        )


def how_ended(error: OSError) -> Ended:
    """Return what an error of a socket says about its connection."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ssl.SSLEOFError):
        return "fin"  # the end of the connection without TLS' own goodbye
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        return "tls-alert"
    return "reset"
