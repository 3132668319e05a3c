"""Reads that block: how much is asked for at once, and what became of it.

Rule 1: no read asks for more than is left of a body whose length is known.
Rule 2: where it matters that a read does not block, it asks for what has come.
"""

from __future__ import annotations

import array
import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from drainkit import BodyKind, Drain, DrainReport, Kept, Outcome, Read, Step

from ._threads import Place, are_greenlets, moved
from ._watchdog import Deadline
from .servers import Connection, waiting_bytes

if sys.platform != "win32":  # where no connection is reached, and nothing is asked of one
    import fcntl
    import termios

# How long a client may be silent before an answer that waits for its upload goes on: an eager
# client (curl) stops sending when it has seen the status, and waits for the rest.
_QUIET_SECONDS = 0.5

# The end of a body may already be in a buffer of the server, where its connection does not show
# it, and is the last place where a client would stop sending.
_NEAR_END_BYTES = 65_536

# What a server may have in a buffer of its own is asked for byte by byte, and in twice as many up
# to so many as long as that comes at once: few enough that a client that drips soon ends the last.
_UNSEEN_BYTES = 64
_AT_ONCE_SECONDS = 0.001

# The largest TLS record (RFC 8446 section 5.1).
_RECORD_BYTES = 16_384

# What a client must send in time when it holds one thread too many: what nobody notices who is
# served beside it, and what no line that moves falls short of.
_HURRY_SECONDS = 0.5
_HURRY_BYTES = 4096

_TOO_MANY_THREADS = "the client stood still, and drains held half of the threads"

# How often it is looked whether enough has come.
_LOOK_SECONDS = 0.01

# How long to wait for a peer to take the answer, that would lose it if its connection were shut.
_TAKEN_SECONDS = 1.0

# Where threads are greenlets, nobody else runs while the client sends faster than it is read.
_TURN_SECONDS = 0.01
_TURN_OF_OTHERS_SECONDS = 0.001

Limit: TypeAlias = Callable[[Read], "Step | None"]
"""Makes a read ask for less, ends its drain instead, or says with ``None`` that it is to pause."""


