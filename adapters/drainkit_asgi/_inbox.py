"""The server's ``receive()``, called by one at a time, with no message lost.

Rule: whoever is cancelled while it waits leaves the message to the next one.
"""

from __future__ import annotations

import asyncio

import anyio

from ._types import Message, Receive


class Inbox:
    """Takes the messages of one request off the server, in order."""

    __slots__ = ("_freed", "_is_busy", "_pending", "_receive")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_busy = False
        self._freed: anyio.Event | None = None
        self._pending: asyncio.Future[Message] | None = None

    async def take(self) -> Message:
        """Wait for the next message; whoever else is waiting comes first."""
        await self._enter()
        try:
            if self._pending is None:
                return await self._receive()
            return await self._take_pending(self._pending)
        finally:
            self._leave()

    async def take_or_leave(self) -> Message:
        """Like `take`, for a waiter that will be cancelled although messages may yet come."""
        await self._enter()
        try:
            if self._pending is None:
                try:
                    asyncio.get_running_loop()
                except RuntimeError:
                    # trio: a cancelled receive() has not taken anything.
                    return await self._receive()
                # asyncio: a receive() that is cancelled when its message has just come loses it
                # (granian's does), so it is not cancelled but waited for again.
                self._pending = asyncio.ensure_future(self._receive())
            return await self._take_pending(self._pending)
        finally:
            self._leave()

    def close(self) -> None:
        """Give up what is still being waited for: nobody will ask any more."""
        if self._pending is not None:
            self._pending.add_done_callback(_retrieve)
            self._pending.cancel()
            self._pending = None

    async def _take_pending(self, pending: asyncio.Future[Message]) -> Message:
        await asyncio.wait([pending])
        self._pending = None
        return pending.result()

    async def _enter(self) -> None:
        while self._is_busy:
            if self._freed is None:
                self._freed = anyio.Event()
            await self._freed.wait()
        self._is_busy = True

    def _leave(self) -> None:
        self._is_busy = False
        if self._freed is not None:
            self._freed.set()
            self._freed = None


def _retrieve(pending: asyncio.Future[Message]) -> None:
    # Otherwise asyncio would log an exception that nobody asked for.
    if not pending.cancelled():
        pending.exception()
