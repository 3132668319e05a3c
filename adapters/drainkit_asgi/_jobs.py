"""Tasks of a request's own, beside that of its application.

Rule 1: under asyncio a request has none, and pays for none, until one is started.
Rule 2: a job that is stopped ends as if it had returned. A task that is cancelled in another way
keeps its traceback, and with it the request, until the garbage collector runs; a server may not
reset a stream before that.
Rule 3: no job outlives its request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

import anyio
import anyio.abc

Function: TypeAlias = Callable[[], Awaitable[None]]


class Job(Protocol):
    """A task that was started for a request."""

    def stop(self) -> None:
        """Cancel it."""

    async def wait(self) -> None:
        """Wait for its end. A caller that is cancelled meanwhile leaves it running.

        Raises:
            Exception: What it raised.
        """

    async def end(self) -> None:
        """Stop it and wait for its end, even when cancelled meanwhile."""


class Handle(Protocol):
    """A call that is to be made later."""

    def cancel(self) -> None:
        """Do not make it."""


class Jobs(Protocol):
    """Starts the tasks of one request."""

    def start(self, function: Function) -> Job:
        """Start a task, which runs when the caller waits.

        It must raise no Exception that is expected.
        """
        ...

    def call_later(self, seconds: float, function: Callable[[], object]) -> Handle:
        """Call a function after so many seconds; ``0`` is behind one turn of the event loop."""
        ...


class AsyncioJobs:
    """The tasks of one request under asyncio."""

    __slots__ = ("_loop",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def start(self, function: Function) -> Job:
        return _AsyncioJob(self._loop, function)

    def call_later(self, seconds: float, function: Callable[[], object]) -> Handle:
        if seconds:
            return self._loop.call_later(seconds, function)
        return self._loop.call_soon(function)


class _AsyncioJob:
    __slots__ = ("_is_stopped", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop, function: Function) -> None:
        self._is_stopped = False
        # Not by the loop: its factory may be asyncio.eager_task_factory, which would receive some
        # of the body here, before the answer has gone out. That invites who waits for 100 Continue.
        self._task: asyncio.Task[None] | None = asyncio.Task(self._run(function), loop=loop)

    async def _run(self, function: Function) -> None:
        try:
            await function()
        except asyncio.CancelledError:
            if not self._is_stopped:
                raise

    def stop(self) -> None:
        if self._task is not None:
            self._is_stopped = True
            self._task.cancel()

    async def wait(self) -> None:
        task = self._task
        if task is None:
            return
        if not task.done():
            await asyncio.wait([task])
        self._task = None  # or the two would hold each other, where it was cancelled
        if not task.cancelled():
            task.result()

    async def end(self) -> None:
        task = self._task
        if task is None:
            return
        self.stop()
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as exc:
                cancelled = exc
        self._task = None
        if not task.cancelled():
            task.exception()  # nobody waits for it, and asyncio would log it
        try:
            if cancelled is not None:
                raise cancelled
        finally:
            del cancelled  # or its traceback and this frame would hold each other


class TrioJobs:
    """The tasks of one request under trio, where a nursery must stand around the application."""

    __slots__ = ("_tasks",)

    def __init__(self, tasks: anyio.abc.TaskGroup) -> None:
        self._tasks = tasks

    def start(self, function: Function) -> Job:
        return _TrioJob(self._tasks, function)

    def call_later(self, seconds: float, function: Callable[[], object]) -> Handle:
        return _TrioHandle(self._tasks, seconds, function)


class _TrioJob:
    __slots__ = ("_ended", "_error", "_scope")

    def __init__(self, tasks: anyio.abc.TaskGroup, function: Function) -> None:
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()
        self._error: Exception | None = None
        tasks.start_soon(self._run, function)

    async def _run(self, function: Function) -> None:
        try:
            with self._scope:
                await function()
        except Exception as exc:
            self._error = exc  # for who waits, and not for the nursery
        finally:
            self._ended.set()

    def stop(self) -> None:
        self._scope.cancel()

    async def wait(self) -> None:
        await self._ended.wait()
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # or its traceback and this frame would hold each other

    async def end(self) -> None:
        self.stop()
        with anyio.CancelScope(shield=True):
            await self._ended.wait()


class _TrioHandle:
    __slots__ = ("_scope",)

    def __init__(
        self, tasks: anyio.abc.TaskGroup, seconds: float, function: Callable[[], object]
    ) -> None:
        self._scope = anyio.CancelScope()
        tasks.start_soon(_call_under_trio, function, self._scope, seconds)

    def cancel(self) -> None:
        self._scope.cancel()


async def _call_under_trio(
    function: Callable[[], Any], scope: anyio.CancelScope, seconds: float
) -> None:
    with scope:
        await anyio.sleep(seconds)
    if not scope.cancelled_caught:
        function()
