"""The last piece of an answer, and the drain that it begins.

1. The drain is a job of the request's own. The application's last ``send()`` begins it, and
   returns when the bytes are out; where they wait for the body, it returns at once.
2. The bytes of the last piece are sent while the body is being discarded, not before: a strict
   client does not read while it writes.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

import anyio

from drainkit import DrainReport, Order, Outcome, Read

from ._head import Head
from ._jobs import Function, Job, Jobs
from ._messages import BODY, END, nbytes_of
from ._types import Message, Scope, Send
from ._upload import Upload


class Ending(Head):
    """The answer to one request, from its last piece to its end."""

    __slots__ = ("_bytes_out", "_drain_job", "_jobs", "_upload")

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
        # What the drain waits for before it ends the answer, if it must.
        self._bytes_out: anyio.Event | None = None

    async def _end(self, last: Message) -> None:
        if not self._upload.drain.settled:
            self._upload.refuse()
        await self._end_without_drain(last)

    async def _discard_first(self, last: Message) -> None:
        step = self._upload.answer()
        if isinstance(step, DrainReport):
            await self._end_without_drain(last)
        else:
            self._begin_drain(step, last)
            self._upload.over()

    async def _discard_between(self, last: Message) -> None:
        step = self._upload.answer()
        if isinstance(step, DrainReport):
            await self._end_without_drain(last)
            return
        await self._release_start_of_drain(last)
        if last["type"] != BODY or (self.order.passed_bytes and not nbytes_of(last)):
            self._begin_drain(step, last)  # there are no bytes to send before it
            self._upload.over()
            return
        self._bytes_out = anyio.Event()
        self._begin_drain(step, END)
        await self._send_beside_drain({**last, "more_body": True}, self._send)

    async def _discard_behind(self, last: Message) -> None:
        step = self._upload.answer()
        if isinstance(step, DrainReport):
            await self._end_without_drain(last)
            return
        await self._release_start_of_drain(last)
        self._begin_drain(step, None)
        await self._send_beside_drain(last, self._send_end)

    async def _end_without_drain(self, last: Message) -> None:
        """End an answer about whose body nothing is left to do."""
        report = self._upload.drain.report
        is_left = report is not None and report.outcome is not Outcome.COMPLETE
        try:
            await self._release_start(last if is_left else None)
            await self._send_end(last)
        finally:
            self._upload.over_behind_answer()

    async def _release_start_of_drain(self, last: Message) -> None:
        try:
            await self._release_start(last)
        except BaseException as exc:
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
