"""A request's body: received by the application, kept for it, or discarded.

Rule: where the application's next message comes from is held (`Gate`), and looked up once for each.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable

import anyio
import anyio.lowlevel

from drainkit import (
    CONTROL_KEY,
    Drain,
    DrainControl,
    DrainReport,
    Kept,
    OnReport,
    Outcome,
    Read,
    Step,
    keep_heap,
    publish,
)

from ._inbox import Inbox
from ._messages import DISCONNECT, REQUEST
from ._types import Message, Receive, Scope, Send
from .servers import Connection, Server

# An empty message with more_body true is no progress; CVE-2024-30251 (aiohttp) shows what a
# loop over them costs.
_EMPTY_MESSAGE_PAUSE_SECONDS = 0.01

# More than hypercorn's queue holds: ten messages of 64 KiB (hypercorn/config.py,
# max_app_queue_size; asyncio/tcp_server.py, MAX_RECV).
_MOST_SWALLOWED_BYTES = 1024 * 1024

# How much one message of a late body holds: as much as the servers' own at the most.
_LATE_MESSAGE_BYTES = 65_536

# More messages than a server holds for an application that has not asked (hypercorn: ten).
_MOST_TAKEN_AT_ONCE = 16


class Gate(enum.Enum):
    """Where the application's next message comes from."""

    SERVER = "server"
    """From the server: the application reads, and nobody else has."""
    KEPT = "kept"
    """From what was read ahead."""
    GAP = "gap"
    """From nowhere: what comes next was discarded."""
    ANSWERED = "answered"
    """From nowhere yet: the application's last ``send()`` is under way."""
    OVER = "over"
    """It is the disconnect."""


_SERVER = Gate.SERVER  # every message costs one look-up, slow in an enum before Python 3.12


