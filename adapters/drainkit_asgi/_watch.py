"""Looks after requests that wait for a moment, with one timer for all of an event loop.

Nearly all are over long before it goes off. A timer of its own would cost each of them as much as a
task.
"""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from typing import Protocol

# Longer than it takes to be told of what has come, and so short that a request which waits
# meanwhile holds no place among the drains.
SOON_SECONDS = 0.02
_ROUNDING_SECONDS = 1e-6


class Waiting(Protocol):
    """A request that waits.

    Attributes:
        context: Its own, in which it is told.
    """

    context: contextvars.Context

    def waited(self) -> None:
        """Take note that it has waited for `SOON_SECONDS`."""


class Watch:
    """The requests of one event loop that wait.

    Attributes:
        since: When each began to wait, in this order. Who waits no longer leaves.
    """

    __slots__ = ("_is_armed", "since")

    def __init__(self) -> None:
        self._is_armed = False
        self.since: dict[Waiting, float] = {}

    def add(self, request: Waiting, now: float) -> None:
        """Look after a request of the running event loop from *now* on, which is its time."""
        self.since[request] = now
        if not self._is_armed:
            self._arm(now)

    def _arm(self, since: float) -> None:
        self._is_armed = True
        # In no request's context, which would live as long as others wait.
        context = contextvars.Context()
        asyncio.get_running_loop().call_at(since + SOON_SECONDS, self._look, context=context)

    def _look(self) -> None:
        self._is_armed = False
        until = asyncio.get_running_loop().time() - SOON_SECONDS + _ROUNDING_SECONDS
        late = [request for request, since in self.since.items() if since <= until]
        for request in late:
            del self.since[request]
        if self.since:
            self._arm(next(iter(self.since.values())))  # the one that waits longest
        for request in late:
            request.context.run(request.waited)


# A watch does not hold its loop, so that it goes with it.
_watches: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = weakref.WeakKeyDictionary()


def watch_of(loop: asyncio.AbstractEventLoop) -> Watch:
    """Return the watch of an event loop."""
    watch = _watches.get(loop)
    if watch is None:
        watch = _watches[loop] = Watch()
    return watch
