"""A request's body, taken off the connection to be discarded, within the drain's bounds."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from drainkit import (
    Drain,
    DrainReport,
    OnReport,
    Outcome,
    Read,
    Step,
    answered,
    keep_heap,
    publish,
)

from ._inbox import Inbox, Loop
from ._messages import REQUEST, is_empty
from ._types import Message, Send
from .servers import MOST_QUEUED_BYTES, MOST_QUEUED_MESSAGES, Connection, Server

# An empty message with more_body true is no progress; CVE-2024-30251 (aiohttp) shows what a
# loop over them costs.
EMPTY_MESSAGE_PAUSE_SECONDS = 0.01


class Body(Inbox):
    """The body of one request. It is the inbox itself: one object less for each request.

    Attributes:
        drain: The engine's drain of this body, once it has been opened.
    """

    drain: Drain
    # Set by `Exchange`, as in `Inbox`.
    _connection: Connection | None
    _loop: Loop | None
    _on_report: OnReport | None
    _opened: Drain | None
    _send: Send
    _server: Server

    __slots__ = (
        "_connection",
        "_loop",
        "_on_report",
        "_opened",
        "_send",
        "_server",
        "drain",
    )

    @property
    def _clock(self) -> Callable[[], float]:
        """The event loop's clock; `anyio.current_time` finds out with each call what is running."""
        return anyio.current_time if self._loop is None else self._loop.time

    @property
    def _is_stepped(self) -> bool:
        return self._server.is_stepped and self._loop is not None

    def _begin(self, *, may_invite: bool = True, at: float | None = None) -> Step:
        keep_heap()
        now = self._clock() if at is None else at
        step = self.drain.begin(now, may_invite=may_invite)
        if isinstance(step, DrainReport):
            self.report(step)
        return step

    @property
    def _may_step(self) -> bool:
        return self._is_stepped and not self._is_busy and self.drain.invited

    def _gather(self, most_bytes: int) -> bool:
        """Take what has come of the rest of the body off the server, to be received next.

        Args:
            most_bytes: A body that is longer has not come whole, and no more of it is taken.

        Returns:
            Whether that is all of the rest.
        """
        came = self._came = self._came or []
        while len(came) < MOST_QUEUED_MESSAGES:
            message = self._step_server()
            if message is None:
                return False
            came.append(message)
            most_bytes -= len(message.get("body", b""))
            if most_bytes < 0:
                return False
            if not message.get("more_body", False):  # a disconnect has no more, either
                return bool(message["type"] == REQUEST)
        return False

    def _take_what_has_come(self, step: Step) -> Step:
        drain = self.drain
        for _ in range(MOST_QUEUED_MESSAGES):
            try:
                message = self._step()
            except Exception as exc:
                step = drain.stop(Outcome.ERROR, self._clock(), f"{type(exc).__name__}: {exc}")
            else:
                if message is None:
                    break
                step = self._took(message, self._clock())
            if isinstance(step, DrainReport):
                self.report(step)
                break
        return step

    def _took(self, message: Message, now: float) -> Step:
        """Tell the drain of a message that was received to be discarded."""
        drain = self.drain
        if message["type"] != REQUEST:
            if drain.remaining_bytes == 0:
                # Behind the body's last byte it is its end: a server may tell of the disconnect
                # instead when the answer went out before.
                return drain.received(0, more=False, now=now)
            return drain.disconnected(now)
        nbytes = len(message.get("body", b""))
        more: bool = message.get("more_body", False)
        if nbytes and not self._server.tells_end and nbytes == drain.remaining_bytes:
            more = False
        return drain.received(nbytes, more, now)

    async def discard(self, first_step: Step) -> None:
        """Discard until the drain ends, and report it. Raises no Exception."""
        drain = self.drain
        clock = self._clock
        step: Step | None = first_step
        # The application's own receive() may fail meanwhile, which ends the drain and tells of it.
        while isinstance(step, Read) and drain.under_way:
            with anyio.CancelScope(deadline=clock() + step.wait_seconds) as waiting:
                step = await self._discard_within(waiting, clock)
            if waiting.cancelled_caught and drain.under_way:
                step = drain.waited(clock())
        if isinstance(step, DrainReport):
            self.report(step)

    async def _discard_within(
        self, waiting: anyio.CancelScope, clock: Callable[[], float]
    ) -> Step | None:
        """Discard message by message, and move the deadline of *waiting* with each.

        Returns:
            What is left to do, or the report; ``None`` if the drain is not under way any more.
        """
        drain = self.drain
        while True:
            try:
                if self._is_busy:
                    await self._wait_until_free()
                    if not drain.under_way:
                        return None
                with self:
                    if drain.finished:
                        # The application was waiting for a message, and got the last.
                        return drain.received(0, more=False, now=clock())
                    message = await self._next()
            except Exception as exc:
                return drain.stop(Outcome.ERROR, clock(), f"{type(exc).__name__}: {exc}")
            if is_empty(message):
                await anyio.sleep(EMPTY_MESSAGE_PAUSE_SECONDS)
            now = clock()
            step = self._took(message, now)
            del message
            if isinstance(step, DrainReport):
                return step
            deadline = now + step.wait_seconds
            # Not with each message, which costs as much as receiving it. A deadline that is too
            # early is found out by waited().
            if not deadline - step.wait_seconds / 8 <= waiting.deadline <= deadline:
                waiting.deadline = deadline

    async def swallow(self) -> None:
        """Make room in the server's queue while it sends the answer's end; until stopped.

        It may end that queue with a message of its own, which finds no room if it is full. Not
        for ever: the client may read nothing, so that the end is never sent, and go on sending.
        """
        swallowed_bytes = 0
        while swallowed_bytes < MOST_QUEUED_BYTES:
            try:
                await self._wait_until_free()
                with self:
                    message = await self._next()
            except Exception:
                return
            if message["type"] != REQUEST:
                return
            swallowed_bytes += len(message.get("body", b""))
            if is_empty(message):
                await anyio.sleep(EMPTY_MESSAGE_PAUSE_SECONDS)

    @property
    def is_left(self) -> bool:
        """Whether the drain has ended before the body did."""
        report = self.drain.report
        return report is not None and report.outcome is not Outcome.COMPLETE

    @property
    def may_fill_queue(self) -> bool:
        """Whether the server may hold more of the body than it has room for, with nobody to ask."""
        return self.is_left and self.drain.bytes_discarded > 0

    def leave(self) -> None:
        """Tell the server that nobody will receive the rest of the body, if there is a rest."""
        if self.is_left and not self.drain.finished:
            self._reached().leave()

    def wait_early(self) -> None:
        """Let the server take few bytes of the answer before its client does, if it can be told."""
        self._reached().wait_early()

    def close(self) -> None:
        """Keep the server from reading on behind the answer where a bound said to stop."""
        drain = self.drain
        # The application may have read on, to the end.
        if drain.report is not None and drain.report.outcome.closes and not drain.finished:
            self._reached().close()

    def _reached(self) -> Connection:
        if self._connection is None:
            self._connection = self._server.connection(self._receive, self._send)
        return self._connection

    def answered(self) -> None:
        """Take note that the application begins to answer, in its own context."""
        self._on_report = answered(self._on_report)

    def report(self, step: Step) -> None:
        """Tell of a drain that has ended."""
        assert isinstance(step, DrainReport)
        publish(step, self._on_report, self._clock())

    def stop(self, outcome: Outcome, detail: str) -> None:
        """End a drain that is under way."""
        if self.drain.under_way:
            self.report(self.drain.stop(outcome, self._clock(), detail))

    def end(self) -> None:
        """Give up whatever is still under way: the request is over."""
        self._came = None
        if self._opened is not None:
            self.stop(Outcome.ERROR, "cancelled")
        if self._pending is not None:
            self._give_up_pending()
