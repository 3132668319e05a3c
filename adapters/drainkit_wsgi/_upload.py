"""The body of one request: what becomes of the part that the application does not read.

Rule 1: it knows nothing of the answer but whether the server has written it.
Rule 2: the server's own stream is read, never past what it framed, and never without a bound.
"""

from __future__ import annotations

import array
import selectors
import sys
import time
from types import BuiltinFunctionType
from typing import TypeAlias

from drainkit import (
    BodyKind,
    Drain,
    DrainReport,
    Framing,
    Kept,
    OnReport,
    Outcome,
    Read,
    Step,
    framing,
    keep_heap,
    publish,
)

from ._input import NO_LENGTH, Input
from ._types import Environ, StartResponse
from ._watchdog import Deadline, shut_read_side
from .servers import Invitation, Server

if sys.platform != "win32":  # where no connection is reached, and nothing is asked of one
    import fcntl
    import termios

# How long a client may be silent before an answer that waits for its upload goes on: an eager
# client (curl) stops sending when it has seen the status, and waits for the rest.
_QUIET_SECONDS = 0.5

# The end of a body may already be in a buffer of the server, where its connection does not show
# it, and is the last place where a client would stop sending.
_NEAR_END_BYTES = 65_536

# What becomes of such a body is the server's business, as it is without drainkit. After everything
# else the server must not go on with it: some read a malformed body to its end, or wait in the one
# thread that accepts connections for a body for which there was no room.
_LEFT_TO_THE_SERVER = frozenset(
    {Outcome.COMPLETE, Outcome.DECLINED, Outcome.EXPECT_PENDING, Outcome.UNFRAMED}
)

# Where threads are greenlets, nobody else runs while the client sends faster than it is read.
_TURN_SECONDS = 0.01
_TURN_OF_OTHERS_SECONDS = 0.001


Facts: TypeAlias = tuple[
    Environ, Server, "Framing | int", bool, "OnReport | None", float, str, str, str, str
]
"""What is taken down of each request with a body, for the few that will need a drain.

The environ; the server; how the body is framed (its length, if that is all there is to say), and
whether the application reads it elsewhere than from ``wsgi.input``; who is told; when the request
began, in seconds of `time.monotonic`; the protocol, the method, and the path in its two parts. The
last ones now, because an application may change its environ.
"""


