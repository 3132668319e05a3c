"""The program between the two ends of a link: takes from one, gives to the other.

``python -m tests.link.program CLIENT SERVER SEED``: the descriptors of the two interfaces. A line
of JSON on standard input is an order, and is answered with one; the first is what the link is like.
The program ends with its standard input.
"""

import heapq
import json
import os
import select
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path as FilePath
from typing import Any

from tests.link.links import MTU_BYTES, Way
from tests.link.path import Path
from tests.link.trace import Writer

# Packets of one way before the other way has its turn.
_BATCH = 64
_LONGEST_SECONDS = 60.0
_READ_BYTES = 2 * MTU_BYTES
_ORDER_BYTES = 65536
_IPV4 = 4
# Where the client's address stands in a packet: as the source on the way up.
_UP_ADDRESS, _DOWN_ADDRESS = slice(12, 16), slice(16, 20)


class Relay:
    """One way: packets wait in it until they arrive."""

    def __init__(self, source: int, target: int, path: Path, address: slice) -> None:
        self.path = path
        self.source = source
        self.silent_until = 0.0
        self.silent_addresses: dict[bytes, float] = {}
        self.sent: Writer | None = None
        self.arrived: Writer | None = None
        self._target = target
        self._address = address
        self._waiting: list[tuple[float, int, bytes]] = []
        self._number = 0

    def take(self) -> None:
        """Take what the source has, up to a batch."""
        for _ in range(_BATCH):
            try:
                packet = os.read(self.source, _READ_BYTES)
            except BlockingIOError:
                return
            if packet[0] >> 4 != _IPV4:
                continue
            now = time.monotonic()
            if self.sent is not None:
                self.sent.put(time.time(), packet)
            if self._is_silent(packet, now):
                self.path.counts.silenced += 1
                continue
            arrives = self.path.arrival(now, len(packet))
            if arrives is not None:
                # The number keeps the order of those that arrive at once.
                self._number += 1
                heapq.heappush(self._waiting, (arrives, self._number, packet))

    def give(self, now: float) -> float:
        """Give the target what has arrived; return when the next packet will."""
        waiting = self._waiting
        while waiting:
            if waiting[0][0] > now:
                return waiting[0][0]
            packet = heapq.heappop(waiting)[2]
            if self.arrived is not None:
                self.arrived.put(time.time(), packet)
            os.write(self._target, packet)
        return now + _LONGEST_SECONDS

    def _is_silent(self, packet: bytes, now: float) -> bool:
        if now < self.silent_until:
            return True
        return bool(self.silent_addresses) and now < self.silent_addresses.get(
            packet[self._address], 0.0
        )


class Program:
    """Both ways, and the orders."""

    def __init__(self, client: int, server: int, seed: int, up: Way, down: Way) -> None:
        # One chance a way: how the packets of both lie in time must not matter.
        self._up = Relay(client, server, Path(up, seed=f"{seed} up"), _UP_ADDRESS)
        self._down = Relay(server, client, Path(down, seed=f"{seed} down"), _DOWN_ADDRESS)
        self._relays = (self._up, self._down)
        self._orders: dict[str, Callable[..., Any]] = {
            "change": self._change,
            "silence": self._silence,
            "trace": self._trace,
            "counts": self._counts,
        }

    def run(self) -> None:
        """Relay packets and follow orders until there can be no more of them."""
        orders = sys.stdin.fileno()
        sources = [relay.source for relay in self._relays]
        unread = b""
        while True:
            for relay in self._relays:
                relay.take()
            now = time.monotonic()
            until = min(relay.give(now) for relay in self._relays)
            timeout = max(0.0, until - time.monotonic())
            # Not epoll, whose time is in whole milliseconds.
            ready, _, _ = select.select([*sources, orders], [], [], timeout)
            if orders in ready:
                data = os.read(orders, _ORDER_BYTES)
                if not data:
                    return
                *lines, unread = (unread + data).split(b"\n")
                for line in lines:
                    order = json.loads(line)
                    told = self._orders[order.pop("order")](**order)
                    print(json.dumps(told), flush=True)

    def _change(self, up: dict[str, Any], down: dict[str, Any]) -> None:
        now = time.monotonic()
        self._up.path.change(Way(**up), now)
        self._down.path.change(Way(**down), now)

    def _silence(self, seconds: float, address: str | None) -> None:
        until = time.monotonic() + seconds
        for relay in self._relays:
            if address is None:
                relay.silent_until = until
            else:
                relay.silent_addresses[bytes(map(int, address.split(".")))] = until

    def _trace(self, folder: str | None) -> None:
        for writer in (self._up.sent, self._up.arrived):
            if writer is not None:
                writer.close()
        sent = arrived = None
        if folder is not None:
            sent = Writer(FilePath(folder, "sent.pcap"))
            arrived = Writer(FilePath(folder, "arrived.pcap"))
        for relay in self._relays:
            relay.sent, relay.arrived = sent, arrived

    def _counts(self) -> dict[str, Any]:
        return {"up": asdict(self._up.path.counts), "down": asdict(self._down.path.counts)}


def _main() -> None:
    client, server, seed = map(int, sys.argv[1:])
    # select() takes none above 1023.
    client, server = os.dup(client), os.dup(server)
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as orders:
        first = json.loads(orders.readline())
    program = Program(client, server, seed, Way(**first["up"]), Way(**first["down"]))
    print(json.dumps(None), flush=True)
    program.run()


if __name__ == "__main__":
    _main()
