"""The clients of the soak, good and bad, and what each must have got.

A good client is within every bound and waits for its answer; it must get it, whole, each time. A
bad client is beyond a bound, or leaves; it must be let go in time.
"""

import contextlib
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from drainkit_clients import Answer, Connection, Upload, unreachable
from tests.servers.cases import KIB, MIB, PAGE, Case

POLICY = {
    "max_bytes": 8 * MIB,
    "max_seconds": 6.0,
    "idle_seconds": 2.0,
    "grace_seconds": 1.0,
    "max_concurrent": 24,
}
GOOD_CLIENTS = 3
BAD_CLIENTS = 4
# What a bad client may be held for: the whole drain, and the server's own way of closing.
MOST_HELD_SECONDS = 12.0
_GOOD_PAUSE_SECONDS = 0.25
_BAD_PAUSE_SECONDS = 0.1
_TIMEOUT_SECONDS = 20.0

_TOO_LARGE = b"too large\n"


def case(
    name: str, body: bytes | None = _TOO_LARGE, status: int = 413, client: str = "strict", **fields
) -> Case:
    """Return a case of these clients; *fields* are its upload's."""
    return Case(
        row="soak",
        name=name,
        upload=Upload(**{"path": "/413", **fields}),
        status=status,
        body=body,
        client=client,
    )


# Each is one after the other on one connection.
GOOD: dict[str, tuple[Case, ...]] = {
    "strict, 2 MiB": (case("strict", size_bytes=2 * MIB),),
    "strict, chunked": (case("chunked", size_bytes=512 * KIB, framing="chunked"),),
    "strict, then the next request": (
        case("first", size_bytes=256 * KIB),
        case("next", b"200 next", 200, path="/200?next", method="GET"),
    ),
    "strict, a page of 4 MiB": (case("page", PAGE, path="/page", size_bytes=MIB),),
    "strict, steady at 256 KiB/s": (
        case("steady", size_bytes=256 * KIB, piece_bytes=16 * KIB, rate_bytes_per_second=256e3),
    ),
    "strict, an exception": (case("raise", None, 500, path="/raise", size_bytes=256 * KIB),),
    "strict, Expect": (case("expect", size_bytes=64 * KIB, expect_continue=True),),
    "late read": (case("late", b"start:204800", 200, path="/late", size_bytes=200 * KIB),),
    "body read": (case("read", b"204800", 200, path="/length", size_bytes=200 * KIB),),
    "eager, 4 MiB": (case("eager", client="eager", size_bytes=4 * MIB),),
    "no body": (case("get", b"200 get", 200, path="/200?get", method="GET"),),
}


def _slow(interval_seconds: float | None, first_bytes: int = 0) -> Callable[[Connection], Answer]:
    upload = Upload(path="/413", size_bytes=MIB)

    def run(connection: Connection) -> Answer:
        return connection.slow(
            upload,
            interval_seconds=interval_seconds,
            first_bytes=first_bytes,
            timeout_seconds=_TIMEOUT_SECONDS,
        )

    return run


def _eager(**fields: object) -> Callable[[Connection], Answer]:
    upload = Upload(**{"path": "/413", "rate_bytes_per_second": 4 * MIB, **fields})

    def run(connection: Connection) -> Answer:
        return connection.eager(
            upload, timeout_seconds=_TIMEOUT_SECONDS, stop_on_error_status=False
        )

    return run


# Those who wait until the server lets them go.
WAITING: dict[str, Callable[[Connection], Answer]] = {
    "silent after the headers": _slow(None),
    "silent after half of the body": _slow(None, MIB // 2),
    "five bytes a second": _slow(0.2),
    "chunked without an end": _eager(size_bytes=1 << 40, framing="chunked"),
    "64 MiB declared": _eager(size_bytes=64 * MIB),
    "no room": _eager(path="/crowd", size_bytes=256 * KIB),
    "Expect, and silence": lambda connection: connection.slow(
        Upload(path="/413", size_bytes=MIB, headers=(("Expect", "100-continue"),)),
        interval_seconds=None,
        timeout_seconds=_TIMEOUT_SECONDS,
    ),
}
# Those who leave in the middle: FIN, or RST.
LEAVING = {"leaves in the middle": False, "resets in the middle": True}


@dataclass(slots=True)
class Tally:
    """What became of all clients of one server."""

    delivered: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    held_too_long: Counter[str] = field(default_factory=Counter)
    longest_held_seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


class Clients:
    """All clients of one server, in threads, until told to stop; they rest when told to."""

    def __init__(self, address: tuple[str, int]) -> None:
        """Start them; they rest until `go`.

        Args:
            address: Host and port.
        """
        self.tally = Tally()
        self._address = address
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._is_stopped = False
        self._busy = 0
        self._threads = [
            threading.Thread(target=self._repeat, args=(once, pause_seconds), daemon=True)
            for once, pause_seconds, count in (
                (self._good, _GOOD_PAUSE_SECONDS, GOOD_CLIENTS),
                (self._bad, _BAD_PAUSE_SECONDS, BAD_CLIENTS),
            )
            for _ in range(count)
        ]
        for thread in self._threads:
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

    def _repeat(self, once: Callable[[random.Random], None], pause_seconds: float) -> None:
        chance = random.Random()
        while True:
            self._awake.wait()
            if self._is_stopped:
                return
            with self._lock:
                self._busy += 1
            try:
                once(chance)
            finally:
                with self._lock:
                    self._busy -= 1
            time.sleep(chance.uniform(0, 2 * pause_seconds))

    def _good(self, chance: random.Random) -> None:
        name = chance.choice(list(GOOD))
        problem = self._problem(GOOD[name])
        with self._lock:
            if problem is None:
                self.tally.delivered[name] += 1
            else:
                self.tally.lost[name] += 1
                if len(self.tally.problems) < _MOST_PROBLEMS:
                    self.tally.problems.append(f"{name}: {problem}")

    def _problem(self, cases: tuple[Case, ...]) -> str | None:
        try:
            connection = Connection(self._address)
        except OSError as error:
            return unreachable(error).error
        with connection:
            for case in cases:
                answer = case.run(connection, timeout_seconds=_TIMEOUT_SECONDS)
                if problem := case.problem(answer):
                    return f"{problem} ({answer.sent_bytes} bytes sent in {answer.seconds:.2f} s)"
        return None

    def _bad(self, chance: random.Random) -> None:
        name = chance.choice([*WAITING, *LEAVING])
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            if name in LEAVING:
                self._leave(chance, is_reset=LEAVING[name])
            else:
                with Connection(self._address) as connection:
                    WAITING[name](connection)
        seconds = time.monotonic() - begun
        with self._lock:
            self.tally.bad[name] += 1
            if name in WAITING:
                self.tally.longest_held_seconds = max(self.tally.longest_held_seconds, seconds)
                self.tally.held_too_long[name] += seconds > MOST_HELD_SECONDS

    def _leave(self, chance: random.Random, *, is_reset: bool) -> None:
        upload = Upload(path="/413", size_bytes=4 * MIB)
        with socket.create_connection(self._address, _TIMEOUT_SECONDS) as connection:
            connection.sendall(upload.head("load"))
            connection.sendall(upload.slice(0, chance.randrange(2 * MIB)))
            if is_reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


_MOST_PROBLEMS = 20
