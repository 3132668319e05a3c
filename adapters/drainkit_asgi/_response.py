"""An answer whose request's body the application has not received: what of it goes out when.

The engine's `Order` says what to do with each piece. Here is one short method for each plan.

1. A start is held for one turn of the event loop, in which most applications send the first piece.
   An error without a length, and a piece that may be the last, are held for some milliseconds.
   Nothing is held across the application's ``receive()``: the client may be waiting for it.
2. More than a socket's buffer holds is sent while the body is received, not before.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

from drainkit import RESPONSE_BUFFER_BYTES, Order, Plan, Stage

from ._ending import Ending
from ._jobs import Handle, Job, Jobs
from ._messages import (
    BODY,
    END,
    FILES,
    LAST_MESSAGES,
    START,
    joined,
    nbytes_of,
    own,
    start_fields,
)
from ._types import Message, Scope, Send
from ._upload import Upload

# Through a middleware that passes messages on between two tasks, a whole answer takes some turns of
# the event loop. Arbitrary: so long that a busy process manages, and nobody sees it.
_HOLD_SECONDS = 0.02


class Response(Ending):
    """The answer to one request: one object in three rooms, start, pieces and end."""

    __slots__ = ("_body", "_flush_job", "_is_reading_first", "_timer")

    def __init__(self, scope: Scope, send: Send, upload: Upload, order: Order, jobs: Jobs) -> None:
        """Begin before the answer, as `Ending` does."""
        super().__init__(scope, send, upload, order, jobs)
        # What is held of the content, and what sends it if the application says nothing more.
        self._body: Message | None = None
        self._timer: Handle | None = None
        self._flush_job: Job | None = None
        self._is_reading_first = False

    async def send(self, message: Message) -> None:
        """Send the application's next message, or hold it."""
        if self._flush_job is not None:
            await self._take_over()
        kind = message["type"]
        if self.order.is_over:
            # It is the server's to refuse; but not before it has the end of the answer.
            await self._wait_for_drain()
            await self._send(message)
        elif kind == BODY:
            await self._send_piece(message)
        elif kind == START and self.order.stage in (Stage.EXPECTED, Stage.HELD):
            await self._take_start(message)
        elif kind in LAST_MESSAGES and not message.get(LAST_MESSAGES[kind], False):
            if self._body is not None:
                await self._release()
            end = self.order.end_with_file if kind in FILES else self.order.end_with_trailers
            await _METHODS[end()](self, message)
        else:
            await self._release()
            await self._release_start()
            await self._send(message)

    async def _take_start(self, message: Message) -> None:
        if self._start is not None:
            raise RuntimeError("http.response.start was sent twice")
        fields = start_fields(message)
        if fields is None:
            await self._send(message)  # the server is to say what is wrong with it
            return
        status, length, headers = fields
        message = {**message, "headers": headers}  # what can be read once has been
        has_trailers = bool(message.get("trailers", False))
        if self.order.start(status, length, has_trailers=has_trailers) is Plan.PASS:
            await self._send(message)
            return
        self._start = message
        self._hold(_HOLD_SECONDS if self.order.may_become_whole else 0)

    async def _send_piece(self, message: Message) -> None:
        held, self._body = self._body, None
        if held is not None and self.order.is_too_much(nbytes_of(held) + nbytes_of(message)):
            self._body, held = held, None
            await self._release()  # it becomes no small answer
        message = joined(held, message)
        plan = self.order.piece(nbytes_of(message), more=bool(message.get("more_body", False)))
        if plan is not Plan.HOLD:
            self._forget_timer()
        elif held is None and self.order.stage is Stage.FULL:
            self._hold(_HOLD_SECONDS)
        await _METHODS[plan](self, message)

    def _hold(self, seconds: float) -> None:
        """Let what is held wait for so many seconds; ``0`` is one turn of the event loop."""
        self._forget_timer()
        self._timer = self._jobs.call_later(seconds, self.flush_soon)
        self._upload.before_receive = self.flush_soon

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._upload.before_receive = None

    def flush_soon(self) -> None:
        """Hold nothing any more; in a job, because the caller may be cancelled meanwhile."""
        self._forget_timer()
        if self._flush_job is None and not self.order.is_over:
            self._flush_job = self._jobs.start(self._flush)

    def release_soon(self, start: Message) -> None:
        """Do so with a start that was held before there was a response."""
        self._flush_job = self._jobs.start(functools.partial(self._release_held, start))

    async def _release_held(self, start: Message) -> None:
        await self._take_start(start)
        await self._release()

    async def _flush(self) -> None:
        if self._body is not None and self._plan_for_held() is Plan.READ_AHEAD_FIRST:
            self._is_reading_first = True
            await self._upload.read_ahead(is_sending=False)
            if not self._is_reading_first:
                return  # the application goes on with what is held
            self._is_reading_first = False
        await self._release()

    def _plan_for_held(self) -> Plan:
        """Say what to do with the piece that is held, and will be held no longer."""
        self.order.is_patient = False
        return self.order.piece(nbytes_of(self._body or END), more=True)

    async def _take_over(self) -> None:
        """Go on from where a flush has come to, and lose no message."""
        job = self._flush_job
        assert job is not None  # the caller has looked
        if self._is_reading_first:
            self._is_reading_first = False
            await job.end()
        else:
            await job.wait()
        self._flush_job = None

    async def _release(self) -> None:
        """Hold nothing any more."""
        self._forget_timer()
        if self._body is None:
            await self._release_start()
            return
        plan = self._plan_for_held()
        body, self._body = self._body, None
        await _METHODS[plan](self, body)

    async def _release_start(self, whole: Message | None = None) -> None:
        self._forget_timer()
        await super()._release_start(whole)

    async def _keep(self, message: Message) -> None:
        self._body = own(message)

    async def _pass(self, message: Message) -> None:
        await self._release_start()
        self.order.passed(nbytes_of(message))
        await self._send(message)

    async def _read_ahead(self, message: Message) -> None:
        await self._release_start()
        self.order.passed(nbytes_of(message))
        if self.order.passed_bytes > RESPONSE_BUFFER_BYTES and not self._upload.drain.settled:
            await self._send_while(message, self._upload.read_ahead)
        else:
            await self._send(message)

    async def _read_ahead_first(self, message: Message) -> None:
        await self._upload.read_ahead(is_sending=False)
        await self._read_ahead(message)

    async def finish(self) -> None:
        """Wait for what the answer has begun: the application has returned, or raised.

        Raises:
            Exception: What the server's ``send`` raised in a job.
        """
        self._forget_timer()
        if self._flush_job is not None:
            await self._take_over()
        await self._wait_for_drain()

    async def release_pieces(self) -> None:
        """Send what is held of the content, unless it might end the answer on this server."""
        if self._body is not None and self.order.stage is not Stage.FULL:
            await self._release()

    async def release_rest(self, *, is_returned: bool) -> None:
        """Send what is held of an answer that has no end.

        Args:
            is_returned: Whether the application returned. Otherwise a start alone is not sent: the
                server's own 500 may take its place.
        """
        if is_returned or self._body is not None:
            await self._release()

    async def abandon(self) -> None:
        """End the jobs: the request was cancelled."""
        self._forget_timer()
        flush_job, self._flush_job = self._flush_job, None
        drain_job, self._drain_job = self._drain_job, None
        bytes_job, self._bytes_job = self._bytes_job, None
        try:
            if flush_job is not None:
                await flush_job.end()
        finally:
            try:
                if drain_job is not None:
                    await drain_job.end()
            finally:
                # Behind the drain, which would end an answer whose bytes are out.
                if bytes_job is not None:
                    await bytes_job.end()


_METHODS: dict[Plan, Callable[[Response, Message], Awaitable[None]]] = {
    Plan.HOLD: Response._keep,
    Plan.PASS: Response._pass,
    Plan.READ_AHEAD: Response._read_ahead,
    Plan.READ_AHEAD_FIRST: Response._read_ahead_first,
    Plan.DISCARD_FIRST: Response._discard_first,
    Plan.DISCARD_BETWEEN: Response._discard_between,
    Plan.DISCARD_BEHIND: Response._discard_behind,
    Plan.END: Response._end,
}
