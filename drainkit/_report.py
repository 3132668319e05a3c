"""Why a drain ended, how much it discarded, how long it took, and who is told.

Rule: telling must never cost the client its answer, so nothing in here raises what a log handler
or a caller's function raised.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

logger = logging.getLogger("drainkit")
logger.addHandler(logging.NullHandler())

# A flood of abandoned uploads must not become a flood of log lines.
_SECONDS_BETWEEN_WARNINGS = 1.0


class Outcome(enum.Enum):
    """Why a drain ended. Only after `COMPLETE` may the connection be used again."""

    COMPLETE = "complete"
    """The whole body was taken off the connection."""
    BYTE_LIMIT = "byte limit"
    """``max_bytes`` was reached, or Content-Length said that it would be."""
    TIME_LIMIT = "time limit"
    """``max_seconds`` went by."""
    IDLE = "idle"
    """The client was silent for ``idle_seconds``."""
    TOO_SLOW = "too slow"
    """The client sent less than ``min_bytes_per_second``."""
    AT_CAPACITY = "at capacity"
    """``max_concurrent`` drains were under way, and nothing was read; or the client stood still
    while drains held half of the server's threads."""
    DISCONNECTED = "disconnected"
    """The client left before the end of its body."""
    EXPECT_PENDING = "expect pending"
    """The client waits for ``100 Continue`` and was not invited; it sent nothing."""
    UNFRAMED = "unframed"
    """The end of the body cannot be known on this server; nothing was read."""
    DECLINED = "declined"
    """The policy or the application said no; nothing was read."""
    ERROR = "error"
    """The body could not be read, or the drain was interrupted."""

    # Enum's own is a function in Python, and every drain's outcome is looked up in some table.
    __hash__ = object.__hash__

    @property
    def label(self) -> str:
        """The outcome as one word, for metrics and log fields, as in ``"byte_limit"``."""
        return self.name.lower()

    @property
    def closes(self) -> bool:
        """Whether the connection must not be used again.

        A body that was declined is the server's business, as it is without drainkit.
        """
        return self is not Outcome.COMPLETE and self is not Outcome.DECLINED


@dataclass(frozen=True, kw_only=True, slots=True)
class DrainReport:
    """What became of one request's unread body.

    Attributes:
        outcome: Why the drain ended.
        bytes_discarded: Body bytes read and thrown away.
        bytes_read: Body bytes that the application read itself.
        declared_bytes: The Content-Length; ``None`` when there is none that counts.
        seconds: How long the drain took.
        protocol: ``"HTTP/1.1"``, ``"HTTP/2"`` and so on.
        server: The server's name as drainkit knows it; ``"unknown"`` when it does not.
        method: The request's method.
        path: The request's path, without its query.
        status: The status code of the response; ``None`` when none was seen, because the
            application raised an exception.
        detail: What else there is to say, such as an error's text; empty in most reports.
        max_seconds: The bound that was in force: the policy's, or what followed from what the
            drain held. ``None`` when the drain ended before a bound mattered.
        max_concurrent: The same.
    """

    outcome: Outcome
    bytes_discarded: int
    bytes_read: int
    declared_bytes: int | None
    seconds: float
    protocol: str
    server: str
    method: str
    path: str
    status: int | None
    detail: str = ""
    max_seconds: float | None = None
    max_concurrent: int | None = None


OnReport: TypeAlias = Callable[[DrainReport], object]
"""A function that is told of every drain. What it returns is not looked at."""


class Reporter(Protocol):
    """An `OnReport` that has something to keep of the request: the trace that it belongs to.

    Under WSGI nothing of that is left when the report comes: the body is discarded behind the
    answer, and the request's span has ended.
    """

    def answered(self) -> OnReport:
        """Return who is told of this request's drain, in place of the reporter itself.

        Called where the application begins to answer with some of its body unread, in its own
        context (`contextvars`), and so while its span is open. What it raises is logged, and the
        reporter itself is told.
        """
        ...

    def __call__(self, report: DrainReport) -> object:
        """Take the report of a drain whose application did not answer: it raised an exception."""
        ...


