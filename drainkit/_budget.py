"""How many bytes all requests of this process keep for applications that read late.

Rule 1: never above the limit, and always given back: by whoever keeps, or when that is freed.
Rule 2: a request that keeps nothing takes no lock.
"""

from __future__ import annotations

import os
import threading
from collections import deque

# Arbitrary: so many bodies that are read late, each as large as its policy allows, are a busy
# process. By default it comes to 16 MiB, what 256 connections hold in the first buffers of uvicorn
# or hypercorn (64 KiB each).
BODIES_AT_ONCE = 16


class Budget:
    """Counts the bytes that are kept, or that may be at any moment, safely across threads."""

    __slots__ = ("_lock", "_returned", "_taken_bytes")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken_bytes = 0
        # What was given back and is not counted yet. A finalizer may run at any moment, also in
        # the middle of take() in the same thread, so giving back takes no lock.
        self._returned: deque[int] = deque()

    def take(self, nbytes: int, limit_bytes: int) -> bool:
        """Take room for *nbytes*, unless more than *limit_bytes* would be taken; say whether."""
        with self._lock:
            self._count()
            if self._taken_bytes + nbytes > limit_bytes:
                return False
            self._taken_bytes += nbytes
            return True

    def give(self, nbytes: int) -> None:
        """Give room back."""
        self._returned.append(nbytes)

    @property
    def taken_bytes(self) -> int:
        """How many bytes are taken now."""
        with self._lock:
            self._count()
            return self._taken_bytes

    def _count(self) -> None:
        while self._returned:
            # In a child that was forked meanwhile the count began anew.
            self._taken_bytes = max(0, self._taken_bytes - self._returned.popleft())

    def _forget(self) -> None:
        # In a forked child what is kept belongs to threads that exist in the parent only, and one
        # of them may have held the lock.
        self._lock = threading.Lock()
        self._taken_bytes = 0
        self._returned.clear()


process_budget = Budget()
"""The budget of this process, shared by every middleware in it."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=process_budget._forget)
