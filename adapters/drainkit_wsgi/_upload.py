"""The body of one request: what becomes of the part that the application does not read.

Rule 1: it knows nothing of the answer but whether the server has written it.
Rule 2: the server's own stream is read, never past what it framed, and never without a bound.
"""

from __future__ import annotations

import functools
import time
from typing import Any, TypeAlias

from drainkit import (
    BodyKind,
    Drain,
    DrainReport,
    Framing,
    Kept,
    OnReport,
    Outcome,
    Read,
    answered,
    framing,
    keep_heap,
    publish,
)

from ._input import NO_LENGTH, Input
from ._reading import Limit, Reading, wait_until_taken
from ._threads import bounds_of, moved, wait_for_room
from ._types import Environ, StartResponse
from ._watchdog import Deadline, is_unix_socket, shut_read_side
from .servers import Invitation, Server

# What becomes of such a body is the server's business, as it is without drainkit. After everything
# else the server must not go on with it: some read a malformed body to its end, or wait in the one
# thread that accepts connections for a body for which there was no room.
_LEFT_TO_THE_SERVER = frozenset(
    {Outcome.COMPLETE, Outcome.DECLINED, Outcome.EXPECT_PENDING, Outcome.UNFRAMED}
)

_READ_BY_A_THREAD = "a thread of the application is reading the body"

# How much of the time that a server allows for a request may go by before its drain ends: gunicorn
# allows 30 seconds, and what is under way then is lost.
_SHARE_OF_REQUEST = 2 / 3

Request: TypeAlias = tuple[str, str, str, str]
"""The protocol and the method of a request, and its path in two parts."""

