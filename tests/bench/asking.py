"""The client of the section "servers", in a process of its own: ``python -m tests.bench.asking``.

It is told what to do by JSON lines on its standard input, answers each with one on its standard
output, and ends when the input does, so that it cannot outlive whoever started it.

Rule: a client that costs more than the server measures itself; this one looks at no more of an
answer than where it ends.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import select
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.child import Child

# Behind an answer the server has so long to close the connection, if it is about to.
_CLOSE_SECONDS = 0.03
# Longer than any server keeps an answer back, and short enough to tell that one hangs.
_TIMEOUT_SECONDS = 60.0
# The same for thousands of requests.
_ASK_SECONDS = 600.0
_RECV_BYTES = 65_536

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_LAST_CHUNK = b"\r\n0\r\n\r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A request that is sent again and again.

    Attributes:
        pieces: Its bytes; the second piece and those behind it are sent late.
        status: What the answer must have; None for any.
        gap_seconds: The time between two pieces.
        connections: How many at once.
    """

    pieces: tuple[bytes, ...]
    status: int | None
    gap_seconds: float = 0.0
    connections: int = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What came of some requests.

    Attributes:
        seconds: How long all of them took.
        p99_seconds: From a request's first byte to its answer's last one.
        opened: How many connections were opened for them.
        lost: How many have no whole answer.
    """

    seconds: float
    p99_seconds: float
    opened: int
    lost: int


class AskingError(RuntimeError):
    """The answers are not those that the measurement asks for."""


class Asker(Child):
    """The process, as seen from outside; a context manager that ends it."""

    def __init__(self, core: int | None) -> None:
        """Take what `__enter__` starts.

        Args:
            core: The only one that it may run on; None for any.
        """
        super().__init__("tests.bench.asking", *_words(core), answer_seconds=_ASK_SECONDS)

    def probe(self, address: tuple[str, int], question: Question) -> bool:
        """Ask twice; return whether the connection was kept each time.

        Raises:
            ChildError: The status is not the question's.
        """
        order = {"do": "probe", "address": address, "question": _told(question)}
        return bool(self.tell(order)["is_kept"])

    def open(self, address: tuple[str, int], question: Question, *, is_kept: bool) -> None:
        """Connect, and ask once over each connection that is kept.

        Args:
            address: Host and port.
            question: What `ask` will ask.
            is_kept: Whether to send one request after the other over a connection.

        Raises:
            ChildError: The status is not the question's.
        """
        order = {"do": "open", "address": address, "question": _told(question)}
        self.tell(order | {"is_kept": is_kept})

    def ask(self, count: int) -> Told:
        """Send so many requests over the open connections, and wait for all answers.

        Raises:
            ChildError: The status is not the question's.
        """
        return Told(**self.tell({"do": "ask", "count": count}))

    def close(self) -> None:
        """Close the connections."""
        self.tell({"do": "close"})


def _told(question: Question) -> dict[str, Any]:
    return dataclasses.asdict(question) | {"pieces": [each.decode() for each in question.pieces]}


def _words(core: int | None) -> list[str]:
    return [] if core is None else [str(core)]


def is_whole(answer: bytes) -> bool:
    """Whether an answer has ended, as far as its own bytes can tell."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    if length := _LENGTH.search(head):
        return len(body) >= int(length[1])
    # A body without a chunk begins with the last one.
    return bool(_CHUNKED.search(head)) and (b"\r\n" + body).endswith(_LAST_CHUNK)


class _Connection:
    """One connection, and the request that is under way on it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self.opened = 0
        self._connect()
        self._start()

    def _connect(self) -> None:
        self.socket = socket.create_connection(self._address, _TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.opened += 1
        self._served = 0

    def _start(self) -> None:
        self.answer = b""
        self.has_ended = False
        self.late: Sequence[bytes] = ()
        self.due = 0.0

    def begin(self, question: Question) -> None:
        """Send the request's first piece."""
        self._start()
        self.begun = time.perf_counter()
        self.late = question.pieces[1:]
        self.due = self.begun + question.gap_seconds
        self._send(question.pieces[0])

    def send_late(self, question: Question) -> None:
        """Send the next piece."""
        self._send(self.late[0])
        self.late = self.late[1:]
        self.due += question.gap_seconds

    def _send(self, piece: bytes) -> None:
        try:
            self.socket.sendall(piece)
        except OSError:
            self.late = ()  # the answer may be there all the same

    def take(self) -> None:
        """Receive."""
        try:
            data = self.socket.recv(_RECV_BYTES)
        except OSError:
            data = b""
        self.answer += data
        self.has_ended = not data

    def is_over(self) -> bool:
        """Whether nothing is to be sent or received any more."""
        return not self.late and (self.has_ended or is_whole(self.answer))

    def is_answered(self) -> bool:
        """Whether the whole answer is there."""
        head, end, _ = self.answer.partition(b"\r\n\r\n")
        if not end:
            return False
        if _LENGTH.search(head) or _CHUNKED.search(head):
            return is_whole(self.answer)
        return self.has_ended  # the connection's end is the answer's

    def is_stale(self) -> bool:
        """Whether the server had closed the connection before the request came."""
        return self.has_ended and not self.answer and self._served > 0

    def says_close(self) -> bool:
        """Whether it cannot be used any more."""
        return self.has_ended or bool(_CLOSE.search(self.answer))

    def end(self, *, is_kept: bool) -> None:
        """Make it ready for the next request."""
        self._served += 1
        if not is_kept or self.says_close():
            self.renew()

    def renew(self) -> None:
        """Open another one in its place."""
        self.socket.close()
        self._connect()


