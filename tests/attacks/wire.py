"""A hostile client: does one script over one socket, and notes what the server did meanwhile.

Rules of this file: every script ends at its deadline, whatever the server does; what the server
sends is read (or left, where that is the attack) while the script goes on; a failure of the network
is a value, never an exception.
"""

import contextlib
import fcntl
import re
import selectors
import socket
import struct
import termios
import time
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from tests.attacks.held import Held

_RECV_BYTES = 65_536
# A page of 4 MB and its headers fit; nothing that is longer is of interest.
_MOST_KEPT_BYTES = 8 * 1024 * 1024
# However fast the machine is.
_MOST_SENT_BYTES = 1024 * 1024 * 1024
_POLL_SECONDS = 0.05
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")

Ended = Literal["fin", "reset", "open", "left"]


class IsOver(Protocol):
    """Tells whether the server has closed its end (`Held.is_over`)."""

    def __call__(self, *, was_answered: bool) -> bool:
        """Tell it; the argument says whether the client has an answer."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send something, once or again and again.

    Attributes:
        data: What.
        times: How often; None as long as the server takes it.
        every_seconds: The pause behind each.
    """

    data: bytes
    times: int | None = 1
    every_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Pause:
    """Send nothing for a while."""

    seconds: float


@dataclass(frozen=True, slots=True)
class HalfClose:
    """Say that nothing more will be sent, and go on reading."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Close the connection, with a FIN or with a RST."""

    how: Literal["fin", "reset"]


Step: TypeAlias = Send | Pause | HalfClose | Leave


@dataclass(slots=True)
class Seen:
    """What the client saw.

    Attributes:
        received: What the server sent, from the beginning.
        received_bytes: How much that was in all.
        sent_bytes: What this side's kernel took from the client.
        arrived_bytes: What of it the server's kernel has acknowledged.
        ended: How the connection ended; "open" when it had not at the deadline.
        first_byte_seconds: When the first byte of an answer came; None if none did.
        ended_seconds: When the connection ended for the client.
        held_seconds: How long the server kept its end of the connection open.
        was_let_go: Whether it had closed that at the deadline.
    """

    received: bytearray = field(default_factory=bytearray)
    received_bytes: int = 0
    sent_bytes: int = 0
    arrived_bytes: int = 0
    ended: Ended = "open"
    first_byte_seconds: float | None = None
    ended_seconds: float = 0.0
    held_seconds: float = 0.0
    was_let_go: bool = False

    @property
    def statuses(self) -> tuple[int, ...]:
        """The status of every response, interim ones included; no body of ours looks like one."""
        return tuple(int(status) for status in _STATUS_LINE.findall(self.received))


