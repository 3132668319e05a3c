"""How many drains are under way in this process.

Rule: never above the limit, always given back. Whoever takes a place gives it back in a
``finally``; `Drain` does so whatever ends it.
"""

from __future__ import annotations

import os
import threading


class Capacity:
    """Counts the drains under way, safely across threads.

    Attributes:
        active: Drains under way now.
    """

    __slots__ = ("_lock", "active")

    def __init__(self) -> None:
        self.active = 0
        self._lock = threading.Lock()

    def acquire(self, limit: int) -> bool:
        """Take a place, unless *limit* places are taken; say whether one was taken."""
        with self._lock:
            if self.active >= limit:
                return False
            self.active += 1
            return True

    def release(self) -> None:
        """Give a place back."""
        with self._lock:
            # In a child that was forked in the middle of its drain the count began anew.
            if self.active > 0:
                self.active -= 1

    def _forget(self) -> None:
        # In a forked child the drains belong to threads that exist in the parent only, and one
        # of them may have held the lock.
        self._lock = threading.Lock()
        self.active = 0


process_capacity = Capacity()
"""The places of this process, shared by every middleware in it."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=process_capacity._forget)
