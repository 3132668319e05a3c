"""Deadlines for blocking reads: one thread a process that shuts a socket's read side.

Rule 1: nothing exists until the first drain is under way.
Rule 2: it works on a duplicate of the descriptor, so it can never touch a connection that got
the number of a closed one.
Rule 3: whatever it does to a watched socket it does under the lock under which the watch ends, so
it never interrupts a request that has finished draining.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

# How much later than a socket's own timeout the read side is shut: long enough for the timeout
# to come first, short enough to keep a deadline exact to 0.25 s.
_AFTER_TIMEOUT_SECONDS = 0.2

# The kernel's own account of a connection, of Linux's struct tcp_info (include/uapi/linux/tcp.h):
# tcpi_last_data_recv, milliseconds since data came in its order, and tcpi_data_segs_in, how many
# segments with data came at all. Those that are out of order, or come again, are all that a line
# sends for seconds that has become slow. TLS and chunks are data, too: only the bounds that no
# segment moves tell what is body.
_LAST_DATA_RECV = slice(52, 56)
_DATA_SEGS_IN = slice(152, 156)

# The kernel's clock has ticks of up to 10 milliseconds.
_MOMENT_SECONDS = 0.02

# So many times within a silence it is looked whether segments come that bring nothing new.
_LOOKS = 4

# What every clock and every socket can wait; a policy may allow more.
_LONGEST_WAIT_SECONDS = 86_400.0


@contextlib.contextmanager
def _socket_of(descriptor: int) -> Iterator[socket.socket]:
    """Return a socket object for a descriptor that stays open, and as blocking as it was."""
    # A socket object may switch the shared description to non-blocking (setdefaulttimeout).
    blocking = os.get_blocking(descriptor)
    connection = socket.socket(fileno=descriptor)
    try:
        os.set_blocking(descriptor, blocking)
        yield connection
    finally:
        connection.detach()


def shut_read_side(descriptor: int) -> None:
    """Shut the read side of a connection; that the client has left already is no error."""
    with contextlib.suppress(OSError), _socket_of(descriptor) as connection:
        connection.shutdown(socket.SHUT_RD)
        # What arrives can still be read (Linux net/ipv4/tcp.c, tcp_recvmsg_locked): let it be
        # so little that a server which reads on soon finds nothing.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)


def is_unix_socket(descriptor: int) -> bool:
    """Tell whether a connection is a Unix socket."""
    with contextlib.suppress(OSError), _socket_of(descriptor) as connection:
        return connection.family == getattr(socket, "AF_UNIX", None)
    return False


class Arrivals(NamedTuple):
    """What a connection has received.

    Attributes:
        at: When data came last in its order, in seconds of `time.monotonic`.
        segments: How many segments with data came, in their order or not.
    """

    at: float
    segments: int


def arrivals(descriptor: int, now: float) -> Arrivals | None:
    """Return what a connection has received.

    Args:
        descriptor: That of the connection.
        now: The time, in seconds of `time.monotonic`.

    Returns:
        ``None`` where the kernel does not tell it: of a Unix socket, on other systems than Linux,
        and before Linux 4.6. Nor is it asked where a default timeout is set: for a moment the
        server's own reads would not block.
    """
    if sys.platform == "linux" and socket.getdefaulttimeout() is None:
        with contextlib.suppress(OSError), _socket_of(descriptor) as connection:
            size = _DATA_SEGS_IN.stop
            facts = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
            if len(facts) == size:
                milliseconds = int.from_bytes(facts[_LAST_DATA_RECV], sys.byteorder)
                segments = int.from_bytes(facts[_DATA_SEGS_IN], sys.byteorder)
                return Arrivals(now - milliseconds / 1000, segments)
    return None


class Watch:
    """One connection whose blocking reads must end at a deadline.

    Attributes:
        deadline: When to interrupt, in seconds of `time.monotonic`; later when the client has
            sent something meanwhile.
        silent_seconds: So long behind what it sent last.
        latest: But never later than this.
        looks_at: When to look whether it sends.
        last_at: When it was last seen to send.
        fired: Whether the read side has been shut.
    """

    __slots__ = (
        "_descriptor",
        "_segments",
        "deadline",
        "fired",
        "last_at",
        "latest",
        "looks_at",
        "silent_seconds",
    )

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._segments: int | None = None
        self.deadline = math.inf
        self.silent_seconds = 0.0
        self.latest = -math.inf
        self.looks_at = math.inf
        self.last_at = -math.inf
        self.fired = False

    @property
    def wakes_at(self) -> float:
        """When there is something to do."""
        return min(self.deadline, self.looks_at)

    def look(self, now: float) -> None:
        """Move the deadline if the client has sent something."""
        deadline = self.deadline
        if self.latest <= now or self.latest <= deadline:
            self.looks_at = math.inf
            if deadline <= now:
                # What ends the read is judged by what the client did until now, and not until the
                # look before: who sent all the time was not silent.
                self._see(now)
            return
        self.looks_at = now + self.silent_seconds / _LOOKS
        if not self._see(now):
            self.looks_at = math.inf
            return
        later = min(self.last_at + self.silent_seconds, self.latest)
        # Unless a new read has just begun, which has its own. That of the old one is at most a
        # little later, and within the bounds that no segment moves.
        if later > deadline and self.deadline == deadline:
            self.deadline = later

    def _see(self, now: float) -> bool:
        """Take note of when the client has sent something; tell whether that can be seen."""
        came = arrivals(self._descriptor, now)
        if came is None:
            return False
        is_new = self._segments not in (None, came.segments)
        is_in_order = came.at > self.last_at + _MOMENT_SECONDS
        self._segments = came.segments
        if is_in_order:
            self.last_at = came.at
        elif is_new:
            self.last_at = now
        return True

    def shut(self) -> None:
        """Shut the read side: a blocked read returns, later ones see the end of the stream.

        What the server still has to send is not touched.
        """
        if not self.fired and self._descriptor >= 0:
            self.fired = True
            shut_read_side(self._descriptor)

    def close(self) -> None:
        """Give the duplicate up. Does nothing twice: its number may be another's by then."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            # Not os.close(): gevent's puts it off until its loop has something else to do, and as
            # long the connection stays open. Nothing waits for this descriptor.
            socket.close(descriptor)