class Attacker:
    """One connection to a server, and the script that runs over it."""

    def __init__(self, address: tuple[str, int], *, reads: bool, watch_seconds: float) -> None:
        """Connect.

        Args:
            address: Where the server listens.
            reads: Whether it reads what the server sends.
            watch_seconds: When to stop, whatever has happened.
        """
        self._socket = socket.socket()
        if not reads:
            # Before the connection: what the server can get rid of is known then.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect(address)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._start = time.monotonic()
        self._deadline = self._start + watch_seconds
        self._reads = reads
        host, port = self._socket.getsockname()
        self._is_held_over: IsOver = Held(address[1], port, host).is_over
        self._next_look = 0.0
        self._is_shut = False
        self.seen = Seen()

    def run(self, steps: tuple[Step, ...]) -> Seen:
        """Do the script, then watch until the server has closed its end or time is up."""
        with contextlib.closing(self._socket):
            for step in steps:
                self._do(step)
            self._count_arrived()
            while not self.seen.was_let_go and self._left() > 0:
                self._pause(_POLL_SECONDS)
        if not self.seen.was_let_go:
            self.seen.held_seconds = self._elapsed
        if self.seen.ended == "open":
            self.seen.ended_seconds = self._elapsed
        return self.seen

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._start

    def _left(self) -> float:
        return self._deadline - time.monotonic()

    @property
    def _is_over(self) -> bool:
        return self.seen.ended in ("reset", "left") or self.seen.was_let_go or self._left() <= 0

    def _do(self, step: Step) -> None:
        match step:
            case Send():
                self._send(step)
            case Pause():
                self._pause(step.seconds)
            case HalfClose():
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_WR)
                self._is_shut = True
            case Leave():
                self._leave(step.how)

    def _send(self, step: Send) -> None:
        times = 0
        while not self._is_over and not self._is_shut and times != step.times:
            times += 1
            left = memoryview(step.data)
            while left and not self._is_over:
                self._pause(_POLL_SECONDS, until_writable=True)
                left = left[self._send_some(left) :]
            if self.seen.sent_bytes > _MOST_SENT_BYTES:
                return
            if step.every_seconds:
                self._pause(step.every_seconds)

    def _send_some(self, data: memoryview) -> int:
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._end("reset")
            return 0
        self.seen.sent_bytes += sent
        return sent

    def _leave(self, how: Literal["fin", "reset"]) -> None:
        if self.seen.ended != "open":
            return
        self._count_arrived()
        if how == "reset":
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._end("left")
        self._socket.close()

    def _pause(self, seconds: float, *, until_writable: bool = False) -> None:
        """Wait and read what comes; back sooner when the server lets go, or takes more."""
        until = min(time.monotonic() + seconds, self._deadline)
        while not self.seen.was_let_go and (left := until - time.monotonic()) > 0:
            self._look()
            if self.seen.ended in ("reset", "left"):
                time.sleep(min(left, _POLL_SECONDS))
                continue
            events = selectors.EVENT_WRITE if until_writable else 0
            if self._reads and self.seen.ended == "open":
                events |= selectors.EVENT_READ
            if not events:
                time.sleep(min(left, _POLL_SECONDS))
                continue
            with selectors.DefaultSelector() as selector:
                selector.register(self._socket, events)
                ready = selector.select(min(left, _POLL_SECONDS))
            mask = ready[0][1] if ready else 0
            if mask & selectors.EVENT_READ:
                self._receive()
            if mask & selectors.EVENT_WRITE:
                return

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_RECV_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._end("reset")
            return
        if not data:
            self._end("fin")
            return
        seen = self.seen
        if seen.first_byte_seconds is None:
            seen.first_byte_seconds = self._elapsed
        seen.received_bytes += len(data)
        seen.received += data[: _MOST_KEPT_BYTES - len(seen.received)]

    def _end(self, how: Ended) -> None:
        # A FIN may be followed by a reset; the first is what ended the client's exchange.
        if self.seen.ended == "open":
            self.seen.ended_seconds = self._elapsed
        self.seen.ended = how

    def _count_arrived(self) -> None:
        unacknowledged = bytearray(4)
        try:
            fcntl.ioctl(self._socket, termios.TIOCOUTQ, unacknowledged)
        except (OSError, ValueError):
            return  # closed, and counted before
        (waiting,) = struct.unpack("i", unacknowledged)
        self.seen.arrived_bytes = self.seen.sent_bytes - waiting

    def _look(self) -> None:
        """Ask, now and then, whether the server still has its end."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _POLL_SECONDS
        was_answered = self.seen.received_bytes > 0 or self.seen.ended in ("fin", "reset")
        if self._is_held_over(was_answered=was_answered):
            self.seen.held_seconds = self._elapsed
            self.seen.was_let_go = True
            if self._reads and self.seen.ended == "open":
                self._receive_rest()

    def _receive_rest(self) -> None:
        """Take what the server had sent before it let go."""
        until = min(time.monotonic() + 1.0, self._deadline)
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            while self.seen.ended == "open" and time.monotonic() < until:
                if selector.select(_POLL_SECONDS):
                    self._receive()
