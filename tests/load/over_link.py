"""Minutes of uploads over a link, from many addresses, beside ordinary requests.

Every client is within the bounds and must have its answer each time. As in `tests.load.soak` all
of them rest once in each round, and what the servers hold then must not grow.
"""

import contextlib
import dataclasses
import random
import statistics
import threading
import time
from typing import Any

from drainkit_clients import Connection, unreachable
from drainkit_conformance import Case
from tests.link.emulated import Emulated, emulated, unavailable
from tests.link.links import Link
from tests.load import servers, soak
from tests.load.processes import LimitError, allow_descriptors
from tests.load.soak_clients import Tally, case
from tests.servers.cases import KIB
from tests.servers.harness import Server, over_unix

# A mobile line's delay and loss; so wide that the clients' own pace decides.
LINK = Link(
    name="load",
    round_trip_seconds=0.06,
    up_bits_per_second=100e6,
    down_bits_per_second=100e6,
    loss=0.005,
)
ADDRESSES = 20
UPLOADS = 500
ORDINARY_EACH = 2
_BYTES_PER_SECOND = 4 * KIB
_PIECE_BYTES = 2 * KIB

NGINX_GTHREAD = "gunicorn-gthread behind nginx"
NAMES = ("uvicorn-httptools", "hypercorn-asyncio", "granian-asgi", NGINX_GTHREAD)

_ROUND_SECONDS = 60.0
# Longer than any upload takes: 25 seconds at its own pace, and what is lost.
_REST_SECONDS = 60.0
_TIMEOUT_SECONDS = 60.0
_SPREAD_SECONDS = 5.0
_ORDINARY_PAUSE_SECONDS = 0.5
_DESCRIPTORS = 4096
_MOST_PROBLEMS = 20

_PACED: dict[str, Any] = {
    "piece_bytes": _PIECE_BYTES,
    "rate_bytes_per_second": float(_BYTES_PER_SECOND),
}
UPLOADED: dict[str, tuple[Case, ...]] = {
    "strict": (case("strict", size_bytes=100 * KIB, **_PACED),),
    "strict, chunked": (case("chunked", size_bytes=60 * KIB, framing="chunked", **_PACED),),
    "strict, then the next request": (
        case("first", size_bytes=40 * KIB, **_PACED),
        case("next", b"200 next", 200, path="/200?next", method="GET"),
    ),
    "strict, the connection closes": (
        case("close", size_bytes=60 * KIB, connection="close", **_PACED),
    ),
    "strict, an exception": (
        case("raise", None, 500, path="/raise", size_bytes=40 * KIB, **_PACED),
    ),
    "strict, Expect": (case("expect", size_bytes=40 * KIB, expect_continue=True, **_PACED),),
    "late read": (case("late", b"start:61440", 200, path="/late", size_bytes=60 * KIB, **_PACED),),
    "body read": (case("read", b"61440", 200, path="/length", size_bytes=60 * KIB, **_PACED),),
    "eager": (case("eager", client="eager", size_bytes=100 * KIB, **_PACED),),
}
# nginx closes such a connection without saying so, with drainkit or without.
_NOT_BEHIND_NGINX = "strict, then the next request"
_ORDINARY = case("get", b"200 get", 200, path="/200?get", method="GET")