class _Watchdog:
    """Watches the connections of the drains under way."""

    def __init__(self) -> None:
        self._new_lock = threading.Lock()
        self._condition: threading.Condition | None = None
        self._is_running = False
        self._watches: set[Watch] = set()
        self._wakes_at = math.inf

    def watch(self, descriptor: int) -> Watch:
        """Watch a connection until `end`; `allow` says for how long it may block."""
        condition = self._condition
        if condition is None or not self._is_running:
            condition = self._start()
        with condition:
            watch = Watch(os.dup(descriptor))
            self._watches.add(watch)
        return watch

    def end(self, watch: Watch) -> None:
        """Watch it no more."""
        condition = self._condition
        if condition is None:
            watch.close()  # forked in the middle of its drain
            return
        with condition:
            self._watches.discard(watch)
            watch.close()

    def allow(self, watch: Watch, seconds: float, most_seconds: float = 0.0) -> None:
        """Move a watch's deadline to *seconds* from now.

        While the client is seen to send it moves by itself, to *most_seconds* from now.
        """
        now = time.monotonic()
        watch.silent_seconds = seconds
        watch.latest = now + most_seconds
        watch.looks_at = now + seconds / _LOOKS
        deadline = now + seconds
        if deadline >= watch.deadline or self._condition is None:
            watch.deadline = deadline  # the thread wakes too early, and looks again
            return
        # Under the lock: the thread may be looking at the deadlines, and not have said yet when it
        # will wake.
        with self._condition:
            watch.deadline = deadline
            if deadline < self._wakes_at:
                self._condition.notify()

    def _start(self) -> threading.Condition:
        # Made now and not at import: gevent may have replaced these names since. It does not know
        # of locks that are older, so nothing that lets another greenlet run is done under this one.
        with self._new_lock:
            if self._condition is None:
                self._condition = threading.Condition()
            condition = self._condition
        with condition:
            if not self._is_running:
                self._is_running = True
                try:
                    threading.Thread(
                        target=self._run, args=(condition,), name="drainkit", daemon=True
                    ).start()
                except Exception:
                    self._is_running = False
                    raise
        return condition

    def _run(self, condition: threading.Condition) -> None:
        with condition:
            while True:
                self._wakes_at = min(
                    (watch.wakes_at for watch in self._watches if not watch.fired),
                    default=math.inf,
                )
                if self._wakes_at == math.inf:
                    condition.wait()
                else:
                    seconds = max(0.0, self._wakes_at - time.monotonic())
                    condition.wait(min(seconds, _LONGEST_WAIT_SECONDS))
                now = time.monotonic()
                for watch in self._watches:
                    if watch.fired or watch.wakes_at > now:
                        continue
                    watch.look(now)
                    if watch.deadline <= now:
                        watch.shut()

    def _forget(self) -> None:
        # A forked child has no thread of ours, and must not hold its parent's connections open.
        self._new_lock = threading.Lock()
        self._condition = None
        self._is_running = False
        self._wakes_at = math.inf
        watches, self._watches = self._watches, set()
        for watch in watches:
            watch.close()


