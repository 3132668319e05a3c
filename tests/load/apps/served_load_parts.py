"""What both applications under load tell of their process."""

import asyncio
import collections
import contextlib
import ctypes
import gc
import json
import os
import sys
import threading
from typing import Any

from drainkit import Capacity, DrainPolicy, process_capacity

# Of drainkit's reports, by outcome.
_outcomes: collections.Counter[str] = collections.Counter()
_lock = threading.Lock()

# How many drains were seen at once: looked at after each place that was taken, so that no moment
# at which the count rose is missed.
_actives: set[int] = set()

# Applications that wait in ``/hold`` for more of a body.
holding: set[int] = set()

# For /crowd, whose uploads find no place as soon as there is one drain.
CROWDED = DrainPolicy(max_concurrent=1)


def watch_capacity() -> None:
    """Look at the count of drains whenever it has risen."""
    acquire = Capacity.acquire

    def watched(self: Capacity, limit: int) -> bool:
        taken = acquire(self, limit)
        if taken:
            _actives.add(self.active)
        return taken

    Capacity.acquire = watched  # type: ignore[method-assign]


def count_report(report: Any) -> None:
    """Count a report by its outcome."""
    with _lock:
        _outcomes[report.outcome.name] += 1


def state(query: str) -> bytes:
    """Return what the process can tell of itself, as JSON.

    Args:
        query: ``collect`` collects garbage before, gives free memory back to the kernel, and
            counts drainkit's objects.
    """
    told: dict[str, Any] = {
        "pid": os.getpid(),
        "active": process_capacity.active,
        "most_active": max(_actives, default=0),
        "holding": len(holding),
        "outcomes": dict(_outcomes),
        "tasks": _tasks(),
    }
    if query == "collect":
        gc.collect()
        with contextlib.suppress(AttributeError):  # only glibc has it
            # What its allocator keeps comes and goes by tens of MiB.
            ctypes.CDLL(None).malloc_trim(0)
        told["objects"] = _objects()
        told["blocks"] = sys.getallocatedblocks()
    return json.dumps(told).encode()


def _tasks() -> int | None:
    """Return the number of asyncio tasks or greenlets; None where there are only threads."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        pass
    if "gevent" not in sys.modules:
        return None
    from greenlet import greenlet

    return sum(isinstance(thing, greenlet) and not thing.dead for thing in gc.get_objects())


def _objects() -> int:
    """Return how many instances of drainkit's classes are alive."""
    # What a class calls its module may be anything.
    modules = (str(getattr(type(thing), "__module__", "")) for thing in gc.get_objects())
    return sum(module.partition(".")[0] in _OURS for module in modules)


_OURS = frozenset({"drainkit", "drainkit_asgi", "drainkit_wsgi"})