class Upload(Inbox):
    """The body of one request. It is the inbox itself: one object less for each request.

    Attributes:
        drain: The engine's drain of this body.
        gate: Where the application's next message comes from.
        before_receive: Called before the application receives, while something of its answer is
            held; ``None`` when nothing is.
    """

    __slots__ = (
        "_clock",
        "_connection",
        "_is_stepped",
        "_kept",
        "_largest_bytes",
        "_on_report",
        "_over",
        "_send",
        "_server",
        "before_receive",
        "drain",
        "gate",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        server: Server,
        drain: Drain,
        on_report: OnReport | None,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        """Begin before the application is called, and give it a `drainkit.DrainControl`."""
        super().__init__(receive)
        self.drain = drain
        self.gate = _SERVER
        scope[CONTROL_KEY] = DrainControl(drain)
        self._clock = anyio.current_time if loop is None else loop.time
        self._is_stepped = server.is_stepped and loop is not None
        self._send = send
        self._server = server
        self._on_report = on_report
        self._connection: Connection | None = None
        self._kept: Kept | None = None
        self._largest_bytes = 0
        self._over: anyio.Event | None = None
        self.before_receive: Callable[[], None] | None = None

    async def receive(self) -> Message:
        """The application's ``receive``."""
        if self.before_receive is not None:
            self.before_receive()
        while self.gate is _SERVER:
            drain = self.drain
            if drain.finished:
                return await self._receive()
            if self._is_busy:
                await self._wait_until_free()
                continue  # another task may have received, or answered, meanwhile
            drain.invited = True
            with self:
                try:
                    message = await (self._receive() if self._pending is None else self._next())
                except Exception as exc:
                    self._give_up(exc)
                    raise
            if message["type"] == REQUEST:
                nbytes = len(message.get("body", b""))
                if nbytes > self._largest_bytes:
                    self._largest_bytes = nbytes
                drain.app_read(nbytes, message.get("more_body", False))
            return message
        return await self._receive_late()

    async def _receive_late(self) -> Message:
        if self.gate is Gate.KEPT:
            return self._take_kept()
        if self.gate is Gate.GAP:
            await self._look_behind_gap()
        elif self.gate is Gate.ANSWERED:
            # Made here and not with the upload: most requests never need it.
            self._over = self._over or anyio.Event()
            await self._over.wait()
        return {"type": DISCONNECT}

    def _take_kept(self) -> Message:
        kept = self._kept
        assert kept is not None  # the gate says so
        body = kept.take(_LATE_MESSAGE_BYTES)
        self.drain.late_read(len(body))
        more = bool(kept) or not kept.has_ended
        if not kept:
            kept.has_ended = False
            self.gate = Gate.GAP if kept.lost_bytes else Gate.SERVER
        return {"type": REQUEST, "body": body, "more_body": more}

    async def _look_behind_gap(self) -> None:
        """Return if the client has left; otherwise raise, but not at whom only looks.

        Raises:
            LateReadError: The application wants a body that was discarded.
        """
        kept = self._kept
        assert kept is not None  # the gate says so
        if not self._is_busy:
            with self:
                message = await self._next_or_leave(at_once=True)
            if message is not None:
                kept.lost_bytes += len(message.get("body", b""))
                if message["type"] != REQUEST:
                    self.gate = Gate.OVER
                    return
        # Who polls in a cancelled scope ends here, and has seen that nobody left.
        await anyio.lowlevel.checkpoint()
        raise kept.error()

    def _give_up(self, error: Exception) -> None:
        """Leave a body alone that something outside of drainkit has refused to the application.

        It took a message for that, perhaps the last one, and may do so with the next.
        """
        detail = f"receive() raised {type(error).__name__}: {error}"
        if not self.drain.settled:
            self.report(self.drain.stop(Outcome.DECLINED, self._clock(), detail))

    def answer(self) -> Step:
        """Begin the drain: the application has answered and will not ask for the body any more.

        What has come already is taken now, without a task and without a turn of the event loop.

        Returns:
            What is left to do, or the drain's report.
        """
        self.gate = Gate.ANSWERED
        self._kept = None
        step = self._begin()
        if isinstance(step, Read) and self._may_step:
            step = self._take_what_has_come(step)
        return step

    @property
    def _may_step(self) -> bool:
        return (
            self._is_stepped
            and self._pending is None
            and not self._is_busy
            and self.drain.invited
        )

    def over(self) -> None:
        """Let the application's ``receive()`` be the disconnect, as it is behind an answer."""
        self.gate = Gate.OVER
        if self._over is not None:
            self._over.set()

    def over_behind_answer(self) -> None:
        """Do the same behind an answer whose body needed no drain.

        A body that is still the server's stays so: it gives what the application may have.
        """
        if self.gate is not _SERVER:
            self.over()

    def refuse(self) -> None:
        """Do not read: the first read would invite the body."""
        self.gate = Gate.ANSWERED
        self._kept = None
        self._begin(may_invite=False)

    async def discard_alone(self) -> None:
        """Discard for an answer that is not ours to order: the server's own."""
        self.gate = Gate.ANSWERED
        self._kept = None
        try:
            step = self._begin(may_invite=False)
            if isinstance(step, Read):
                await self.discard(step)
        finally:
            self.over()

    def _begin(self, *, may_invite: bool = True) -> Step:
        keep_heap()
        step = self.drain.begin(self._clock(), may_invite=may_invite)
        if isinstance(step, DrainReport):
            self.report(step)
        return step

    def _take_what_has_come(self, step: Step) -> Step:
        drain = self.drain
        for _ in range(_MOST_TAKEN_AT_ONCE):
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
                # granian tells of the disconnect instead of the end, when the answer went out
                # before; behind the body's last byte it is its end.
                return drain.received(0, more=False, now=now)
            return drain.disconnected(now)
        nbytes = len(message.get("body", b""))
        more: bool = message.get("more_body", False)
        if nbytes and not self._server.tells_end and nbytes == drain.remaining_bytes:
            more = False
        return drain.received(nbytes, more, now)

    async def discard(self, step: Step) -> None:
        """Discard until the drain ends, and report it. Raises no Exception."""
        drain = self.drain
        clock = self._clock
        while isinstance(step, Read):
            with anyio.CancelScope(deadline=clock() + step.wait_seconds) as waiting:
                step = await self._discard_within(waiting, clock)
            if waiting.cancelled_caught:
                step = drain.waited(clock())
        self.report(step)

    async def _discard_within(self, waiting: anyio.CancelScope, clock: Callable[[], float]) -> Step:
        """Discard message by message, and move the deadline of *waiting* with each."""
        drain = self.drain
        while True:
            try:
                if self._is_busy:
                    await self._wait_until_free()
                with self:
                    if drain.finished:
                        # The application was waiting for a message, and got the last.
                        return drain.received(0, more=False, now=clock())
                    message = await self._next()
            except Exception as exc:
                return drain.stop(Outcome.ERROR, clock(), f"{type(exc).__name__}: {exc}")
            if _is_empty(message):
                await anyio.sleep(_EMPTY_MESSAGE_PAUSE_SECONDS)
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

    async def read_ahead(self) -> None:
        """Take the body off the connection, and keep some of it; until stopped or full."""
        drain = self.drain
        policy = drain.policy
        if policy is None or not drain.invited or drain.settled:
            return
        if self._kept is None:
            self._kept = Kept(policy.late_read_bytes)
            self._kept.expect(self._largest_bytes)
        kept = self._kept
        if not drain.untouched and kept.is_full:
            return
        step = self._begin()
        if isinstance(step, DrainReport):
            return
        try:
            while isinstance(step, Read):
                message = None
                with anyio.move_on_after(step.wait_seconds):
                    await self._wait_until_free()
                    with self:
                        if drain.finished or (not drain.untouched and kept.is_full):
                            return
                        message = await self._next_or_leave()
                        # Kept before anybody else may receive, or the order would be lost.
                        self._keep(kept, message)
                now = self._clock()
                if message is None:
                    step = drain.waited(now)
                    continue
                step = self._took(message, now)
                if _is_empty(message):
                    await anyio.sleep(_EMPTY_MESSAGE_PAUSE_SECONDS)
            self.report(step)
        except Exception as exc:
            now = self._clock()
            self.report(drain.stop(Outcome.ERROR, now, f"{type(exc).__name__}: {exc}"))
        finally:
            if drain.under_way:
                drain.pause(self._clock())

    def _keep(self, kept: Kept, message: Message | None) -> None:
        if message is None:
            return
        if message["type"] != REQUEST and self.drain.remaining_bytes != 0:
            # It is the application's next message, as it would be without drainkit.
            self.gate = Gate.OVER
            return
        more: bool = message.get("more_body", False)
        kept.add(message.get("body", b""), more=more, may_lose=self.drain.untouched)
        if kept or kept.has_ended:
            self.gate = Gate.KEPT
        elif kept.lost_bytes:
            self.gate = Gate.GAP

    async def swallow(self) -> None:
        """Make room in the server's queue while it sends the answer's end; until stopped.

        hypercorn ends its queue of messages with one that finds no room if it is full. Not for
        ever: the client may read nothing, so that the end is never sent, and go on sending.
        """
        swallowed_bytes = 0
        while swallowed_bytes < _MOST_SWALLOWED_BYTES:
            try:
                await self._wait_until_free()
                with self:
                    message = await self._next()
            except Exception:
                return
            if message["type"] != REQUEST:
                return
            swallowed_bytes += len(message.get("body", b""))
            if _is_empty(message):
                await anyio.sleep(_EMPTY_MESSAGE_PAUSE_SECONDS)

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

    def close(self) -> None:
        """Let the server not go on behind the answer where the bounds said to stop."""
        report = self.drain.report
        if report is not None and report.outcome.closes:
            self._reached().close()

    def _reached(self) -> Connection:
        if self._connection is None:
            self._connection = self._server.connection(self._receive, self._send)
        return self._connection

    def report(self, step: Step) -> None:
        """Tell of a drain that has ended."""
        assert isinstance(step, DrainReport)
        if self.gate in (Gate.ANSWERED, Gate.OVER, Gate.GAP):
            self.leave()
        publish(step, self._on_report, self._clock())

    def stop(self, outcome: Outcome, detail: str) -> None:
        """End a drain that is under way."""
        if self.drain.under_way:
            self.report(self.drain.stop(outcome, self._clock(), detail))

    def end(self) -> None:
        """Give up whatever is still under way: the request is over."""
        self.stop(Outcome.ERROR, "cancelled")
        if self._pending is not None:
            self._give_up_pending()


def _is_empty(message: Message) -> bool:
    """Tell whether a message is no progress: no bytes, and not the end."""
    return (
        message["type"] == REQUEST
        and not message.get("body", b"")
        and bool(message.get("more_body", False))
    )
