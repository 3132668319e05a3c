"""A request's body: received by the application, kept for it, or discarded.

Rule: where the application's next message comes from says the `Gate`; no other state tells.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
import anyio.lowlevel

from drainkit import Drain, DrainControl, Outcome, Read, Step

from ._ahead import ANSWERED, CAME, OVER, SERVER, UNANSWERED, Ahead, Gate
from ._messages import DISCONNECT, REQUEST, HeaderField, framing_of, nbytes_of
from ._types import Message, Scope

# How much one message of a late body holds: as much as the servers' own at the most.
_LATE_MESSAGE_BYTES = 65_536

_NOBODY_READS_ON = frozenset({Gate.GAP, ANSWERED, OVER})


class Upload(Ahead):
    """The body of one request, as its application sees it.

    Attributes:
        is_taken: Whether nothing of the body is left to do: the application has received it to its
            end, or what had come of it was discarded behind an answer that passes.
        before_receive: Called before the application receives, while something of its answer is
            held; ``None`` when nothing is.
    """

    # Set by `Exchange`, as in `Inbox`.
    before_receive: Callable[[], None] | None
    is_taken: bool
    _bytes_read: int
    _control: DrainControl
    _fields: Sequence[HeaderField]
    _is_asked_for: bool
    _method: str
    _over: anyio.Event | None
    _path: str
    _scope: Scope
    _start: Message | None

    __slots__ = (
        "_bytes_read",
        "_control",
        "_fields",
        "_is_asked_for",
        "_method",
        "_over",
        "_path",
        "_scope",
        "_start",
        "before_receive",
        "is_taken",
    )

    def open_drain(self) -> Drain:
        """Return the engine's drain; made now, as an answer comes before the body was received."""
        if self._opened is not None:
            return self._opened
        if self.gate is UNANSWERED:
            self.gate = SERVER
        server = self._server
        version: str = self._scope.get("http_version", "1.1")
        # Where the invitation goes out by itself, the body comes like any other.
        self.drain = self._opened = drain = Drain(
            None,
            framing_of(version, self._fields, expects=not server.invites_eagerly),
            protocol=f"HTTP/{version}",
            server=server.name,
            method=self._method,
            path=self._path,
            defaults=server.defaults,
        )
        self._control.bind(drain)
        drain.app_read(self._bytes_read, more=not self.is_taken)
        if self._is_asked_for:
            drain.invited = True
        if self._start is not None:
            # An answer that passes has no `Order`, which knows the status of every other.
            status = self._start.get("status")
            drain.status = status if isinstance(status, int) else None
        return drain

    async def receive(self) -> Message:
        """The application's ``receive``."""
        if self._is_busy or self.gate is not UNANSWERED:
            return await self._receive_in_turn()
        # The ordinary request: it has not been answered, and nobody else receives.
        self._is_asked_for = self._is_busy = True
        try:
            message = await self._receive()
        except Exception as exc:
            self._give_up(exc)
            raise
        finally:
            self._is_busy = False
            if self._freed is not None:
                self._set_free()
        try:
            nbytes, more = len(message["body"]), message["more_body"]
        except KeyError:  # both have defaults, and a disconnect has neither
            if message["type"] == REQUEST:
                self._count(nbytes_of(message), message.get("more_body", False))
            else:
                self._give_again(message)
            return message
        if self.gate is not UNANSWERED:
            self._count(nbytes, more)  # it has been answered meanwhile
            return message
        # As _count() does; a call for each message costs as much as what it does.
        self._bytes_read += nbytes
        if nbytes > self._largest_bytes:
            self._largest_bytes = nbytes
        if not more:
            self.is_taken = True
            self.gate = SERVER
        return message

    async def _receive_in_turn(self) -> Message:
        """Receive beside another task, or where the answer or the body's end has come."""
        if self.before_receive is not None:
            self.before_receive()
        while self.gate is SERVER or self.gate is UNANSWERED:
            if self.is_taken:
                return await self._receive()
            if self._is_busy:
                await self._wait_until_free()
                continue  # another task may have received, or answered, meanwhile
            if self.gate is UNANSWERED:
                return await self.receive()
            self._is_asked_for = True
            try:
                with self:
                    message = await self._receive_behind_start()
            except Exception as exc:
                self._give_up(exc)
                raise
            if message["type"] == REQUEST:
                self._count(nbytes_of(message), message.get("more_body", False))
            else:
                self._give_again(message)
            return message
        return await self._receive_late()

    def _give_again(self, disconnect: Message) -> None:
        """Let whoever receives next see that the client has left: not every server says so twice.

        hypercorn's queue has the message once (hypercorn/protocol/http_stream.py, handle).
        """
        self._came = [disconnect]

    def _count(self, nbytes: int, more: bool) -> None:
        """Take note that the application has received so much."""
        if nbytes > self._largest_bytes:
            self._largest_bytes = nbytes
        if self._opened is None:
            self._bytes_read += nbytes
        else:
            self._opened.app_read(nbytes, more)
        if not more:
            self.is_taken = True
            if self.gate is UNANSWERED:
                self.gate = SERVER

    def _receive_behind_start(self) -> Awaitable[Message]:
        """Wait for the next message, and lose none if the application cancels that.

        It may do so again and again while it streams, to see whether the client has left.
        """
        self.drain.invited = True
        return self._next() if self._is_stepped else self._next_or_leave()

    async def _receive_late(self) -> Message:
        if self.gate is CAME:
            if self._loop is None:
                # Under trio who polls in a cancelled scope takes nothing.
                await anyio.lowlevel.checkpoint_if_cancelled()
            return self._take_came()
        if self.gate is Gate.KEPT:
            return self._take_kept()
        if self.gate is Gate.GAP:
            await self._look_behind_gap()
        elif self.gate is ANSWERED:
            # Made here and not with the upload: most requests never need it.
            self._over = self._over or anyio.Event()
            await self._over.wait()
        return {"type": DISCONNECT}

    def _take_came(self) -> Message:
        came = self._came
        assert came  # the gate says so
        message = came.pop(0)
        self._count(nbytes_of(message), message.get("more_body", False))
        if not came:
            self.gate = SERVER
            self.is_taken = True  # its end may be a message of its own, and the server's
        return message

    def _take_kept(self) -> Message:
        kept = self._kept
        assert kept is not None  # the gate says so
        body = kept.take(_LATE_MESSAGE_BYTES)
        self.drain.late_read(len(body))
        more = bool(kept) or not kept.has_ended
        if not kept:
            kept.has_ended = False
            self.gate = Gate.GAP if kept.lost_bytes else SERVER
        return {"type": REQUEST, "body": body, "more_body": more}

    async def _look_behind_gap(self) -> None:
        """Return if the client has left. Otherwise raise, but not at a caller that only polls.

        Raises:
            LateReadError: The application wants a body that was discarded.
        """
        kept = self._kept
        assert kept is not None  # the gate says so
        if not self._is_busy:
            with self:
                message = await self._look()
            if message is not None and message["type"] != REQUEST:
                self.gate = OVER
                self._give_again(message)
                return
            if message is not None:
                nbytes = len(message.get("body", b""))
                kept.lost_bytes += nbytes
                self._count(nbytes, message.get("more_body", False))
        # A caller that polls in a cancelled scope ends here, and has seen that nobody left.
        await anyio.lowlevel.checkpoint()
        raise kept.error()

    def _give_up(self, error: Exception) -> None:
        """Leave the body alone: something before drainkit refused it to the application.

        That took a message to do so, perhaps the last one, and may take the next.
        """
        drain = self.open_drain()
        if not drain.settled:
            detail = f"receive() raised {type(error).__name__}: {error}"
            self.report(drain.stop(Outcome.DECLINED, self._clock(), detail))

    def answer(self) -> Step:
        """Begin the drain: the application has answered and will not ask for the body any more.

        What has come already is taken now, without a task and without a turn of the event loop.

        Returns:
            What is left to do, or the drain's report.
        """
        self._answered()
        step = self._begin()
        if isinstance(step, Read) and self._may_step:
            step = self._take_what_has_come(step)
        return step

    def _answered(self) -> None:
        self.gate = ANSWERED
        self._forget_kept()

    def pause(self) -> None:
        """Let the drain wait for another answer: the server refused the start of this one."""
        if self.drain.under_way:
            self.drain.pause(self._clock())
        self.over()

    def over(self) -> None:
        """Let the application's ``receive()`` be the disconnect, as it is behind an answer."""
        self.gate = OVER
        if self._kept is not None:
            self._forget_kept()
        if self._over is not None:
            self._over.set()

    def over_behind_answer(self) -> None:
        """Do so behind an answer whose body needed no drain.

        Where the application still receives from the server, the server says what it may have.
        """
        if self.gate is not SERVER:
            self.over()

    def refuse(self) -> None:
        """Do not read: the first read would invite the body."""
        self._answered()
        self._begin(may_invite=False)

    async def discard_alone(self) -> None:
        """Discard for an answer that is not ours to order: the server's own."""
        self._answered()
        try:
            step = self._begin(may_invite=False)
            if isinstance(step, Read):
                await self.discard(step)
        finally:
            self.over()

    def report(self, step: Step) -> None:
        """Tell of a drain that has ended, and the server if that leaves the rest of the body."""
        if self.gate in _NOBODY_READS_ON:
            self.leave()
        super().report(step)

    def end(self) -> None:
        """Give up whatever is still under way or kept: the request is over."""
        if self._kept is not None:
            self.over()
        super().end()