class FarClients:
    """All clients of one server, in threads at the other end of a link; they rest when told to."""

    def __init__(
        self, link: Emulated, address: tuple[str, int], kinds: list[str], uploads: int
    ) -> None:
        """Start them; they rest until `go`.

        Args:
            link: They are at its client's end.
            address: The server's.
            kinds: Of ``UPLOADED``: what they upload.
            uploads: How many upload at the same time.
        """
        self._kinds = kinds
        self.tally = Tally()
        self.waits_seconds: list[float] = []
        self._link = link
        self._address = address
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._is_stopped = False
        self._busy = 0
        hosts = link.addresses
        self._threads = [
            threading.Thread(target=self._repeat, args=(hosts[number % len(hosts)], is_upload))
            for number, is_upload in enumerate([True] * uploads + [False] * ORDINARY_EACH)
        ]
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def go(self) -> None:
        """Let them send."""
        self._awake.set()

    def rest(self) -> None:
        """Let none of them begin anew."""
        self._awake.clear()

    @property
    def busy(self) -> int:
        """How many are at it."""
        return self._busy

    def stop(self) -> None:
        """End them when they have finished what they are at."""
        self._is_stopped = True
        self._awake.set()
        for thread in self._threads:
            thread.join(2 * _TIMEOUT_SECONDS)

    def _repeat(self, host: str, is_upload: bool) -> None:
        chance = random.Random()
        with self._link.client.entered():
            while True:
                was_resting = not self._awake.is_set()
                self._awake.wait()
                if was_resting and is_upload:
                    time.sleep(chance.uniform(0, _SPREAD_SECONDS))  # not all at once
                if self._is_stopped:
                    return
                with self._lock:
                    self._busy += 1
                try:
                    if self._awake.is_set():
                        if is_upload:
                            self._upload(host, chance)
                        else:
                            self._ask(host)
                finally:
                    with self._lock:
                        self._busy -= 1

    def _upload(self, host: str, chance: random.Random) -> None:
        name = chance.choice(self._kinds)
        self._count(name, self._problem(host, UPLOADED[name]))

    def _ask(self, host: str) -> None:
        begun = time.monotonic()
        problem = self._problem(host, (_ORDINARY,))
        with self._lock:
            self.waits_seconds.append(time.monotonic() - begun)
        self._count("an ordinary request", problem)
        time.sleep(_ORDINARY_PAUSE_SECONDS)

    def _count(self, name: str, problem: str | None) -> None:
        with self._lock:
            if problem is None:
                self.tally.delivered[name] += 1
                return
            self.tally.lost[name] += 1
            if len(self.tally.problems) < _MOST_PROBLEMS:
                self.tally.problems.append(f"{name}: {problem}")

    def _problem(self, host: str, cases: tuple[Case, ...]) -> str | None:
        try:
            connection = Connection(
                self._address, source_host=host, connect_timeout_seconds=_TIMEOUT_SECONDS
            )
        except OSError as error:
            return unreachable(error).error
        with connection:
            for one in cases:
                answer = one.run(connection, timeout_seconds=_TIMEOUT_SECONDS)
                if problem := one.problem(answer):
                    return f"{problem} ({answer.sent_bytes} bytes sent in {answer.seconds:.2f} s)"
        return None


def row(name: str) -> Server:
    """Return a server of ``NAMES`` with the application for load."""
    if name != NGINX_GTHREAD:
        return servers.row(name)
    behind = servers.row("gunicorn-gthread", "--threads", "64")
    return dataclasses.replace(over_unix(behind), name=name)


def measured(names: list[str], minutes: float, uploads: int, say: soak.Say) -> dict[str, Any]:
    """Upload to these servers side by side, over one link.

    Args:
        names: Of ``NAMES``.
        minutes: For how long, rests included.
        uploads: How many are under way at the same time, at all servers together.
        say: Told of the progress.

    Raises:
        LimitError: The machine allows no link, or not so many connections.
        ServerError: A server does not start, or did not survive.
    """
    if why := unavailable():
        raise LimitError(why)
    allow_descriptors(_DESCRIPTORS)
    with contextlib.ExitStack() as stack:
        link = stack.enter_context(emulated(LINK, addresses=ADDRESSES))
        stack.enter_context(link.server.entered())
        begun = time.monotonic()
        soaked: dict[str, soak.Soaked] = {}
        far: dict[str, FarClients] = {}
        for name in names:
            one = row(name)
            one = dataclasses.replace(one, env=(*one.env, *soak.ALLOCATORS))
            server = stack.enter_context(servers.started(one))
            kinds = [
                kind
                for kind in UPLOADED
                if not (name == NGINX_GTHREAD and kind == _NOT_BEHIND_NGINX)
            ]
            far[name] = FarClients(link, server.address, kinds, uploads // len(names))
            stack.callback(far[name].stop)
            soaked[name] = soak.Soaked(server, far[name], begun)
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            soak.work(list(soaked.values()), _ROUND_SECONDS)
            soak.rest(list(soaked.values()), _REST_SECONDS)
            say(soak.progress(soaked))
            for clients in far.values():
                for problem in clients.tally.problems[:3]:
                    say(f"  lost: {problem}")
        counts = link.counts()
        return {
            "plan": {
                "minutes": minutes,
                "uploads": uploads,
                "addresses": ADDRESSES,
                "ordinary_each": ORDINARY_EACH,
                "bytes_per_second": _BYTES_PER_SECOND,
                "link": dataclasses.asdict(LINK),
                "round_seconds": _ROUND_SECONDS,
                "packets_sent": sum(way.arrived + way.lost for way in counts),
                "packets_lost": sum(way.lost for way in counts),
            },
            "servers": {
                name: {**soak.result(one), "waits_ms": _waits(far[name].waits_seconds)}
                for name, one in soaked.items()
            },
        }


def _waits(seconds: list[float]) -> dict[str, float]:
    return {
        "count": len(seconds),
        "median": round(1000 * statistics.median(seconds), 1),
        "p99": round(1000 * statistics.quantiles(seconds, n=100)[98], 1),
        "most": round(1000 * max(seconds), 1),
    }