class Client:
    """All connections, and what is asked over them."""

    def __init__(self, address: tuple[str, int], question: Question) -> None:
        """Connect later.

        Args:
            address: Host and port.
            question: What is asked.
        """
        self._address = address
        self._question = question
        self._is_kept = False
        self._connections: list[_Connection] = []

    def probe(self) -> bool:
        """See `Asker.probe`."""
        connection = _Connection(self._address)
        try:
            for _ in range(2):
                connection.begin(self._question)
                self._drive([connection])
                self._check(connection)
                if connection.says_close() or not connection.is_answered():
                    return False
                ready, _, _ = select.select([connection.socket], [], [], _CLOSE_SECONDS)
                if ready:
                    return False  # an end, as nothing was asked
            return True
        finally:
            connection.socket.close()

    def open(self, *, is_kept: bool) -> None:
        """See `Asker.open`."""
        self.close()
        self._is_kept = is_kept
        self._connections = [_Connection(self._address) for _ in range(self._question.connections)]
        if is_kept:
            self.ask(len(self._connections))

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections:
            connection.socket.close()
        self._connections.clear()

    def ask(self, count: int) -> Told:
        """See `Asker.ask`."""
        opened = sum(connection.opened for connection in self._connections)
        times: list[float] = []
        lost = sent = 0
        started = time.perf_counter()
        under_way = []
        for connection in self._connections[:count]:
            connection.begin(self._question)
            under_way.append(connection)
            sent += 1
        while under_way:
            for connection in self._drive(under_way):
                if self._is_kept and connection.is_stale():
                    connection.renew()
                    connection.begin(self._question)
                    continue
                times.append(time.perf_counter() - connection.begun)
                lost += not connection.is_answered()
                self._check(connection)
                connection.end(is_kept=self._is_kept)
                if sent < count:
                    connection.begin(self._question)
                    sent += 1
                else:
                    under_way.remove(connection)
        seconds = time.perf_counter() - started
        times.sort()
        return Told(
            seconds=seconds,
            p99_seconds=times[min(len(times) - 1, int(len(times) * 0.99))],
            opened=sum(connection.opened for connection in self._connections) - opened,
            lost=lost,
        )

    def _drive(self, connections: Sequence[_Connection]) -> list[_Connection]:
        """Send and receive until some requests are over; return their connections."""
        while True:
            over = [connection for connection in connections if connection.is_over()]
            if over:
                return over
            dues = [connection.due for connection in connections if connection.late]
            wait = _TIMEOUT_SECONDS
            if dues:
                wait = max(0.0, min(dues) - time.perf_counter())
            listening = [each for each in connections if not each.has_ended]
            ready, _, _ = select.select([each.socket for each in listening], [], [], wait)
            if not ready and not dues:
                raise AskingError(f"no answer within {_TIMEOUT_SECONDS} s")
            for connection in listening:
                if connection.socket in ready:
                    connection.take()
            now = time.perf_counter()
            for connection in connections:
                if connection.late and connection.due <= now:
                    connection.send_late(self._question)

    def _check(self, connection: _Connection) -> None:
        answer = connection.answer
        status = self._question.status
        if answer and status is not None and int(answer[9:12] or 0) != status:
            raise AskingError(f"not {self._question.status}: {answer[:200]!r}")


def _answers() -> Iterator[dict[str, Any]]:
    """Do what the standard input says, until it ends; yield the answers."""
    client = Client(("", 0), Question(pieces=(), status=None))
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if order["do"] in ("probe", "open"):
                client.close()
                client = Client(*_what(order))
            if order["do"] == "probe":
                yield {"is_kept": client.probe()}
            elif order["do"] == "ask":
                yield dataclasses.asdict(client.ask(order["count"]))
            elif order["do"] == "open":
                client.open(is_kept=order["is_kept"])
                yield {}
            else:
                client.close()
                yield {}
        except (OSError, AskingError) as error:
            yield {"error": f"{type(error).__name__}: {error}"}


def _what(order: dict[str, Any]) -> tuple[tuple[str, int], Question]:
    host, port = order["address"]
    pieces = tuple(piece.encode() for piece in order["question"]["pieces"])
    return (host, port), Question(**order["question"] | {"pieces": pieces})


def main() -> None:
    """Run on one core, if one is named."""
    if sys.argv[1:]:
        os.sched_setaffinity(0, {int(sys.argv[1])})
    for told in _answers():
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