class Upload:
    """The body of one request that needs a drain, to the drain's end.

    Attributes:
        drain: The engine's drain of this body.
        environ: The request's environ.
        server: What is known of the server.
        connection: The request's connection, as far as it can be reached.
        client_is_quiet: Whether the client has stopped sending, so that it reads.
    """

    __slots__ = (
        "_input",
        "_is_read_elsewhere",
        "_on_report",
        "_since",
        "client_is_quiet",
        "connection",
        "drain",
        "environ",
        "server",
    )

    def __init__(self, facts: Facts, source: Input, start_response: StartResponse | None) -> None:
        """Begin with what the application has left of the body by now.

        Args:
            facts: What is known of the request.
            source: What the application has of the body.
            start_response: The server's; ``None`` where the adapter does not have it.
        """
        (
            environ, server, framed, self._is_read_elsewhere, self._on_report, self._since,
            protocol, method, script_name, path_info,
        ) = facts  # fmt: skip
        if isinstance(framed, int):
            framed = Framing(BodyKind.LENGTH, framed)
        self.environ = environ
        self.server = server
        self.client_is_quiet = False
        self.drain = drain = Drain(
            source.policy,
            framed,
            protocol=protocol,
            server=server.name,
            method=method,
            path=script_name + path_info,
        )
        if server.invitation is not Invitation.ON_READ:
            drain.invited = True  # or never will be: a read does not change it
        whole_bytes = NO_LENGTH if framed.length is None else framed.length
        drain.bytes_read = whole_bytes - source.left_bytes
        self._input = source.take(drain)
        self.connection = server.connection(environ, self._input.stream, start_response)

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do: the body has been read, or its drain has ended."""
        return self.drain.settled

    @property
    def is_interruptible(self) -> bool:
        """Whether a read can be ended at a deadline."""
        return self.connection.descriptor is not None

    def discard(self, *, is_answered: bool = False, may_read_on: bool = False) -> None:
        """Read the body away, within the policy's bounds, and report. Does nothing twice.

        Args:
            is_answered: Whether the whole answer has gone out, as it has when the server calls
                the iterable's ``close()``.
            may_read_on: Whether the application may still read, so that some of the body is kept.

        Raises nothing but what interrupts the whole process (`KeyboardInterrupt` and the like).
        """
        drain = self.drain
        if not drain.settled:
            kept = self._keep()
            if not may_read_on:
                kept.lose()
            step = self._begin()
            if step is not None:
                self._read_away(step, kept if may_read_on else None, is_answered=is_answered)
            if not may_read_on:
                # A read that failed does not fail twice: who reads in close() would see the end.
                kept.is_cut = step is not None and not drain.finished
                kept.lost_bytes = drain.bytes_discarded
        if is_answered and not drain.finished and drain.report is not None:
            self._shut_if_left(drain.report)

    def read_ahead(self) -> None:
        """Read the body off the connection, and keep some of it for the application."""
        drain = self.drain
        if drain.settled or drain.policy is None or self._is_read_elsewhere:
            return  # what is read away could not be given to the application
        if not drain.invited:
            return  # nothing comes, and the application may still invite it
        kept = self._keep()
        step = self._begin()
        if step is not None:
            self._read_away(step, kept, may_pause=True)

    def stop(self, reason: BaseException) -> None:
        """Leave the body alone: the process, its worker or this greenlet is being ended."""
        if not self.drain.settled:
            self._publish(self.drain.stop(Outcome.ERROR, time.monotonic(), type(reason).__name__))

    def _keep(self) -> Kept:
        """Return what is kept of the body; from now on the application reads from there."""
        kept = self._input.kept
        if kept is None:
            policy = self.drain.policy
            kept = self._input.kept = Kept(0 if policy is None else policy.late_read_bytes)
        return kept

    def _begin(self) -> Read | None:
        """Return the first read; ``None`` when the drain has ended before it began."""
        drain = self.drain
        keep_heap()
        step = drain.begin(
            time.monotonic(),
            since=self._since,
            largest_read_bytes=self.server.largest_read_bytes,
            may_invite=False,
        )
        if isinstance(step, Read):
            return step
        self._publish(step)
        return None

    def _read_away(
        self, step: Read, kept: Kept | None, *, is_answered: bool = False, may_pause: bool = False
    ) -> None:
        """Read until the drain ends, or pauses for an application that is to go on.

        Args:
            step: The first read.
            kept: Keeps what is read for an application that may still read; ``None`` when it may
                not.
            is_answered: Whether the whole answer has gone out.
            may_pause: Whether to pause when the client is quiet.
        """
        try:
            report = self._read_in_time(step, kept, is_answered=is_answered, may_pause=may_pause)
        except BaseException as exc:
            # The process or its worker ends, or this greenlet was given up.
            self._publish(self.drain.stop(Outcome.ERROR, time.monotonic(), type(exc).__name__))
            raise
        if report is not None:
            self._publish(report)

    def _read_in_time(
        self, step: Read, kept: Kept | None, *, is_answered: bool, may_pause: bool
    ) -> DrainReport | None:
        """Do so with a deadline for each read, and return the report; ``None`` for a pause."""
        drain = self.drain
        connection = self.connection
        descriptor = connection.descriptor
        deadline = Deadline(descriptor, None if is_answered else connection.socket)
        try:
            with deadline:
                watched = descriptor if may_pause else None
                report = self._read_until(deadline, step, kept, watched)
        except (OSError, RuntimeError) as exc:
            # Without a descriptor or a thread there is no deadline, and without that no bound.
            report = drain.stop(Outcome.ERROR, time.monotonic(), f"cannot watch: {exc}")
        # Only now is it certain: the deadline may have come behind the last read.
        if deadline.fired:
            if report is None:
                report = drain.stop(Outcome.IDLE, time.monotonic())
            if kept is not None and not drain.finished:
                kept.is_cut = True
            connection.refuse_reuse()
        return report

    def _read_until(
        self, deadline: Deadline, step: Read, kept: Kept | None, watched: int | None
    ) -> DrainReport | None:
        """Return the report; ``None`` for a pause, as nothing comes on the *watched* connection."""
        drain = self.drain
        # Libraries of greenlets put a function of theirs in its place.
        has_greenlets = not isinstance(time.sleep, BuiltinFunctionType)
        turn_ends = time.monotonic() + _TURN_SECONDS
        while True:
            if watched is not None and not self._is_near_end:
                arrived = self._arrived_bytes(watched)
                if not arrived:
                    drain.pause(time.monotonic())
                    return None
                step = step._replace(max_bytes=min(step.max_bytes, arrived))
            next_step = self._read_once(step, deadline, kept)
            if isinstance(next_step, DrainReport):
                return next_step
            step = next_step
            if has_greenlets and time.monotonic() > turn_ends:
                time.sleep(_TURN_OF_OTHERS_SECONDS)
                turn_ends = time.monotonic() + _TURN_SECONDS

    def _read_once(self, step: Read, deadline: Deadline, kept: Kept | None) -> Step:
        drain = self.drain
        remaining = drain.remaining_bytes
        error: Exception | None = None
        data = b""
        started = time.monotonic()
        deadline.allow(step.wait_seconds)
        try:
            data = self._input.stream.read(step.max_bytes)
        except Exception as exc:
            error = exc.with_traceback(None)  # or that and this frame would hold each other
        now = time.monotonic()
        nbytes = len(data)
        is_broken_off = error is not None or (deadline.fired and nbytes != remaining)
        if kept is not None:
            kept.add(data)
            kept.is_cut = is_broken_off
        if is_broken_off:
            return self._broken_off(error, nbytes, now, is_late=deadline.fired)
        if nbytes == 0:
            if remaining is not None:
                return drain.disconnected(now)
            return drain.received(0, more=False, now=now)
        next_step = drain.received(nbytes, more=nbytes != remaining, now=now)
        if isinstance(next_step, Read) and now - started > step.wait_seconds:
            # Nothing could end this read: its bytes are no progress, as elsewhere.
            return drain.stop(Outcome.IDLE, now)
        return next_step

    def _broken_off(
        self, error: Exception | None, nbytes: int, now: float, *, is_late: bool
    ) -> DrainReport:
        """End the drain behind a read that failed, or that the deadline ended half-way.

        Behind the deadline the server may call what is missing malformed, or a client that left.
        """
        drain = self.drain
        if is_late or error is None or isinstance(error, TimeoutError):
            # Such a read cannot be taken up again, whatever the deadline.
            step = drain.waited(now, nbytes)
            if isinstance(step, DrainReport):
                return step
            # The server's own time limit was shorter, or by a tick.
            return drain.stop(Outcome.IDLE, now, "" if error is None else str(error))
        if isinstance(error, OSError):
            return drain.stop(Outcome.DISCONNECTED, now, str(error))
        # The server found the body malformed; it knows not to use the connection again.
        return drain.stop(Outcome.ERROR, now, f"{type(error).__name__}: {error}")

    @property
    def _is_near_end(self) -> bool:
        remaining = self.drain.remaining_bytes
        return remaining is not None and remaining <= _NEAR_END_BYTES

    def _arrived_bytes(self, descriptor: int) -> int:
        """Return how much of the body may be read without waiting; 0 if the client is quiet.

        It waits a moment for some. Told by the connection alone: what the server has in a buffer
        of its own is not seen, and only makes the client seem quiet too early.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            wait_seconds = 0 if self.client_is_quiet else _QUIET_SECONDS
            self.client_is_quiet = not selector.select(wait_seconds)
        if self.client_is_quiet:
            return 0
        waiting = array.array("i", [0])
        fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
        # Chunk headers and TLS records are not body: half of what came surely is.
        is_tls = self.environ.get("wsgi.url_scheme") == "https"
        is_plain = self.drain.framing.kind is BodyKind.LENGTH and not is_tls
        return max(1, waiting[0] if is_plain else waiting[0] // 2)

    def _shut_if_left(self, report: DrainReport) -> None:
        """Behind the answer, do not let the server go on where the bounds said to stop."""
        if report.outcome not in _LEFT_TO_THE_SERVER:
            descriptor = self.connection.descriptor
            if descriptor is not None:
                shut_read_side(descriptor)

    def _publish(self, report: DrainReport) -> None:
        if not self.drain.finished and report.outcome.closes:
            self.connection.refuse_reuse()
        publish(report, self._on_report, time.monotonic())


def framing_of(environ: Environ, server: Server) -> Framing:
    """Tell how the body of a request is framed, as far as its server's stream is to be read."""
    encoding = expect = None
    if "HTTP_TRANSFER_ENCODING" in environ:
        encoding = server.connection.transfer_encoding(environ)
    # Where the invitation has gone out, the body comes like any other.
    if "HTTP_EXPECT" in environ and server.invitation is not Invitation.SENT:
        expect = environ["HTTP_EXPECT"]
    protocol: str = environ.get("SERVER_PROTOCOL", "")
    length = environ.get("CONTENT_LENGTH")
    return framing(
        http_version=protocol[5:],
        # A number, in the environs of some test clients.
        content_length=None if length is None else str(length),
        transfer_encoding=encoding,
        expect=expect,
    )
