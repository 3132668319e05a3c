"""Hundreds of slow clients in a process of their own: ``python -m tests.load.slow_clients``.

It is told what to do by JSON lines on its standard input, answers each with one on its standard
output, and ends when the input does, so that it cannot outlive whoever started it.
"""

import heapq
import itertools
import json
import os
import random
import selectors
import socket
import sys
import time
from typing import Any, Literal

from tests.child import Child

Kind = Literal["connected", "reading", "draining", "returning"]
KINDS: tuple[Kind, ...] = ("connected", "reading", "draining", "returning")

# Four times the default min_bytes_per_second: slow, and within every bound for max_seconds.
BYTES_PER_SECOND = 1024
# How long a client that was cut off stays away on average, where it comes back at all.
RETURN_SECONDS = 5.0
# Less than the default max_bytes, so that nobody knows yet that it will never come.
DECLARED_BYTES = 512 * 1024 * 1024

_CONNECT_SECONDS = 10.0
_RECV_BYTES = 65536
# Thousands of connections are made in it, to a server that may be busy.
_ANSWER_SECONDS = 120.0

_UPLOAD = (
    "POST {path} HTTP/1.1\r\nHost: load\r\nContent-Length: " + str(DECLARED_BYTES) + "\r\n\r\n"
)
_HEADS = {
    "connected": b"GET /200 HTTP/1.1\r\nHost: load\r\n\r\n",
    "reading": _UPLOAD.format(path="/hold").encode(),
    "draining": _UPLOAD.format(path="/413").encode(),
    "returning": _UPLOAD.format(path="/413").encode(),
}


class SlowClients(Child):
    """The process, as seen from outside; a context manager that ends it."""

    def __init__(self) -> None:
        """Take what `__enter__` starts."""
        super().__init__("tests.load.slow_clients", answer_seconds=_ANSWER_SECONDS)

    def open(
        self, address: tuple[str, int], kind: Kind, count: int, *, drip_seconds: float
    ) -> None:
        """Connect more clients, and let them begin.

        Args:
            address: Host and port.
            kind: What they do.
            count: How many more.
            drip_seconds: The time between two pieces of a body.
        """
        self.tell(
            {
                "do": "open",
                "address": address,
                "kind": kind,
                "count": count,
                "drip_seconds": drip_seconds,
            }
        )

    def counts(self) -> dict[str, int]:
        """Return how many are open, were answered, and were cut off by the server."""
        return self.tell({"do": "count"})

    def close(self) -> None:
        """Disconnect all, and forget what was counted."""
        self.tell({"do": "close"})


class _Client:
    """One connection."""

    __slots__ = ("is_answered", "is_heard", "is_open", "kind", "socket")

    def __init__(self, address: tuple[str, int], kind: Kind) -> None:
        self.kind = kind
        self.is_answered = False
        self.is_open = True
        self.is_heard = True
        self.socket = socket.create_connection(address, _CONNECT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(_HEADS[kind])
        self.socket.setblocking(False)


class _Crowd:
    """All of them."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._address = ("", 0)
        self._drip_seconds = 0.0
        self._clients: set[_Client] = set()
        # Heaps by when they are due; the number decides between equals.
        self._numbers = itertools.count()
        self._drips: list[tuple[float, int, _Client]] = []
        self._returns: list[tuple[float, int, Kind]] = []
        self._count = {"opened": 0, "answered": 0, "cut": 0}
        self._input = b""

    def run(self) -> None:
        """Do what the standard input says, until it ends."""
        os.set_blocking(0, False)
        self._selector.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select(self._seconds_left()):
                if key.data is not None:
                    self._read(key.data)
                elif not self._obey():
                    return
            self._drip()
            self._come_back()

    def _seconds_left(self) -> float | None:
        due = [queue[0][0] for queue in (self._drips, self._returns) if queue]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _obey(self) -> bool:
        data = os.read(0, _RECV_BYTES)
        if not data:
            return False
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            order = json.loads(line)
            try:
                answer: dict[str, Any] = self._do(order)
            except OSError as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
        return True

    def _do(self, order: dict[str, Any]) -> dict[str, int]:
        if order["do"] == "open":
            host, port = order["address"]
            self._address = (host, port)
            self._drip_seconds = order["drip_seconds"]
            for _ in range(order["count"]):
                self._add(order["kind"])
        elif order["do"] == "close":
            for client in list(self._clients):
                self._drop(client)
            self._drips.clear()
            self._returns.clear()
            self._count = dict.fromkeys(self._count, 0)
        return {"open": len(self._clients), **self._count}

    def _add(self, kind: Kind) -> None:
        client = _Client(self._address, kind)
        self._clients.add(client)
        self._count["opened"] += 1
        self._selector.register(client.socket, selectors.EVENT_READ, client)
        if kind != "connected":
            # Not all at once: they would be a burst each second.
            due = time.monotonic() + random.uniform(0, self._drip_seconds)
            heapq.heappush(self._drips, (due, next(self._numbers), client))

    def _drop(self, client: _Client) -> None:
        client.is_open = False
        if client.is_heard:
            self._selector.unregister(client.socket)
        client.socket.close()
        self._clients.discard(client)

    def _read(self, client: _Client) -> None:
        try:
            data = client.socket.recv(_RECV_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._cut(client)
            return
        if not data:
            self._selector.unregister(client.socket)
            client.is_heard = False
            if client.kind == "connected":
                self._cut(client)
            # The others take no hint: they go on sending until the server resets.
        elif not client.is_answered:
            client.is_answered = True
            self._count["answered"] += 1

    def _cut(self, client: _Client) -> None:
        self._drop(client)
        self._count["cut"] += 1
        if client.kind == "returning":
            due = time.monotonic() + random.uniform(0, 2 * RETURN_SECONDS)
            heapq.heappush(self._returns, (due, next(self._numbers), client.kind))

    def _drip(self) -> None:
        now = time.monotonic()
        piece = b"x" * round(BYTES_PER_SECOND * self._drip_seconds)
        while self._drips and self._drips[0][0] <= now:
            due, number, client = heapq.heappop(self._drips)
            if not client.is_open:
                continue
            heapq.heappush(self._drips, (due + self._drip_seconds, number, client))
            try:
                client.socket.send(piece)
            except BlockingIOError:
                pass  # the server reads nothing; this client does not mind
            except OSError:
                self._cut(client)

    def _come_back(self) -> None:
        now = time.monotonic()
        while self._returns and self._returns[0][0] <= now:
            self._add(heapq.heappop(self._returns)[2])


if __name__ == "__main__":
    _Crowd().run()
