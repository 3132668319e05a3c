"""Runs attacks against a server that is up, and puts what was measured into rows."""

import contextlib
import dataclasses
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from drainkit_clients import Upload, strict
from tests.attacks.attacks import ATTACKS, HELD_SECONDS, Attack
from tests.attacks.held import Held, Memory
from tests.attacks.wire import Attacker, Seen
from tests.servers.harness import ALL_SERVERS, READY_SECONDS, Running, Server, ServerError

# Beyond the latest end that a bound allows: what is still held then is held by no bound.
WATCH_SECONDS = HELD_SECONDS + 1.0
_BESIDE_EVERY_SECONDS = 0.25
_BESIDE_TIMEOUT_SECONDS = 10.0
_REPORT_SECONDS = 0.5
_SETTLE_SECONDS = 0.1
# cheroot answers a silent client when its drain has ended: the others are waited for.
_SETTLE_MOST_SECONDS = {"cheroot": 0.4}
_ROOM_POLL_SECONDS = 0.01

# So that every attack of a batch finds a thread, and an ordinary request beside it too. A sync
# worker takes one request at a time; so there are some of them.
_ROOM: dict[str, tuple[str, ...]] = {
    "gunicorn-sync": ("--workers", "12"),
    "gunicorn-gthread": ("--threads", "40"),
    "granian-wsgi": ("--blocking-threads", "40"),
}
_ROOM_ENV = (
    ("DRAINKIT_TEST_THREADS", "40"),  # cheroot's
    # Development mode fills memory that is only reserved: werkzeug reserves 10 MB for a read.
    ("PYTHONDEVMODE", ""),
)
ATTACKED_WSGI = (
    *("gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent"),
    *("werkzeug", "cheroot", "wsgiref", "granian-wsgi"),
)
ATTACKED_ASGI = (
    *("gunicorn-asgi", "granian-asgi", "uvicorn-h11", "uvicorn-httptools"),
    *("hypercorn-asyncio", "hypercorn-trio"),
)


