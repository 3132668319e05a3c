"""What is known of an answer, and how far it has come.

Rule: it is told sizes, and never has a byte of the answer.
"""

from __future__ import annotations

import enum

from ._drain import Drain

# What fits the smallest default buffers between two sockets (Linux tcp_wmem and tcp_rmem grow
# from 16 KiB and 128 KiB), so that sending it never blocks.
RESPONSE_BUFFER_BYTES = 65_536

# RFC 9110 section 6.4.1: responses with these statuses have no content.
_STATUSES_WITHOUT_CONTENT = frozenset({204, 304})


class Stage(enum.Enum):
    """How far the answer has come."""

    EXPECTED = "expected"
    """The application has not begun to answer."""
    HELD = "held"
    """The start is known, and has not been sent."""
    OPEN = "open"
    """The start has been sent."""
    FULL = "full"
    """As much as Content-Length says is known, but not that this was the last piece; it is held."""
    ENDING = "ending"
    """The last piece is known; the body is being discarded."""
    ENDED = "ended"
    """The end has been sent."""
    CUT = "cut"
    """The answer was given up before its end."""


_OVER = frozenset({Stage.ENDING, Stage.ENDED, Stage.CUT})


def is_error(status: int | None) -> bool:
    """Tell whether clients end their upload short at the sight of a status.

    Args:
        status: The status code; ``None`` when the application gave something else.
    """
    return status is not None and status >= 400


def lacks_length(status: int | None, *, method: str, has_coding: bool) -> bool:
    """Tell whether a whole answer without a Content-Length should have one.

    With it the client sees the end of the answer before anything else shows it.

    Args:
        status: Its status code; ``None`` when the application gave something else.
        method: The request's method.
        has_coding: Whether the answer has a Transfer-Encoding (RFC 9112 section 6.2: then it must
            not have a Content-Length).
    """
    return not (
        status is None
        or status < 200
        or status in _STATUSES_WITHOUT_CONTENT
        or method == "HEAD"
        or has_coding
    )


class Answer:
    """The answer to one request, as far as it is known.

    A shell tells with `released`, `refused`, `passed`, `ended` and `cut` what it did with it.

    Attributes:
        stage: How far the answer has come.
        status: Its status code; ``None`` until it is known.
        length: Its Content-Length; ``None`` when there is none.
        passed_bytes: Bytes of its content that have been sent, or are being sent.
    """

    __slots__ = ("_drain", "_has_trailers", "length", "passed_bytes", "stage", "status")

    def __init__(self, drain: Drain) -> None:
        """Begin before the answer.

        Args:
            drain: The drain of the request's body.
        """
        self._drain = drain
        self._has_trailers = False
        self.stage = Stage.EXPECTED
        self.status: int | None = None
        self.length: int | None = None
        self.passed_bytes = 0

    def released(self) -> None:
        """Take note that the start is being sent."""
        if self.stage not in _OVER:
            self.stage = Stage.OPEN

    def refused(self) -> None:
        """Take note that the server refused the start: another answer may follow."""
        self.stage = Stage.EXPECTED
        self.status = self._drain.status = None

    def passed(self, nbytes: int) -> None:
        """Take note that so many bytes of the content are being sent."""
        self.passed_bytes += nbytes
        if self.stage is Stage.FULL:
            self.stage = Stage.OPEN

    def ended(self) -> None:
        """Take note that the end of the answer is being sent."""
        self.stage = Stage.ENDED

    def cut(self) -> None:
        """Take note that the answer will not be ended."""
        self.stage = Stage.CUT

    @property
    def is_over(self) -> bool:
        """Whether the application has answered."""
        return self.stage in _OVER

    def length_to_add(self, nbytes: int, *, method: str, has_coding: bool) -> int | None:
        """Return the Content-Length that a whole answer should have, and has not; or ``None``.

        Args:
            nbytes: The answer's bytes.
            method: The request's method.
            has_coding: Whether the answer has a Transfer-Encoding.
        """
        if (
            self.length is not None
            or self.passed_bytes
            or not lacks_length(self.status, method=method, has_coding=has_coding)
        ):
            return None
        self.length = nbytes
        return nbytes

    @property
    def leaves_body(self) -> bool:
        """Whether it is known that the body will not be read to its end.

        Then the connection cannot be used again, and the answer should say so.
        """
        drain = self._drain
        if drain.report is not None:
            return drain.report.outcome.closes
        if drain.finished or drain.policy is None:
            return False
        if not drain.invited:
            return True
        # An application that has begun to read, and has not answered, may read the rest itself.
        return drain.doomed and (drain.untouched or self.is_over)
