"""The engine: what to read next, and when to stop.

Rule 1: sans-IO. It is told what happened and when, and says what to do next; it never reads a
clock, a socket or a stream.
Rule 2: it counts bytes and never keeps one.
Rule 3: a place taken in the process's capacity is given back by whatever ends the drain.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

from ._capacity import Capacity, process_capacity
from ._framing import BodyKind, Framing
from ._policy import DEFAULTS, Defaults, DrainPolicy, Resource
from ._report import DrainReport, Outcome

# Largest read that is asked for, unless the adapter knows better. Servers hand over 64 KiB at a
# time at the most (uvicorn's HIGH_WATER_LIMIT, hypercorn's MAX_RECV), and a blocked read holds its
# buffer meanwhile.
_LARGEST_READ_BYTES = 65_536

# A blocking read of n bytes returns when n bytes came, so a read that is too large for a slow
# client looks like silence. Reads begin with what the slowest tolerated client sends before it
# counts as idle, and grow while they return quickly. What has waited in a buffer returns quickly,
# too, whatever the client: so they only double, to what comes in a long read's time on average
# since the request began, and shrink faster.
_SMALLEST_READ_BYTES = 512
_READ_GROWTH = 2
_READ_SHRINKAGE = 4

# Three subtractions of times make at most so many rounding errors.
_TICKS = 4
_QUICK_READ = 1 / 8  # of idle_seconds
_LONG_READ = 1 / 4  # of idle_seconds


class Read(NamedTuple):
    """The next step: read some of the body and throw it away.

    Attributes:
        max_bytes: Ask for no more bytes than this; never more than is left of a body whose length
            is known, unless only its end is left to be told of. A server that hands over messages
            of its own size may exceed it.
        wait_seconds: Wait no longer than this, then call `Drain.waited`.
        most_seconds: A read that blocks until it has all that it asked for may last so long, if
            the client is seen to send meanwhile, and is never silent for *wait_seconds*: to the
            nearest bound that no byte moves.
    """

    max_bytes: int
    wait_seconds: float
    most_seconds: float


Step: TypeAlias = Read | DrainReport
"""What to do next: read, or stop because the drain has ended."""


# Every body costs one look-up, and in an enum that is slow before Python 3.12.
_NO_BODY = BodyKind.NO_BODY


class Drain:
    """The drain of one request's body.

    An adapter tells it what the application reads (`app_read` or `app_read_stream`), begins it
    when the application has answered (`begin`), and then does what each step says until a step is
    a `DrainReport`.
    Times are seconds on any clock that never goes backwards.

    1. `begin` decides whether anything is to be read at all.
    2. Every `Read` names the nearest of three deadlines: silence, the whole drain, the rate.
    3. `received` counts, and ends the drain at its end or at a bound; only bytes are progress,
       an empty message is not.
    4. `waited` finds out which deadline passed.

    Attributes:
        policy: The bounds; ``None`` leaves the body alone. Another one has an effect until the
            drain begins.
        framing: The body's framing.
        bytes_read: Body bytes that the application has read.
        bytes_discarded: Body bytes that were thrown away.
        finished: Whether the body has been read to its end.
        invited: Whether the client sends its body without more ado. False as long as it waits for
            ``100 Continue``. The adapter sets it when somebody has asked for the body; once the
            application has read some of it, it is true.
        under_way: Whether the drain has begun, and neither ended nor paused.
        status: The response's status code, once the adapter has seen it.
        protocol: For the report, as the three below; may be set until the drain ends.
        server: The server's name.
        method: The request's method.
        path: The request's path without its query.
        report: The report, once the drain has ended; ``None`` before.
    """

    __slots__ = (
        "_arrived_bytes",
        "_bounds",
        "_capacity",
        "_defaults",
        "_doomed",
        "_elapsed",
        "_ends_at",
        "_idle_seconds",
        "_invited",
        "_largest_read_bytes",
        "_last_progress",
        "_last_read",
        "_max_concurrent",
        "_max_seconds",
        "_placed",
        "_read_bytes",
        "_since",
        "_started",
        "bytes_discarded",
        "bytes_read",
        "finished",
        "framing",
        "method",
        "path",
        "policy",
        "protocol",
        "report",
        "server",
        "status",
        "under_way",
    )

    def __init__(
        self,
        policy: DrainPolicy | None,
        framing: Framing,
        *,
        protocol: str = "",
        server: str = "unknown",
        method: str = "",
        path: str = "",
        defaults: Defaults = DEFAULTS[Resource.PROCESS],
        capacity: Capacity = process_capacity,
    ) -> None:
        """Prepare the drain of one request's body.

        Args:
            policy: The bounds; ``None`` leaves the body alone.
            framing: The body's framing.
            protocol: For the report: ``"HTTP/1.1"`` and so on.
            server: For the report: the server's name.
            method: For the report: the request's method.
            path: For the report: the request's path without its query.
            defaults: The bounds that a policy does not set, by what the drain holds (`DEFAULTS`);
                the most careful ones, unless the adapter knows better.
            capacity: Where places are counted: in the whole process, as a rule.
        """
        self.policy = policy
        self.framing = framing
        self.protocol = protocol
        self.server = server
        self.method = method
        self.path = path
        self.bytes_read = 0
        self.bytes_discarded = 0
        self.finished = framing.kind is _NO_BODY
        self._invited = not framing.expects_continue
        self.under_way = False
        self.status: int | None = None
        self.report: DrainReport | None = None
        self._defaults = defaults
        self._capacity = capacity
        self._placed = False
        # The bounds in force, once the drain has begun.
        self._idle_seconds = defaults.idle_seconds
        self._max_seconds: float | None = None
        self._max_concurrent: int | None = None
        self._elapsed = 0.0
        # What the client sent since the beginning, whoever had it in the end.
        self._arrived_bytes = 0

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do, because the body has been read or its drain has ended."""
        return self.finished or self.report is not None

    @property
    def invited(self) -> bool:
        return self._invited or self.bytes_read > 0

    @invited.setter
    def invited(self, invited: bool) -> None:
        self._invited = invited

    @property
    def idle_seconds(self) -> float:
        """The longest silence of the client in seconds, by the policy or by what is held."""
        seconds = None if self.policy is None else self.policy.idle_seconds
        return self._defaults.idle_seconds if seconds is None else seconds

    @property
    def untouched(self) -> bool:
        """Whether the application has not read a byte."""
        return self.bytes_read == 0

    @property
    def remaining_bytes(self) -> int | None:
        """Bytes of the body that nobody has read yet; ``None`` when its length is not known."""
        length = self.framing.length
        if length is None:
            return None
        left_bytes = length - self.bytes_read - self.bytes_discarded
        return left_bytes if left_bytes > 0 else 0

    @property
    def doomed(self) -> bool:
        """Whether it is already known that this drain could not take the whole body."""
        remaining = self.remaining_bytes
        return (
            self.policy is not None
            and self.policy.max_bytes is not None
            and remaining is not None
            and remaining > self.policy.max_bytes - self.bytes_discarded
        )

    def app_read(self, nbytes: int, more: bool) -> None:
        """Take note that the application read *nbytes* of the body.

        Args:
            nbytes: How many bytes.
            more: Whether the body goes on, as far as the reader knows.
        """
        self.bytes_read += nbytes
        if not more:
            self.finished = True

    def app_read_stream(self, nbytes: int, at_end: bool) -> None:
        """Take note of a read from a stream, which ends where the declared length does.

        Args:
            nbytes: How many bytes.
            at_end: Whether the stream itself said that the body has ended.
        """
        self.bytes_read += nbytes
        length = self.framing.length
        if at_end or (length is not None and self.bytes_read >= length):
            self.finished = True

    def late_read(self, nbytes: int) -> None:
        """Take note that the application was given *nbytes* that had been read ahead for it.

        They count as read by the application from now on, and no longer as discarded.
        """
        self.bytes_discarded -= nbytes
        self.bytes_read += nbytes

    def begin(
        self,
        now: float,
        *,
        since: float | None = None,
        until: float = math.inf,
        largest_read_bytes: int = _LARGEST_READ_BYTES,
        may_invite: bool = True,
    ) -> Step:
        """Begin, or go on after `pause`: the body is to be read away now.

        Args:
            now: The time in seconds.
            since: When the request began, for adapters whose reads block: some of the body has
                come since then, and does not tell how fast the rest will. ``None`` is *now*.
            until: When the drain must be over whatever the policy, because the server ends what
                takes longer.
            largest_read_bytes: The most that one read is to ask for.
            may_invite: Whether to read although the first read might invite a client that waits
                for it; otherwise the drain of such a body ends before it begins.

        Returns:
            What to read, or the report of a drain that ended before it began.

        Raises:
            RuntimeError: The drain is under way or has ended.
        """
        if self.under_way or self.report is not None:
            raise RuntimeError(f"begin() when {self._state}")
        self._started = now - self._elapsed
        policy = self.policy
        if self.finished:
            return self._end(Outcome.COMPLETE, now)
        if policy is None or policy.max_bytes == 0:
            return self._end(Outcome.DECLINED, now)
        if self.framing.kind is BodyKind.UNKNOWN:
            return self._end(Outcome.UNFRAMED, now, self.framing.problem or "")
        if not (may_invite or self.invited):
            return self._end(Outcome.EXPECT_PENDING, now)
        self._ends_at = until
        return self._start(policy, now, since, largest_read_bytes)

    def received(self, nbytes: int, more: bool, now: float) -> Step:
        """Take note that *nbytes* of the body were read and thrown away.

        Args:
            nbytes: How many bytes; ``0`` is no progress.
            more: Whether the body goes on.
            now: The time in seconds.
        """
        if not self.under_way:  # not by a call: this one is made for every read
            raise RuntimeError(f"received() when {self._state}")
        self.bytes_discarded += nbytes
        self._arrived_bytes += nbytes
        if not more:
            self.finished = True
            return self._end(Outcome.COMPLETE, now)
        if nbytes:
            self._adapt_read_bytes(now)
            self._last_progress = now
        self._last_read = now
        return self._next(now, True)

    def received_rest(self, nbytes: int, now: float) -> DrainReport:
        """End without having begun: the whole rest had come when the application answered.

        Nobody is waited for, so no place is taken and no time counts. An adapter that knows of
        such a rest takes it only if it is no more than ``max_bytes``.

        Args:
            nbytes: How many bytes the rest was.
            now: The time in seconds.

        Returns:
            The report of `Outcome.COMPLETE`, or of `Outcome.DECLINED` where the policy says so.

        Raises:
            RuntimeError: The drain is under way or has ended.
        """
        if self.under_way or self.report is not None:
            raise RuntimeError(f"received_rest() when {self._state}")
        self._started = now - self._elapsed
        self.finished = True
        policy = self.policy
        if policy is None or policy.max_bytes == 0:
            return self._end(Outcome.DECLINED, now)
        self.bytes_discarded += nbytes
        return self._end(Outcome.COMPLETE, now)

    def waited(self, now: float, nbytes: int = 0, *, last_at: float = -math.inf) -> Step:
        """Take note that the wait ran out; one that was cut short goes on.

        Args:
            now: The time in seconds.
            nbytes: Bytes that a blocked read had gathered when it was interrupted. They count as
                discarded, but were not enough to count as progress.
            last_at: When the client was last seen to send, if anybody saw it.
        """
        self._expect_draining("waited")
        self.bytes_discarded += nbytes
        self._arrived_bytes += nbytes
        if last_at > self._last_progress:
            self._last_progress = last_at
        return self._next(now)

    def is_silence(self, nbytes: int, seconds: float) -> bool:
        """Tell whether a read that nobody could watch or end is to count as a silence.

        It is one if it gave less, for each `idle_seconds` that it took, than the slowest client
        sends that is borne.

        Args:
            nbytes: How many bytes it gave.
            seconds: How long it took.

        Raises:
            RuntimeError: The drain is not under way.
        """
        self._expect_draining("is_silence")
        idle_seconds = self._idle_seconds
        if seconds <= idle_seconds:
            return False  # as nearly every read
        least_bytes = slowest_bytes(self._bounds, self._defaults)
        return nbytes * idle_seconds < least_bytes * seconds

    def disconnected(self, now: float) -> DrainReport:
        """Take note that the client left."""
        self._expect_draining("disconnected")
        return self._end(Outcome.DISCONNECTED, now)

    def pause(self, now: float) -> None:
        """Let the application go on: the drain stops for now, and its time stands still.

        Raises:
            RuntimeError: The drain is not under way.
        """
        self._expect_draining("pause")
        self._elapsed = now - self._started
        self.under_way = False
        self._give_back()

    def stop(self, outcome: Outcome, now: float, detail: str = "") -> DrainReport:
        """End the drain for a reason that only the adapter can know.

        May be called at any time; a drain that has ended keeps its first report.

        Args:
            outcome: The reason.
            now: The time in seconds.
            detail: What else there is to say.
        """
        if self.report is not None:
            return self.report
        if not self.under_way:
            self._started = now - self._elapsed
        return self._end(outcome, now, detail)

    @property
    def _state(self) -> str:
        if self.under_way:
            return "a drain is under way"
        return "the application may read the body" if self.report is None else "the drain has ended"

    def _expect_draining(self, call: str) -> None:
        if not self.under_way:
            raise RuntimeError(f"{call}() when {self._state}")

    def _start(
        self, policy: DrainPolicy, now: float, since: float | None, largest_read_bytes: int
    ) -> Step:
        """Return the first read, if there is a place for this drain."""
        defaults = self._defaults
        max_seconds, max_concurrent = policy.max_seconds, policy.max_concurrent
        if max_seconds is None:
            max_seconds = defaults.max_seconds
        self._max_seconds = max_seconds
        ends_at = self._started + max_seconds
        if ends_at < self._ends_at:
            self._ends_at = ends_at
        if max_concurrent is None:
            max_concurrent = defaults.max_concurrent
        self._max_concurrent = max_concurrent
        if not self._capacity.acquire(max_concurrent):
            return self._end(Outcome.AT_CAPACITY, now)
        self._bounds = policy
        self._idle_seconds = self.idle_seconds
        self._placed = True
        self.under_way = True
        self._doomed = self.doomed
        self._last_progress = self._last_read = now
        self._since = now if since is None else since
        self._largest_read_bytes = largest_read_bytes
        self._read_bytes = min(largest_read_bytes, slowest_bytes(policy, self._defaults))
        return self._next(now)

    def _next(self, now: float, tells_end: bool = False) -> Step:
        """Return the next read, or end the drain if a bound has been reached.

        Args:
            now: The time in seconds.
            tells_end: Whether the end of a body that is all there may still be told of.
        """
        # With comparisons and not min(): this is called for every read.
        policy = self._bounds
        max_bytes = self._read_bytes
        if policy.max_bytes is not None:
            left_bytes = policy.max_bytes - self.bytes_discarded
            if left_bytes <= 0:
                is_whole = left_bytes == 0 and self.remaining_bytes == 0
                if not (is_whole and tells_end):
                    return self._end(Outcome.BYTE_LIMIT, now)
            elif left_bytes < max_bytes:
                max_bytes = left_bytes
        whole_left, idle_left, rate_left = self._seconds_left(policy, now)
        # Less than the clock can tell apart would be waited for for ever.
        tick = _TICKS * math.ulp(now)
        if whole_left <= tick:
            # A doomed drain only lingers, so that eager clients can take the response.
            return self._end(Outcome.BYTE_LIMIT if self._doomed else Outcome.TIME_LIMIT, now)
        if idle_left <= tick:
            return self._end(Outcome.IDLE, now)
        if rate_left <= tick:
            return self._end(Outcome.TOO_SLOW, now)
        remaining = self.remaining_bytes
        if remaining and remaining < max_bytes:
            max_bytes = remaining
        most_seconds = rate_left if rate_left < whole_left else whole_left
        return Read(
            max_bytes, idle_left if idle_left < most_seconds else most_seconds, most_seconds
        )

    def _seconds_left(self, policy: DrainPolicy, now: float) -> tuple[float, float, float]:
        """Return what is left of the whole drain, of the silence and of the rate."""
        elapsed = now - self._started
        whole_left = self._ends_at - now
        idle_left = self._idle_seconds - (now - self._last_progress)
        if self._doomed:
            whole_left = min(whole_left, self._idle_seconds - elapsed)
        if policy.min_bytes_per_second == 0:
            return whole_left, idle_left, whole_left
        # Until the average falls below the minimum, if nothing more comes. There is no average of
        # nothing: without grace a client has the time for the smallest read.
        rate = policy.min_bytes_per_second
        grace_seconds = policy.grace_seconds or _SMALLEST_READ_BYTES / rate
        earned_seconds = self._arrived_bytes / rate
        allowed_seconds = earned_seconds if earned_seconds > grace_seconds else grace_seconds
        return whole_left, idle_left, allowed_seconds - elapsed

    def _adapt_read_bytes(self, now: float) -> None:
        took_seconds = now - self._last_read
        idle_seconds = self._idle_seconds
        long_seconds = idle_seconds * _LONG_READ
        if took_seconds > long_seconds:
            self._read_bytes = max(_SMALLEST_READ_BYTES, self._read_bytes // _READ_SHRINKAGE)
        elif (
            took_seconds <= idle_seconds * _QUICK_READ
            and self._read_bytes < self._largest_read_bytes
        ):
            larger = min(self._largest_read_bytes, self._read_bytes * _READ_GROWTH)
            elapsed = now - self._since
            taken_bytes = self.bytes_read + self.bytes_discarded
            if larger * elapsed > taken_bytes * long_seconds:
                larger = max(self._read_bytes, int(taken_bytes * long_seconds / elapsed))
            self._read_bytes = larger

    def _give_back(self) -> None:
        if self._placed:
            self._placed = False
            self._capacity.release()

    def _end(self, outcome: Outcome, now: float, detail: str = "") -> DrainReport:
        self._give_back()
        self.under_way = False
        # The client that was told to wait for an invitation, got a final status instead and sent
        # nothing did what it should (RFC 9110 section 10.1.1).
        if (
            self.framing.expects_continue
            and self.untouched
            and not self.bytes_discarded
            and outcome in _ENDS_OF_SILENCE
        ):
            outcome = Outcome.EXPECT_PENDING
        self.report = DrainReport(
            outcome=outcome,
            bytes_discarded=self.bytes_discarded,
            bytes_read=self.bytes_read,
            declared_bytes=self.framing.length,
            seconds=max(0.0, now - self._started),
            protocol=self.protocol,
            server=self.server,
            method=self.method,
            path=self.path,
            status=self.status,
            detail=detail,
            max_seconds=self._max_seconds,
            max_concurrent=self._max_concurrent,
        )
        return self.report


def slowest_bytes(policy: DrainPolicy, defaults: Defaults) -> int:
    """Return what the slowest client that is borne sends in ``idle_seconds``.

    It is what a drain's first read asks for at the most.

    Args:
        policy: The bounds.
        defaults: Those that it leaves open.
    """
    idle_seconds = policy.idle_seconds
    if idle_seconds is None:
        idle_seconds = defaults.idle_seconds
    nbytes = int(policy.min_bytes_per_second * idle_seconds)
    return nbytes if nbytes > _SMALLEST_READ_BYTES else _SMALLEST_READ_BYTES


_ENDS_OF_SILENCE = frozenset(
    {
        Outcome.IDLE,
        Outcome.TIME_LIMIT,
        Outcome.BYTE_LIMIT,
        Outcome.TOO_SLOW,
        Outcome.DISCONNECTED,
    }
)