Facts: TypeAlias = tuple[Environ, Any, Server, "Framing | int", bool, float, Request]
"""What is taken down of each request with a body, for the few that will need a drain.

The environ; the server's own stream; the server; how the body is framed (its length, if that is all
there is to say), and whether the application reads it elsewhere than from ``wsgi.input``; when the
request began, in seconds of `time.monotonic`; and what it is: now, because an application may
change its environ.
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
        "_most",
        "_on_report",
        "_place",
        "_since",
        "_source",
        "client_is_quiet",
        "connection",
        "drain",
        "environ",
        "server",
    )

    def __init__(
        self,
        facts: Facts,
        source: Input,
        start_response: StartResponse | None,
        on_report: OnReport | None,
    ) -> None:
        """Begin with what the application has left of the body by now.

        Args:
            facts: What is known of the request.
            source: What the application has of the body.
            start_response: The server's; ``None`` where the adapter does not have it.
            on_report: Told of the drain; ``None`` when nobody is.
        """
        environ, stream, server, framed, self._is_read_elsewhere, self._since, request = facts
        protocol, method, script_name, path_info = request
        self._on_report = on_report
        if isinstance(framed, int):
            framed = Framing(BodyKind.LENGTH, framed)
        self.environ = environ
        self.server = server
        self.client_is_quiet = False
        self.connection = server.connection(environ, stream, start_response)
        defaults, self._place = bounds_of(environ, server, self.connection)
        self._most = defaults.max_concurrent
        self.drain = drain = Drain(
            source.policy,
            framed,
            protocol=protocol,
            server=server.name,
            method=method,
            path=script_name + path_info,
            defaults=defaults,
        )
        if server.invitation is not Invitation.ON_READ:
            drain.invited = True  # or never will be: a read does not change it
        whole_bytes = NO_LENGTH if framed.length is None else framed.length
        self._source = source
        self._input = source.take(drain, whole_bytes)

    @property
    def _leaves_threads(self) -> bool:
        """Whether the site has not said how many drains there may be at once."""
        policy = self.drain.policy
        return policy is None or policy.max_concurrent is None

    @property
    def bears_shutting(self) -> bool:
        """Whether the answer still arrives when the read side of the connection has been shut.

        Over TLS it does not: OpenSSL 3 takes the end of the stream for an error. And on a Unix
        socket the peer's writes fail at once: nginx then answers 502.
        """
        return not (self._is_unix or self.connection.is_tls)

    @property
    def waits_until_taken(self) -> bool:
        """Whether the peer needs time to read the answer, before its connection is closed.

        The peer of a Unix socket that is closed with bytes unread loses what it has not read.
        """
        report = self.drain.report
        return report is not None and report.outcome not in _LEFT_TO_THE_SERVER and self._is_unix

    def wait_until_taken(self) -> None:
        """Wait until the peer has read the answer, or for a moment."""
        descriptor = self.connection.descriptor
        if descriptor is not None:
            wait_until_taken(descriptor, self.connection.sleep)

    @property
    def _is_unix(self) -> bool:
        descriptor = self.connection.descriptor
        return descriptor is not None and is_unix_socket(descriptor)

    @property
    def _must_be_gentle(self) -> bool:
        """Whether no read may be ended before the answer.

        Not over TLS where a server gathers bytes for each read: what it then leaves on the
        connection when it closes it costs the answer, too (TCP answers unread data with a reset).
        """
        gathers = self.connection.smallest_read_bytes > 1
        return not (self.bears_shutting or (self.connection.is_tls and gathers))

    @property
    def is_interruptible(self) -> bool:
        """Whether a read can be ended at a deadline."""
        return self.connection.descriptor is not None

    def answered(self) -> None:
        """Take note that the application begins to answer, in its own context."""
        self._on_report = answered(self._on_report)

    def discard(self, *, is_answered: bool = False, may_read_on: bool = False) -> None:
        """Read the body away, within the policy's bounds, and report. Does nothing twice.

        Args:
            is_answered: Whether the server has written the end of the answer, so that the read
                side of the connection may be shut.
            may_read_on: Whether the application may still read, so that some of the body is kept.

        Raises nothing but what interrupts the whole process (`KeyboardInterrupt` and the like).
        """
        drain = self.drain
        if not drain.settled:
            self._discard(is_answered=is_answered, may_read_on=may_read_on)
        if drain.report is None or drain.finished:
            return
        if is_answered:
            self._shut_if_left(drain.report)
        if not may_read_on and drain.report.outcome.closes:
            self.connection.leave_body()  # last: it may close what reaches the connection

    def _discard(self, *, is_answered: bool, may_read_on: bool) -> None:
        kept = self._keep()
        if may_read_on:
            self._make_room(kept)
        else:
            kept.lose()
        step = self._begin()
        if step is not None:
            self._read_away(step, kept if may_read_on else None, is_answered=is_answered)
        if not may_read_on:
            # A read that failed does not fail twice: who reads in close() would see the end.
            drain = self.drain
            is_left = drain.report is not None and drain.report.outcome is Outcome.DECLINED
            kept.is_cut = not (step is None or is_left or drain.finished)
            kept.lost_bytes = drain.bytes_discarded
        kept.settle()

    def _forget_kept(self) -> None:
        """Keep nothing any more: the answer is over, and nobody can ask."""
        if self._input.kept is not None:
            self._input.kept.lose()

    def read_ahead(self) -> None:
        """Read the body off the connection, and keep some of it for the application."""
        drain = self.drain
        if drain.settled or drain.policy is None or self._is_read_elsewhere:
            return  # what is read away could not be given to the application
        if not drain.invited:
            return  # nothing comes, and the application may still invite it
        kept = self._keep()
        self._make_room(kept)
        try:
            step = self._begin()
            if step is not None:
                self._read_away(step, kept, may_pause=True)
        finally:
            kept.settle()

    def _stop(self, reason: BaseException) -> None:
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

    def _make_room(self, kept: Kept) -> None:
        """Let what is read be lost if the process keeps so much already."""
        if not kept.reserve(self.drain.remaining_bytes):
            kept.crowd_out()

    def _begin(self) -> Read | None:
        """Return the first read; ``None`` when the drain has ended before it began."""
        drain = self.drain
        keep_heap()
        if self._leaves_threads and not self.is_interruptible:
            wait_for_room(self._most)
        step = drain.begin(
            time.monotonic(),
            since=self._since,
            until=self._since + self.connection.request_seconds * _SHARE_OF_REQUEST,
            largest_read_bytes=self.server.largest_read_bytes,
            may_invite=False,
        )
        if isinstance(step, Read):
            if not self.is_interruptible:
                moved(time.monotonic())
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
        socket = None if is_answered else connection.socket
        descriptor = connection.descriptor
        deadline = Deadline(descriptor, socket)
        reading = Reading(drain, self._input.stream, connection, descriptor, kept)
        limit: Limit | None = None
        if may_pause:
            reading.client_is_quiet = self.client_is_quiet
            limit = reading.until_quiet
        elif socket is not None and self._must_be_gentle:
            limit = reading.gently
        place = self._place if descriptor is not None and not may_pause else None
        if place is not None and self._leaves_threads:
            limit = functools.partial(reading.in_a_hurry, place=place, limit=limit)
        source = self._input
        source.sleep = connection.sleep
        # First: a thread that begins to read behind the question waits.
        source.is_drained = True
        source.is_shared |= self._source.is_being_read
        try:
            if source.is_shared:
                return drain.stop(Outcome.DECLINED, time.monotonic(), _READ_BY_A_THREAD)
            with deadline:
                report = reading.run(deadline, step, limit)
        except (OSError, RuntimeError) as exc:
            # Without a descriptor or a thread there is no deadline, and without that no bound.
            report = drain.stop(Outcome.ERROR, time.monotonic(), f"cannot watch: {exc}")
        finally:
            if place is not None:
                place.give_back()
            source.is_drained = False
        if may_pause:
            self.client_is_quiet = reading.client_is_quiet
        # Only now is it certain: the deadline may have come behind the last read.
        return self._cut(report, kept) if deadline.fired else report

    def _cut(self, report: DrainReport | None, kept: Kept | None) -> DrainReport:
        """Take note that a deadline has ended what the connection gives."""
        if report is None:
            report = self.drain.stop(Outcome.IDLE, time.monotonic())
        if kept is not None and not self.drain.finished:
            kept.is_cut = True
        self.connection.refuse_reuse()
        return report

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
