"""Deadlines for blocking reads: one thread a process that shuts a socket's read side.

Rule 1: nothing exists until the first drain is under way.
Rule 2: it works on a duplicate of the descriptor, so it can never touch a connection that got
the number of a closed one.
Rule 3: whatever it does to a watched socket it does under the lock under which the watch ends, so
it never interrupts a request that has finished draining.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator


class Watch:
    """One connection whose blocking reads must end at a deadline.

    Attributes:
        deadline: When to interrupt, in seconds of `time.monotonic`. May be moved later at any
            time, without a lock.
        fired: Whether the read side has been shut.
    """

    __slots__ = ("_descriptor", "deadline", "fired")

    def __init__(self, descriptor: int, deadline: float) -> None:
        self._descriptor = descriptor
        self.deadline = deadline
        self.fired = False

    def shut(self) -> None:
        """Shut the read side: a blocked read returns, later ones see the end of the stream.

        What the server still has to send is not touched.
        """
        if self.fired:
            return
        self.fired = True
        # A socket object may switch the shared description to non-blocking (setdefaulttimeout).
        blocking = os.get_blocking(self._descriptor)
        connection = socket.socket(fileno=self._descriptor)
        try:
            os.set_blocking(self._descriptor, blocking)
            with contextlib.suppress(OSError):  # the client has left already
                connection.shutdown(socket.SHUT_RD)
        finally:
            connection.detach()

    def close(self) -> None:
        """Give the duplicate up."""
        os.close(self._descriptor)


class _Watchdog:
    """Watches the connections of the drains under way."""

    def __init__(self) -> None:
        self._start_lock = threading.Lock()
        self._condition: threading.Condition | None = None
        self._watches: set[Watch] = set()
        self._wakes_at = float("inf")

    @contextlib.contextmanager
    def watching(self, descriptor: int, deadline: float) -> Iterator[Watch]:
        """Watch a connection until the block ends."""
        condition = self._condition or self._start()
        watch = Watch(os.dup(descriptor), deadline)
        with condition:
            self._watches.add(watch)
            if deadline < self._wakes_at:
                condition.notify()
        try:
            yield watch
        finally:
            with condition:
                self._watches.discard(watch)
                watch.close()

    def _start(self) -> threading.Condition:
        with self._start_lock:
            if self._condition is None:
                # Made now and not at import: gevent may have replaced these names since.
                self._condition = threading.Condition()
                threading.Thread(
                    target=self._run, args=(self._condition,), name="drainkit", daemon=True
                ).start()
            return self._condition

    def _run(self, condition: threading.Condition) -> None:
        with condition:
            while True:
                self._wakes_at = min(
                    (watch.deadline for watch in self._watches if not watch.fired),
                    default=float("inf"),
                )
                if self._wakes_at == float("inf"):
                    condition.wait()
                else:
                    condition.wait(max(0.0, self._wakes_at - time.monotonic()))
                now = time.monotonic()
                for watch in self._watches:
                    if not watch.fired and watch.deadline <= now:
                        watch.shut()

    def _forget(self) -> None:
        # A forked child has no thread of ours, and must not hold its parent's connections open.
        self._start_lock = threading.Lock()
        self._condition = None
        watches, self._watches = self._watches, set()
        for watch in watches:
            watch.close()


_watchdog = _Watchdog()
watching = _watchdog.watching

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_watchdog._forget)