_watchdog = _Watchdog()


class Deadline:
    """Ends the blocking reads of one drain in time, as far as its connection can be reached.

    Before the response has gone out, a silent client is found by the socket's own timeout: shutting
    the read side would end the write side of TLS too (OpenSSL 3 takes the end of the stream for
    an error), and the answer with it. A client that drips through that timeout is shut all the
    same.
    """

    def __init__(self, descriptor: int | None, connection: Any = None) -> None:
        """Prepare the deadline.

        Args:
            descriptor: The connection's file descriptor; ``None`` when it cannot be reached, and
                nothing can be ended.
            connection: The socket object, to be used gently because the response is still to be
                sent; ``None`` when it has been, or when the object cannot be reached.
        """
        self._descriptor = descriptor
        self._connection = connection
        self._timeout: float | None = None
        self._watch: Watch | None = None

    def __enter__(self) -> Self:
        """Begin.

        Raises:
            OSError: There is no descriptor left to watch with.
            RuntimeError: The watchdog's thread cannot be started.
        """
        if self._descriptor is not None:
            if self._connection is not None:
                self._timeout = self._connection.gettimeout()
            self._watch = _watchdog.watch(self._descriptor)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._watch is not None:
            _watchdog.end(self._watch)
            if self._connection is not None:
                self._connection.settimeout(self._timeout)

    def allow(self, seconds: float, most_seconds: float = 0.0) -> None:
        """Let the next read last no longer than this.

        Args:
            seconds: How long; counted from the last byte that came, where the kernel tells when
                that was.
            most_seconds: And no longer than this, whatever comes.
        """
        if self._watch is None:
            return
        if self._connection is not None:
            self._connection.settimeout(min(seconds, _LONGEST_WAIT_SECONDS))
            seconds += _AFTER_TIMEOUT_SECONDS
            most_seconds += _AFTER_TIMEOUT_SECONDS
        _watchdog.allow(self._watch, seconds, most_seconds)

    @property
    def last_at(self) -> float:
        """When the client was last seen to send during a read; minus infinity if nobody looked."""
        return -math.inf if self._watch is None else self._watch.last_at

    @property
    def fired(self) -> bool:
        """Whether a read was ended."""
        return self._watch is not None and self._watch.fired


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_watchdog._forget)
