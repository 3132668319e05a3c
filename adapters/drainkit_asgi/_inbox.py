"""The server's ``receive()``, called by one at a time, with no message lost.

Rule 1: a caller that is cancelled while it waits leaves the message to the next one.
Rule 2: a message that has come is given without a turn of the event loop. A caller that polls in a
cancelled scope, as Starlette's ``is_disconnected()`` does, sees no other.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, TypeAlias

import anyio

from ._types import Message, Receive

Loop: TypeAlias = asyncio.AbstractEventLoop


class Inbox:
    """Takes the messages of one request off the server, in order.

    Whoever finds it not busy enters it, as a context, and receives a message. Whoever had to wait
    for that must look again: others may have received meanwhile.

    Attributes:
        _came: Messages that were taken before anybody asked; the next to be given, in this order.
        _pending: Behind those, a ``receive()`` that was begun and not waited for to its end.
    """

    # Set by `Exchange`, in one __init__ for all rooms: every request with a body pays for a call.
    _came: list[Message] | None
    _freed: anyio.Event | None
    _is_busy: bool
    _pending: asyncio.Future[Message] | _Stepped | None
    _receive: Receive

    __slots__ = ("_came", "_freed", "_is_busy", "_pending", "_receive")

    def __enter__(self) -> None:
        assert not self._is_busy  # nothing was awaited since the caller looked
        self._is_busy = True

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._is_busy = False
        if self._freed is not None:
            self._set_free()

    def _set_free(self) -> None:
        freed, self._freed = self._freed, None
        if freed is not None:
            freed.set()

    async def _wait_until_free(self) -> None:
        while self._is_busy:
            if self._freed is None:
                self._freed = anyio.Event()
            await self._freed.wait()

    def _next(self) -> Awaitable[Message]:
        """Wait for the next message."""
        if self._came:
            return _given(self._came.pop(0))
        pending = self._pending
        if pending is None:
            return self._receive()
        if isinstance(pending, _Stepped):
            self._pending = None
            return _go_on(pending)
        return self._take(pending)

    def _step(self) -> Message | None:
        """Return the next message if it has come; otherwise leave its ``receive()`` pending.

        Only where the row of the server says that its ``receive()`` may be stepped.
        """
        if self._came:
            return self._came.pop(0)
        return self._step_server()

    def _step_server(self) -> Message | None:
        pending = self._pending
        if pending is None:
            coroutine: Any = self._receive()
        elif isinstance(pending, _Stepped) and pending.may_go_on:
            self._pending = None
            coroutine = pending.coroutine
        else:
            return None
        try:
            waits_for = coroutine.send(None)
        except StopIteration as end:
            message: Message = end.value
            return message
        self._pending = _Stepped(coroutine, waits_for)
        return None

    async def _next_or_leave(self) -> Message:
        """Wait as `_next` does, where the wait may be cancelled although messages may yet come."""
        if self._came:
            return self._came.pop(0)
        if running_loop() is None:
            return await self._receive()  # trio: a cancelled receive() has not taken anything
        return await self._take(self._leave_pending())

    async def _look(self) -> Message | None:
        """Return the next message if it has come, without waiting; otherwise wait for it later."""
        if self._came:
            return self._came.pop(0)
        if running_loop() is None:
            return None  # trio: a receive() always waits, for a turn of the event loop at least
        pending = self._leave_pending()
        return await self._take(pending) if pending.done() else None

    def _leave_pending(self) -> asyncio.Future[Message]:
        """Return a ``receive()`` that is not cancelled with who waits for it.

        asyncio: some servers' lose a message that has just come when they are cancelled.
        """
        pending = self._pending
        if pending is None or isinstance(pending, _Stepped):
            self._pending = pending = asyncio.ensure_future(_awaited(self._next()))
        return pending

    async def _take(self, pending: asyncio.Future[Message]) -> Message:
        if not pending.done():
            await asyncio.wait([pending])
        self._pending = None
        return pending.result()

    def _give_up_pending(self) -> None:
        """Give up what is still being waited for: nobody will ask any more."""
        pending, self._pending = self._pending, None
        if isinstance(pending, _Stepped):
            pending.coroutine.close()
        elif pending is not None:
            pending.add_done_callback(_retrieve)
            pending.cancel()


class _Stepped:
    """A ``receive()`` that was begun in one task and may be gone on with in another.

    Attributes:
        coroutine: What it is.
        waits_for: What it gave its task to wait for: a future under asyncio.
    """

    __slots__ = ("coroutine", "waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, Message], waits_for: Any) -> None:
        self.coroutine = coroutine
        self.waits_for = waits_for

    @property
    def may_go_on(self) -> bool:
        """Whether what it waits for has come, so that it need not wait any more."""
        future = self.waits_for
        return isinstance(future, asyncio.Future) and future.done() and not future.cancelled()


@types.coroutine
def _go_on(stepped: _Stepped) -> Generator[Any, Any, Message]:
    """Wait for the message of a ``receive()`` that was begun."""
    coroutine, waits_for = stepped.coroutine, stepped.waits_for
    try:
        while True:
            try:
                yield waits_for
            except BaseException as exc:
                waits_for = coroutine.throw(exc)
            else:
                waits_for = coroutine.send(None)
    except StopIteration as end:
        message: Message = end.value
        return message


async def _given(message: Message) -> Message:
    return message


async def _awaited(awaitable: Awaitable[Message]) -> Message:
    return await awaitable


def _retrieve(pending: asyncio.Future[Message]) -> None:
    # Otherwise asyncio would log an exception that nobody asked for.
    if not pending.cancelled():
        pending.exception()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return asyncio's event loop; ``None`` under trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