def answered(on_report: OnReport | None) -> OnReport | None:
    """Return who is to be told of the drain of a request that is being answered.

    Adapters call it where the application begins to answer with some of its body unread.

    Args:
        on_report: A function or a `Reporter`; ``None`` when nobody is told.

    Returns:
        What `Reporter.answered` returned; every other *on_report* as it is.
    """
    # Of its class, because a mock has every attribute that it is asked for.
    answer = getattr(type(on_report), "answered", None)
    if answer is None:
        return on_report
    try:
        told: OnReport = answer(on_report)
        return told
    except Exception:
        with contextlib.suppress(Exception):
            logger.exception("answered() raised an exception; %r is told without it", on_report)
        return on_report


class _Throttle:
    """One warning a second for each outcome, with a count of those held back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[Outcome, float] = {}
        self._held: dict[Outcome, int] = {}

    def admit(self, outcome: Outcome, now: float) -> int | None:
        """Return how many were held back since the last one, or None to hold this one back."""
        with self._lock:
            last = self._last.get(outcome)
            # A clock that went backwards (another clock, a test) never silences an outcome.
            if last is not None and 0 <= now - last < _SECONDS_BETWEEN_WARNINGS:
                self._held[outcome] = self._held.get(outcome, 0) + 1
                return None
            self._last[outcome] = now
            return self._held.pop(outcome, 0)

    def _forget(self) -> None:
        # Another thread of the parent may have held the lock when this child was forked.
        self._lock = threading.Lock()


_throttle = _Throttle()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_throttle._forget)


def is_heard(on_report: OnReport | None) -> bool:
    """Tell whether anybody would hear of a drain that is `Outcome.COMPLETE`.

    Where nobody does, an adapter need not make the report of a body that had come already.

    Args:
        on_report: A function or a `Reporter`; ``None`` when nobody is told.
    """
    return on_report is not None or logger.isEnabledFor(logging.DEBUG)


def publish(report: DrainReport, on_report: OnReport | None, now: float) -> None:
    """Log a report on the logger ``drainkit`` and give it to *on_report*.

    Args:
        report: The report.
        on_report: Called with the report; what it raises is logged and swallowed. ``None``
            calls nobody.
        now: The time in seconds on the clock that the drain was told.
    """
    if on_report is not None:
        try:
            on_report(report)
        except Exception:
            with contextlib.suppress(Exception):
                logger.exception("on_report raised an exception; it was given %r", report)

    if report.outcome is Outcome.COMPLETE:
        if logger.isEnabledFor(logging.DEBUG):
            _log(logging.DEBUG, report, held_back=0)
        return
    held_back = _throttle.admit(report.outcome, now)
    if held_back is not None:
        _log(logging.WARNING, report, held_back)


def _escaped(text: str) -> str:
    """Return a client's text so that it cannot forge a second log line."""
    return text.encode("unicode_escape").decode("ascii")


def _log(level: int, report: DrainReport, held_back: int) -> None:
    # A handler whose disk is full or whose log server is gone is not the client's fault.
    with contextlib.suppress(Exception):
        _log_or_raise(level, report, held_back)


def _log_or_raise(level: int, report: DrainReport, held_back: int) -> None:
    logger.log(
        level,
        "drain of %s %s ended: %s (%d bytes discarded in %.2f s, status %s, %s)%s%s",
        _escaped(report.method),
        _escaped(report.path),
        report.outcome.value,
        report.bytes_discarded,
        report.seconds,
        report.status,
        report.server,
        f": {_escaped(report.detail)}" if report.detail else "",
        f" [{held_back} more of this kind held back]" if held_back else "",
        # With a prefix: log systems take a bare "status" for a severity, and "path", "method" and
        # "server" for fields of their own.
        extra={
            "drainkit_outcome": report.outcome.label,
            "drainkit_bytes_discarded": report.bytes_discarded,
            "drainkit_bytes_read": report.bytes_read,
            "drainkit_declared_bytes": report.declared_bytes,
            "drainkit_seconds": report.seconds,
            "drainkit_protocol": report.protocol,
            "drainkit_server": report.server,
            "drainkit_method": report.method,
            "drainkit_path": report.path,
            "drainkit_status": report.status,
            "drainkit_detail": report.detail,
            "drainkit_max_seconds": report.max_seconds,
            "drainkit_max_concurrent": report.max_concurrent,
            "drainkit_held_back": held_back,
        },
    )
