"""The threads that serve requests, and how many of them drains may hold while clients stand still.

Rule 1: a drain that may wait for long has a place, and there are places for half of the threads.
Rule 2: one without a place waits only as long as nobody notices. Where no deadline could end its
reads it does not begin, unless one that moves makes room in a moment.
"""

from __future__ import annotations

import functools
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import BuiltinFunctionType
from typing import Any

from drainkit import DEFAULTS, Capacity, Defaults, Resource, process_capacity

from ._types import Environ, StartResponse
from .servers import Connection, Server

# Idents are used again, so that a server which makes a thread for each connection has as many as
# it had connections at once.
_MOST_SEEN = 4096

# A server that says that it has several threads has two at least.
_FEWEST_THREADS = 2

# How long a drain waits for another to make room, and how lately that must have read something.
_ROOM_SECONDS = 0.5
_MOVING_SECONDS = 0.25
_LOOK_SECONDS = 0.005


class _Threads:
    """What is known of the threads of this process.

    Attributes:
        places: The places of those that may wait for long.
        most: How many drains that nothing can end there may be at once, by the name of a server
            that says how many threads it has.
        moved_at: When a drain that nothing can end began or read something, in seconds of
            `time.monotonic`.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        # A forked child has one thread, and drains of its own.
        self._seen: set[int] = set()
        self.most: dict[str, int] = {}
        self.places = Capacity()
        self.moved_at = -math.inf

    def seen(self) -> int:
        """Take note of the current thread, and return how many there are at least."""
        if len(self._seen) < _MOST_SEEN:
            self._seen.add(threading.get_ident())
        return max(_FEWEST_THREADS, len(self._seen))


_threads = _Threads()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads._forget)


class Place:
    """The right of one drain to wait for long, which it may not have yet.

    Attributes:
        most: How many have it at most, in this process.
    """

    __slots__ = ("_is_taken", "_places", "most")

    def __init__(self, threads: float) -> None:
        """Begin without it.

        Args:
            threads: How many threads the server has.
        """
        # There is none to leave free where there is only one.
        self.most = max(1, int(threads) // 2)
        self._places = _threads.places
        self._is_taken = False

    def take(self) -> bool:
        """Have the right from now on, if it is to be had; say whether the drain has it."""
        if not self._is_taken:
            self._is_taken = self._places.acquire(self.most)
        return self._is_taken

    def give_back(self) -> None:
        """Let another have it. Does nothing if the drain does not have it."""
        if self._is_taken:
            self._is_taken = False
            self._places.release()


def moved(now: float) -> None:
    """Take note that a drain which nothing can end began or has read something."""
    _threads.moved_at = now


def wait_for_room(most: int) -> None:
    """Wait a moment while *most* drains which nothing can end are under way, and one moves."""
    until = time.monotonic() + _ROOM_SECONDS
    while 0 < most <= process_capacity.active:
        now = time.monotonic()
        if now >= until or now - _threads.moved_at > _MOVING_SECONDS:
            return
        time.sleep(_LOOK_SECONDS)


def threads_seen() -> int:
    """Return how many threads a server has at least that does not tell; with this one."""
    return _threads.seen()


def are_greenlets(sleep: Callable[[float], None]) -> bool:
    """Tell whether threads are greenlets: their libraries have a function of theirs for waiting.

    Args:
        sleep: What waits for some seconds here.
    """
    return not isinstance(sleep, BuiltinFunctionType)


def resource_of(environ: Environ, resource: Resource | None) -> Resource:
    """Return what a drain of this request holds.

    Args:
        environ: The WSGI environ.
        resource: What is known of its server; ``None`` where the environ says it.
    """
    if resource is not None:
        return resource
    if are_greenlets(time.sleep):
        return Resource.GREENLET
    # PEP 3333 requires the key.
    return Resource.THREAD if environ.get("wsgi.multithread", True) else Resource.PROCESS


def bounds_of(
    environ: Environ, server: Server, connection: Connection
) -> tuple[Defaults, Place | None]:
    """Return the bounds that a policy leaves open, by what a drain of this request holds.

    Args:
        environ: The WSGI environ.
        server: What is known of the server.
        connection: The request's connection.

    Returns:
        The bounds; and the place that the drain needs to wait for long, or ``None`` where it needs
        none.
    """
    resource = resource_of(environ, server.holds)
    defaults = DEFAULTS[resource]
    if resource is Resource.GREENLET:
        return defaults.leaving_half(connection.most_requests), None
    if environ.get("wsgi.run_once"):
        return defaults, None  # in a process that ends with the request there is nobody else
    threads: float = 1
    if resource is Resource.THREAD:
        threads = server.threads or connection.threads or threads_seen()
    if threads == math.inf:
        return defaults, None
    if connection.descriptor is None:
        # No deadline can end a read: a silent client has its thread until it leaves.
        return _with_max_concurrent(resource, int(threads) // 2), None
    return defaults, Place(threads) if resource is Resource.THREAD else None


def most_out_of_reach(
    environ: Environ, stream: Any, server: Server, start_response: StartResponse | None
) -> int:
    """Return how many drains there may be at once of a server whose connections are out of reach.

    Args:
        environ: The WSGI environ.
        stream: The server's own ``wsgi.input``.
        server: What is known of the server.
        start_response: The server's; ``None`` where the adapter does not have it.
    """
    most = _threads.most.get(server.name)
    if most is None:
        connection = server.connection(environ, stream, start_response)
        most = bounds_of(environ, server, connection)[0].max_concurrent
        # What it says stays so. What was seen of another one grows.
        if server.threads or connection.threads:
            _threads.most[server.name] = most
    return most


@functools.lru_cache(maxsize=64)  # a process has a handful of them
def _with_max_concurrent(resource: Resource, max_concurrent: int) -> Defaults:
    return replace(DEFAULTS[resource], max_concurrent=max_concurrent)
