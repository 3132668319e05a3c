"""The last piece of an answer, and the drain that it begins.

1. The drain is a job of the request's own. The application's last ``send()`` begins it, and
   returns when the bytes are out; where they wait for the body, it returns at once.
2. The bytes of the last piece are sent while the body is being discarded, not before: a strict
   client does not read while it writes.
3. Over TLS many bytes go out in slices, so that the server waits for the client before each: the
   end behind them must not come long before the client has them.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable

import anyio

from drainkit import RESPONSE_BUFFER_BYTES, Order, Outcome, Read

from ._head import Head
from ._jobs import Function, Job, Jobs
from ._messages import BODY, END, nbytes_of, own
from ._types import Message, Scope, Send
from ._upload import Upload

# What asyncio encrypts of an answer in pieces before it lets the server wait
# (asyncio/constants.py, FLOW_CONTROL_HIGH_WATER_SSL_WRITE): in slices it would be no less.
_MOST_ENCRYPTED_BYTES = 512 * 1024
# How long a client may take nothing of an answer behind its body, and at the most twice as long.
# A client at 10 kB/s needs it: asyncio takes more when nearly all of that is out. And nobody is to
# have less than without slices: a server's patience and asyncio's, 35 seconds together.
_MOST_STALL_SECONDS = 60.0


class Ending(Head):
    """The answer to one request, from its last piece to its end."""

    __slots__ = ("_bytes_job", "_bytes_out", "_drain_job", "_jobs", "_slices_sent", "_upload")

    def __init__(self, scope: Scope, send: Send, upload: Upload, order: Order, jobs: Jobs) -> None:
        """Begin before the answer.

        Args:
            scope: The request's.
            send: The server's.
            upload: The request's body.
            order: The engine's machine for this answer.
            jobs: What starts tasks for this request.
        """
        super().__init__(scope, send, order)
        self._upload = upload
        self._jobs = jobs
        self._drain_job: Job | None = None
        self._bytes_job: Job | None = None
        self._slices_sent = 0
        # What the drain waits for before it ends the answer, if it must.
        self._bytes_out: anyio.Event | None = None

    async def _end(self, last: Message) -> None:
        if not self._upload.drain.settled:
            self._upload.refuse()
        await self._end_without_drain(last)

    async def _discard_first(self, last: Message) -> None:
        step = await self._begin_or_end(last)
        if step is not None:
            self._begin_drain(step, own(last))
            self._upload.over()

    async def _discard_between(self, last: Message) -> None:
        step = await self._begin_or_end(last)
        if step is None:
            return
        await self._release_start_of_drain(last)
        if last["type"] != BODY or (self.order.passed_bytes and not nbytes_of(last)):
            self._begin_drain(step, last)  # there are no bytes to send before it
            self._upload.over()
            return
        message: Message = {**last, "more_body": True}
        is_taken_at_once = self._is_taken_at_once(last)
        if is_taken_at_once:
            message = own(message)
            self._upload.wait_early()
        self._bytes_out = anyio.Event()
        self._begin_drain(step, END)
        if is_taken_at_once:
            self._bytes_job = self._jobs.start(functools.partial(self._send_in_slices, message))
            self._upload.over()
        else:
            await self._send_beside_drain(message, self._send)

    def _is_taken_at_once(self, last: Message) -> bool:
        """Whether the server takes all bytes of a piece before the client has taken many.

        asyncio encrypts whatever is written at once (asyncio/sslproto.py, _do_write), and its
        client has 30 seconds for what is left when the server closes, which it does when the
        connection was not used for some seconds behind the end of the answer.
        """
        return self._scope.get("scheme") == "https" and nbytes_of(last) > _MOST_ENCRYPTED_BYTES

    async def _send_in_slices(self, message: Message) -> None:
        """Send the bytes of the last piece no faster than the client takes them.

        In a job: the application would not have waited for that.
        """
        with contextlib.suppress(OSError):  # the client has left, and nobody else wants to know
            await self._send_beside_drain(message, self._send_slices)

    async def _send_slices(self, message: Message) -> None:
        content = message["body"]
        for begin in range(0, len(content), RESPONSE_BUFFER_BYTES):
            slice_ = content[begin : begin + RESPONSE_BUFFER_BYTES]
            await self._send({**message, "body": slice_})
            self._slices_sent += 1

    async def _wait_for_slices(self, out: anyio.Event) -> bool:
        """Wait until all slices are sent, or the client takes none of them any more.

        Only behind the drain, which has bounds of its own: a client may be busy with its body.

        Returns:
            Whether all are sent.
        """
        before = -1
        while not out.is_set() and before != self._slices_sent:
            before = self._slices_sent
            with anyio.move_on_after(_MOST_STALL_SECONDS):
                await out.wait()
        return out.is_set()

    async def _discard_behind(self, last: Message) -> None:
        step = await self._begin_or_end(last)
        if step is None:
            return
        await self._release_start_of_drain(last)
        self._begin_drain(step, None)
        await self._send_beside_drain(last, self._send_end)

    async def _begin_or_end(self, last: Message) -> Read | None:
        """Begin the drain; or end the answer, if what has come was all, or a bound says so.

        Returns:
            The first read; ``None`` when the answer has been ended.
        """
        step = self._upload.answer()
        if isinstance(step, Read):
            return step
        await self._end_without_drain(last)
        return None

    async def _end_without_drain(self, last: Message) -> None:
        """End an answer about whose body nothing is left to do."""
        try:
            await self._release_start(last if self._upload.is_left else None)
            await self._send_end(last)
        finally:
            self._upload.over_behind_answer()

    async def _release_start_of_drain(self, last: Message) -> None:
        try:
            await self._release_start(last)
        except BaseException as exc:
            if isinstance(exc, Exception) and not isinstance(exc, OSError):
                # The server refused it. Another answer may follow: its own 500.
                self.order.refused()
                self._upload.pause()
            else:
                self._cut(exc)
            raise

    def _begin_drain(self, step: Read, end: Message | None) -> None:
        """Discard in a job, and then send the end of the answer; ``None`` when it has been."""
        self._drain_job = self._jobs.start(functools.partial(self._drain, step, end))

    async def _drain(self, step: Read, end: Message | None) -> None:
        await self._upload.discard(step)
        if end is None:
            self._upload.close()
            return
        if self._bytes_out is not None:
            if self._bytes_job is not None and not await self._wait_for_slices(self._bytes_out):
                self._bytes_job.stop()
                self._cut(TimeoutError("the client took nothing of the answer"))
                self._upload.close()
                return
            await self._bytes_out.wait()
        try:
            await self._release_start(end)
            await self._send_end(end)
        except OSError as exc:
            self._cut(exc)  # the client has left, and nobody else wants to know

    async def _send_beside_drain(
        self, message: Message, send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Send the bytes of the last piece while the body is being discarded."""
        try:
            await send(message)
        except Exception as exc:
            if self._drain_job is not None:
                await self._drain_job.end()
            self._cut(exc)
            raise
        finally:
            # Also when cancelled: the server has the bytes, and the drain ends the answer.
            if self._bytes_out is not None:
                self._bytes_out.set()
            self._upload.over()

    async def _send_end(self, message: Message) -> None:
        self.order.ended()
        self._upload.leave()
        if message is END and self._upload.may_fill_queue:
            await self._send_while(message, self._upload.swallow)
        else:
            await self._send(message)
        self._upload.close()

    async def _send_while(self, message: Message, receiving: Function) -> None:
        """Send a message while *receiving* takes the body off the connection."""
        job = self._jobs.start(receiving)
        try:
            await self._send(message)
        finally:
            await job.end()

    def _cut(self, error: BaseException) -> None:
        """Give the answer up."""
        self.order.cut()
        if isinstance(error, Exception):
            self._upload.stop(Outcome.DISCONNECTED, str(error))
        else:
            self._upload.stop(Outcome.ERROR, "cancelled")
        self._upload.over()

    async def _wait_for_drain(self) -> None:
        if self._drain_job is not None:
            await self._drain_job.wait()
        if self._bytes_job is not None:
            await self._bytes_job.wait()
