"""The server's ``receive()``, called by one at a time, with no message lost.

Rule: whoever is cancelled while it waits leaves the message to the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import anyio

from ._types import Message, Receive


class Inbox:
    """Takes the messages of one request off the server, in order.

    It is entered before a message is received, as a context, by whoever finds that it is not busy.
    Who had to wait for that must look anew at what others have received meanwhile.

    Attributes:
        is_busy: Whether somebody is receiving.
    """

    __slots__ = ("_freed", "_pending", "_receive", "is_busy")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.is_busy = False
        self._freed: anyio.Event | None = None
        self._pending: asyncio.Future[Message] | None = None

    async def wait(self) -> None:
        """Wait until nobody is receiving."""
        while self.is_busy:
            if self._freed is None:
                self._freed = anyio.Event()
            await self._freed.wait()

    def __enter__(self) -> None:
        assert not self.is_busy  # nothing was awaited since the caller looked
        self.is_busy = True

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.is_busy = False
        if self._freed is not None:
            self._freed.set()
            self._freed = None

    def receive(self) -> Awaitable[Message]:
        """Wait for the next message."""
        return self._receive() if self._pending is None else self._take(self._pending)

    async def receive_or_leave(self) -> Message:
        """Like `receive`, for one that will be cancelled although messages may yet come."""
        if self._pending is None:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                # trio: a cancelled receive() has not taken anything.
                return await self._receive()
            # asyncio: a receive() that is cancelled when its message has just come loses it
            # (granian's does), so it is not cancelled but waited for again.
            self._pending = asyncio.ensure_future(self._receive())
        return await self._take(self._pending)

    def close(self) -> None:
        """Give up what is still being waited for: nobody will ask any more."""
        if self._pending is not None:
            self._pending.add_done_callback(_retrieve)
            self._pending.cancel()
            self._pending = None

    async def _take(self, pending: asyncio.Future[Message]) -> Message:
        await asyncio.wait([pending])
        self._pending = None
        return pending.result()


def _retrieve(pending: asyncio.Future[Message]) -> None:
    # Otherwise asyncio would log an exception that nobody asked for.
    if not pending.cancelled():
        pending.exception()