def roomy(name: str) -> Server:
    """Return a row of ``ALL_SERVERS`` with threads or workers enough for a batch."""
    row = ALL_SERVERS[name]
    return dataclasses.replace(
        row, arguments=(*row.arguments, *_ROOM.get(name, ())), env=(*row.env, *_ROOM_ENV)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What one attack did to one server.

    Attributes:
        server: Which server.
        attack: Which attack.
        statuses: Of every response, interim ones included.
        smuggled: Whether a request was answered that was no request.
        ended: How the connection ended for the client.
        first_byte_seconds: When an answer began; None if none did.
        ended_seconds: When the connection ended for the client.
        held_seconds: How long the server held its end of the connection.
        was_let_go: Whether it had let go when the watch ended.
        sent_bytes: What the client could get rid of.
        arrived_bytes: What of it the server's kernel took.
        discarded_bytes: What drainkit took of the body; None without a report.
        outcome: How the drain ended; "" without a report.
        drain_seconds: How long the drain took; None without a report.
        memory_bytes: How far the memory of all the server's processes rose at its peak; of the
            whole batch, where several attacks ran at once.
        beside_seconds: The slowest ordinary request meanwhile, of the whole batch; None when one
            was not answered at all.
    """

    server: str
    attack: str
    statuses: tuple[int, ...]
    smuggled: bool
    ended: str
    first_byte_seconds: float | None
    ended_seconds: float
    held_seconds: float
    was_let_go: bool
    sent_bytes: int
    arrived_bytes: int
    discarded_bytes: int | None
    outcome: str
    drain_seconds: float | None
    memory_bytes: int
    beside_seconds: float | None

    @property
    def final_statuses(self) -> tuple[int, ...]:
        """The statuses of the final responses."""
        return tuple(status for status in self.statuses if status >= 200)


def batches(
    attacks: Sequence[Attack], at_once: int, is_alone: Callable[[Attack], bool]
) -> Iterator[list[Attack]]:
    """Yield attacks that may run at the same time."""
    waiting = list(attacks)
    while waiting:
        batch = [waiting.pop(0)]
        for attack in list(waiting):
            if len(batch) < at_once and not (is_alone(attack) or is_alone(batch[0])):
                batch.append(attack)
                waiting.remove(attack)
        yield batch


def attacked(
    server: Running,
    attacks: Sequence[Attack],
    *,
    at_once: int = 1,
    is_alone: Callable[[Attack], bool] = lambda attack: attack.alone,
    watch_seconds: float = WATCH_SECONDS,
) -> Iterator[Figures]:
    """Attack a server, and yield the figures of each attack.

    Args:
        server: A server that runs with the middleware and ``POLICY``.
        attacks: With which.
        at_once: How many may run at the same time.
        is_alone: Which of them must not.
        watch_seconds: How long each is watched at the most.
    """
    wait_for_room(server, at_once)
    _warm_up(server)
    for batch in batches(attacks, at_once, is_alone):
        yield from _attacked_at_once(server, batch, watch_seconds)


def wait_for_room(server: Running, count: int) -> None:
    """Wait until a server takes so many connections at once.

    Whoever says that it is ready may be the first of many workers that start.

    Raises:
        ServerError: If it does not in time.
    """
    deadline = time.monotonic() + READY_SECONDS
    with contextlib.ExitStack() as stack:
        for number in range(count):
            connection = socket.create_connection(server.address, READY_SECONDS)
            stack.enter_context(connection)
            host, port = connection.getsockname()
            held = Held(server.address[1], port, host)
            while not held.is_taken():
                if time.monotonic() > deadline:
                    raise ServerError(f"{server.server.name} takes {number} of {count} connections")
                time.sleep(_ROOM_POLL_SECONDS)


def _warm_up(server: Running) -> None:
    """Let the server take the memory that it takes anyway."""
    for upload in (
        Upload(path="/413", size_bytes=1024 * 1024),
        Upload(path="/page", size_bytes=1024 * 1024),
        Upload(path="/413", size_bytes=1024 * 1024, framing="chunked"),
    ):
        strict(server.address, upload, timeout_seconds=5.0)


def _recover(server: Running) -> None:
    """Wait until the server has done with what came before: its parser may be far behind."""
    get = Upload(path="/ready", method="GET", connection="close")
    strict(server.address, get, timeout_seconds=_BESIDE_TIMEOUT_SECONDS)


def _attacked_at_once(
    server: Running, batch: list[Attack], watch_seconds: float
) -> Iterator[Figures]:
    def attack_once(attack: Attack) -> Seen:
        attacker = Attacker(server.address, reads=attack.reads, watch_seconds=watch_seconds)
        return attacker.run(attack.script)

    _recover(server)
    before = len(server.reports())
    memory = Memory(server.pid)
    with (
        _held_before(server, batch[0].behind),
        _Beside(server) as beside,
        ThreadPoolExecutor(len(batch)) as pool,
    ):
        seen = list(pool.map(attack_once, batch))
    reports = _reports(server, before, batch)
    growth = memory.growth_bytes()
    for attack, one in zip(batch, seen, strict=True):
        yield _figures(server, attack, one, reports.get(attack.request), growth, beside.worst)


@contextlib.contextmanager
def _held_before(server: Running, count: int) -> Iterator[None]:
    """Let silent uploads take their places in the capacity first."""
    before = len(server.reports())
    silent = ATTACKS["silent-length"]
    attackers = [
        Attacker(server.address, reads=True, watch_seconds=WATCH_SECONDS) for _ in range(count)
    ]
    with ThreadPoolExecutor(max(1, count)) as pool:
        for attacker in attackers:
            pool.submit(attacker.run, silent.script)
        most_seconds = _SETTLE_MOST_SECONDS.get(server.server.name, WATCH_SECONDS)
        deadline = time.monotonic() + most_seconds
        while time.monotonic() < deadline and any(
            attacker.seen.first_byte_seconds is None for attacker in attackers
        ):
            time.sleep(_SETTLE_SECONDS / 10)
        if count:
            # Their answers are there; their drains begin right behind them.
            time.sleep(_SETTLE_SECONDS)
        yield
    if count:
        with contextlib.suppress(ServerError):  # an unwrapped one makes none
            server.wait_for_reports(before + count, timeout_seconds=2.0)


def _reports(
    server: Running, before: int, batch: list[Attack]
) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the reports by method and path; those still to come are waited for a little."""
    deadline = time.monotonic() + _REPORT_SECONDS
    while True:
        found = {(report["method"], report["path"]): report for report in server.reports()[before:]}
        if all(attack.request in found for attack in batch) or time.monotonic() > deadline:
            return found
        time.sleep(_SETTLE_SECONDS)


def _figures(
    server: Running,
    attack: Attack,
    seen: Seen,
    report: dict[str, Any] | None,
    growth: int,
    beside: float | None,
) -> Figures:
    return Figures(
        server=server.server.name,
        attack=attack.name,
        statuses=seen.statuses,
        smuggled=b"200 smuggled" in seen.received,
        ended=seen.ended,
        first_byte_seconds=seen.first_byte_seconds,
        ended_seconds=seen.ended_seconds,
        held_seconds=seen.held_seconds,
        was_let_go=seen.was_let_go,
        sent_bytes=seen.sent_bytes,
        arrived_bytes=seen.arrived_bytes,
        discarded_bytes=None if report is None else report["bytes_discarded"],
        outcome="" if report is None else report["outcome"],
        drain_seconds=None if report is None else report["seconds"],
        memory_bytes=growth,
        beside_seconds=beside,
    )


class _Beside:
    """Asks for an ordinary page again and again while an attack goes on.

    Attributes:
        worst: The slowest answer in seconds; None when one did not come.
    """

    def __init__(self, server: Running) -> None:
        self._server = server
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.worst: float | None = 0.0

    def __enter__(self) -> "_Beside":
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _ask(self) -> None:
        get = Upload(path="/ready", method="GET", connection="close")
        while not self._is_over.wait(_BESIDE_EVERY_SECONDS):
            answer = strict(self._server.address, get, timeout_seconds=_BESIDE_TIMEOUT_SECONDS)
            if not answer.delivered:
                self.worst = None
                return
            if self.worst is not None:
                self.worst = max(self.worst, answer.seconds)