class Reading:
    """One run of reads, until its drain ends or is to pause.

    Attributes:
        client_is_quiet: Whether the client has stopped sending, so that it reads.
    """

    __slots__ = (
        "_asked_at",
        "_connection",
        "_cut_outcome",
        "_descriptor",
        "_drain",
        "_kept",
        "_stream",
        "_unseen_bytes",
        "client_is_quiet",
    )

    def __init__(
        self,
        drain: Drain,
        stream: Any,
        connection: Connection,
        descriptor: int | None,
        kept: Kept | None,
    ) -> None:
        """Prepare.

        Args:
            drain: The drain.
            stream: The server's own ``wsgi.input``.
            connection: The request's connection.
            descriptor: Its descriptor; ``None`` where it cannot be reached.
            kept: Keeps what is read for an application that may still read; ``None`` when it may
                not.
        """
        self._drain = drain
        self._stream = stream
        self._connection = connection
        self._descriptor = descriptor
        self._kept = kept
        self._asked_at = 0.0
        self._unseen_bytes = 1
        self._cut_outcome = Outcome.IDLE
        self.client_is_quiet = False

    def run(self, deadline: Deadline, step: Step, limit: Limit | None) -> DrainReport | None:
        """Read until the drain ends; return its report, or ``None`` when it pauses.

        Args:
            deadline: Ends each read in time, as far as that can be done.
            step: The first read.
            limit: Looks at each read before it is done; ``None`` lets all of them be.
        """
        sleep = self._connection.sleep
        gives_turns = are_greenlets(sleep)
        turn_ends = time.monotonic() + _TURN_SECONDS
        while isinstance(step, Read):
            if limit is not None:
                limited = limit(step)
                if not isinstance(limited, Read):
                    return limited
                step = limited
            step = self._read_once(step, deadline)
            if gives_turns and time.monotonic() > turn_ends:
                sleep(_TURN_OF_OTHERS_SECONDS)
                turn_ends = time.monotonic() + _TURN_SECONDS
        return step

    def in_a_hurry(self, step: Read, place: Place, limit: Limit | None) -> Step | None:
        """Wait only for a moment, while the drain has no place: a `Limit` before *limit*.

        Nothing is read before enough has come, as far as that is seen: then the answer need not
        suffer from the end.
        """
        if place.take():
            self._cut_outcome = Outcome.IDLE
            return step if limit is None else limit(step)
        assert self._descriptor is not None  # or the drain would not have begun
        self._cut_outcome = Outcome.AT_CAPACITY
        drain, remaining = self._drain, self._drain.remaining_bytes
        buffered = self._connection.buffered_bytes
        if buffered is None and (remaining is None or remaining <= _NEAR_END_BYTES):
            # The server may have it in a buffer of its own.
            seconds = min(step.wait_seconds, _HURRY_SECONDS)
            hurried = step._replace(wait_seconds=seconds, most_seconds=seconds)
            return hurried if limit is None else limit(hurried)
        enough_bytes = _HURRY_BYTES if remaining is None else min(_HURRY_BYTES, remaining)
        until = time.monotonic() + _HURRY_SECONDS
        while (come := self._arrived_bytes(self._descriptor) + (buffered or 0)) < enough_bytes:
            if time.monotonic() >= until:
                return drain.stop(Outcome.AT_CAPACITY, time.monotonic(), _TOO_MANY_THREADS)
            self._connection.sleep(_LOOK_SECONDS)
        return _with_max_bytes(step, come)

    def until_quiet(self, step: Read) -> Read | None:
        """Ask for what has arrived: a `Limit` that lets the drain pause when the client is quiet.

        It waits a moment for some. Told by the connection alone: what the server has in a buffer
        of its own is not seen, and only makes the client seem quiet too early.
        """
        remaining = self._drain.remaining_bytes
        if self._descriptor is None or (remaining is not None and remaining <= _NEAR_END_BYTES):
            return step
        wait_seconds = 0 if self.client_is_quiet else _QUIET_SECONDS
        self.client_is_quiet = not self._connection.is_readable(self._descriptor, wait_seconds)
        if self.client_is_quiet:
            self._drain.pause(time.monotonic())
            return None
        return _with_max_bytes(step, max(1, self._arrived_bytes(self._descriptor)))

    def gently(self, step: Read) -> Step:
        """Ask for what has come: a `Limit` where a read that is ended would cost the answer."""
        assert self._descriptor is not None  # or nobody could end a read
        buffered = self._connection.buffered_bytes
        if buffered is not None:
            return self._when_enough_has_come(step, self._descriptor)
        # What the server has is not known. The socket's own timeout ends a read of one byte.
        now = time.monotonic()
        arrived = self._arrived_bytes(self._descriptor)
        if arrived < _RECORD_BYTES and not self._is_plain:
            arrived = 0  # perhaps no more than a part of a record
        is_at_once = now - self._asked_at < _AT_ONCE_SECONDS
        self._unseen_bytes = min(_UNSEEN_BYTES, self._unseen_bytes * 2) if is_at_once else 1
        # Only a read of what was not seen to be there tells that there may be more.
        self._asked_at = now if arrived == 0 else 0.0
        return _with_max_bytes(step, max(arrived, self._unseen_bytes))

    def _when_enough_has_come(self, step: Read, descriptor: int) -> Step:
        """Wait without a read until one does not block, or until the drain ends."""
        drain, connection = self._drain, self._connection
        until = time.monotonic() + step.wait_seconds
        enough_bytes = connection.smallest_read_bytes
        if drain.remaining_bytes is not None:
            enough_bytes = min(enough_bytes, drain.remaining_bytes)
        while True:
            arrived = self._arrived_bytes(descriptor)
            come = arrived + (connection.buffered_bytes or 0)
            if come >= enough_bytes:
                return _with_max_bytes(step, come)
            if not arrived and connection.is_readable(descriptor, 0):
                if not self._arrived_bytes(descriptor):
                    return step  # the client has left
                continue  # a byte came behind the first look
            now = time.monotonic()
            if now >= until:
                later = drain.waited(now)
                if isinstance(later, DrainReport):
                    return later
                until = now + later.wait_seconds
            connection.sleep(_LOOK_SECONDS)

    def _read_once(self, step: Read, deadline: Deadline) -> Step:
        drain, kept = self._drain, self._kept
        remaining = drain.remaining_bytes
        error: Exception | None = None
        data = b""
        started = time.monotonic()
        deadline.allow(step.wait_seconds, step.most_seconds)
        try:
            data = self._stream.read(step.max_bytes)
        except Exception as exc:
            error = exc.with_traceback(None)  # or that and this frame would hold each other
        now = time.monotonic()
        nbytes = len(data)
        if self._descriptor is None:
            moved(now)
        is_broken_off = error is not None or (deadline.fired and nbytes != remaining)
        if kept is not None:
            kept.add(data)
            kept.is_cut = is_broken_off
        if is_broken_off:
            return self._broken_off(error, nbytes, now, deadline)
        if nbytes == 0:
            if remaining is not None:
                return drain.disconnected(now)
            return drain.received(0, more=False, now=now)
        next_step = drain.received(nbytes, more=nbytes != remaining, now=now)
        if (
            self._descriptor is None
            and isinstance(next_step, Read)
            and drain.is_silence(nbytes, now - started)
        ):
            # Nothing could end this read, which elsewhere would have been ended.
            return drain.stop(Outcome.IDLE, now)
        return next_step

    def _broken_off(
        self, error: Exception | None, nbytes: int, now: float, deadline: Deadline
    ) -> DrainReport:
        """End the drain behind a read that failed, or that the deadline ended half-way.

        Behind the deadline the server may call what is missing malformed, or a client that left.
        """
        drain = self._drain
        if deadline.fired or error is None or isinstance(error, TimeoutError):
            # Such a read cannot be taken up again, whatever the deadline.
            step = drain.waited(now, nbytes, last_at=deadline.last_at)
            if isinstance(step, DrainReport):
                return step
            # The server's own time limit was shorter, or by a tick; or there was a hurry.
            return drain.stop(self._cut_outcome, now, "" if error is None else str(error))
        if isinstance(error, OSError):
            return drain.stop(Outcome.DISCONNECTED, now, str(error))
        # The server found the body malformed; it knows not to use the connection again.
        return drain.stop(Outcome.ERROR, now, f"{type(error).__name__}: {error}")

    def _arrived_bytes(self, descriptor: int) -> int:
        """Return how much of the body a connection surely has."""
        waiting = waiting_bytes(descriptor)
        # Chunk headers and TLS records are not body: half of what came surely is.
        return waiting if self._is_plain else (waiting + 1) // 2

    @property
    def _is_plain(self) -> bool:
        return self._drain.framing.kind is BodyKind.LENGTH and not self._connection.is_tls


def _with_max_bytes(step: Read, max_bytes: int) -> Read:
    return step._replace(max_bytes=min(step.max_bytes, max_bytes))


def wait_until_taken(descriptor: int, sleep: Callable[[float], None]) -> None:
    """Wait until the peer of a Unix socket has read what was written to it, or for a second.

    Its next write fails once the socket is shut, and its next read once the socket is closed with
    bytes unread, before it has what was written (Linux net/unix/af_unix.c, unix_release_sock).
    """
    until = time.monotonic() + _TAKEN_SECONDS
    waiting = array.array("i", [0])
    with contextlib.suppress(OSError):
        while fcntl.ioctl(descriptor, termios.TIOCOUTQ, waiting) == 0 and waiting[0]:
            if time.monotonic() > until:
                return
            sleep(_LOOK_SECONDS)
