"""Minutes of good and bad clients on several servers at once: nothing grows, nothing is lost.

All clients rest once in each round. Only then is it exact what the server should hold: no drain, no
connection, no task of a request. What it holds at rest is compared from round to round.
"""

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from tests.load import servers
from tests.load.figures import slope, spread
from tests.load.processes import allow_descriptors, usage
from tests.load.soak_clients import (
    BAD_CLIENTS,
    GOOD_CLIENTS,
    MOST_HELD_SECONDS,
    POLICY,
    Clients,
    Tally,
)
from tests.servers.harness import Running, ServerError

NAMES: dict[str, tuple[str, ...]] = {
    "uvicorn-httptools": (),
    "gunicorn-gthread": ("--threads", "8"),
    "gunicorn-gevent": (),
    "hypercorn-asyncio": (),
    "granian-asgi": (),
}
_ROUND_SECONDS = 24.0
_SAMPLE_SECONDS = 5.0
# Longer than any client is at it.
_REST_SECONDS = 30.0
# Longer than each of these servers keeps a connection that its client has left (hypercorn: 5 s).
_SETTLE_SECONDS = 6.0
_DESCRIPTORS = 1024
# The share of the rests that warm the server up: caches, pools and the allocator's arenas.
_WARM_UP = 0.25

# Allocators that keep free memory hide what is live. glibc gives it back from the first of its
# arenas only, and makes one for each thread; granian's jemalloc keeps it for 10 s.
ALLOCATORS = (
    ("MALLOC_ARENA_MAX", "1"),
    ("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0"),
)

# At rest these must not grow by one.
COUNTS = ("descriptors", "threads", "tasks", "objects")

Say = Callable[[str], None]


class AnyClients(Protocol):
    """All clients of one server, as `Clients` are."""

    tally: Tally

    def go(self) -> None:
        """Let them send."""

    def rest(self) -> None:
        """Let none of them begin anew."""

    @property
    def busy(self) -> int:
        """How many are at it."""


@dataclass(slots=True)
class Soaked:
    """One server and what was seen of it."""

    server: Running
    clients: AnyClients
    begun: float
    at_rest: list[dict[str, Any]] = field(default_factory=list)
    at_work: list[dict[str, Any]] = field(default_factory=list)

    def sample(self, *, collect: bool) -> dict[str, Any]:
        """Look at the server once."""
        told = servers.state(self.server, collect=collect)
        tally = self.clients.tally
        return {
            "seconds": round(time.monotonic() - self.begun, 1),
            **asdict(usage(self.server.pid)),
            "tasks": told["tasks"],
            "active": told["active"],
            "most_active": told["most_active"],
            "outcomes": told["outcomes"],
            "exchanges": sum((tally.delivered + tally.lost + tally.bad).values()),
            **({name: told[name] for name in ("objects", "blocks")} if collect else {}),
        }


def measured(names: list[str], minutes: float, say: Say) -> dict[str, Any]:
    """Soak these servers side by side.

    Args:
        names: Keys of ``NAMES``.
        minutes: For how long, rests included.
        say: Told of the progress.

    Raises:
        LimitError: The machine does not allow so many connections.
        ServerError: A server does not start, or did not survive.
    """
    allow_descriptors(_DESCRIPTORS)
    with contextlib.ExitStack() as stack:
        begun = time.monotonic()
        soaked = {}
        for name in names:
            row = servers.row(name, *NAMES[name])
            row = dataclasses.replace(row, env=(*row.env, *ALLOCATORS))
            server = stack.enter_context(servers.started(row, policy=POLICY))
            clients = Clients(server.address)
            stack.callback(clients.stop)
            soaked[name] = Soaked(server, clients, begun)
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            work(list(soaked.values()), _ROUND_SECONDS)
            rest(list(soaked.values()), _REST_SECONDS)
            say(progress(soaked))
        return {
            "plan": {
                "minutes": minutes,
                "policy": POLICY,
                "good_clients": GOOD_CLIENTS,
                "bad_clients": BAD_CLIENTS,
                "most_held_seconds": MOST_HELD_SECONDS,
                "sample_seconds": _SAMPLE_SECONDS,
            },
            "servers": {name: result(one) for name, one in soaked.items()},
        }


def work(soaked: list[Soaked], seconds: float) -> None:
    """Let all clients send for so long, and look at the servers meanwhile."""
    for one in soaked:
        one.clients.go()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, _SAMPLE_SECONDS))
        for one in soaked:
            one.at_work.append(one.sample(collect=False))


def rest(soaked: list[Soaked], seconds: float) -> None:
    """Let all clients rest, and look at what the servers hold then.

    Args:
        soaked: The servers.
        seconds: Longer than any client is at it.

    Raises:
        ServerError: A client is, or a drain does not end.
    """
    for one in soaked:
        one.clients.rest()
    deadline = time.monotonic() + seconds
    for one in soaked:
        while one.clients.busy:
            if time.monotonic() > deadline:
                raise ServerError(f"{one.server.server.name}: a client is held on to for ever")
            time.sleep(0.1)
        servers.wait_until(one.server, lambda told: told["active"] == 0, "at rest")
    time.sleep(_SETTLE_SECONDS)
    for one in soaked:
        one.sample(collect=True)  # the first frees what the second would still count
        one.at_rest.append(one.sample(collect=True))


def progress(soaked: dict[str, Soaked]) -> str:
    """Return a line for each server."""
    lines = []
    for name, one in soaked.items():
        rest, tally = one.at_rest[-1], one.clients.tally
        lines.append(
            f"{rest['seconds']:6.0f} s  {name:18} {rest['memory_kib']:7} KiB "
            f"{rest['descriptors']:4} files {rest['threads']:3} threads "
            f"{rest['tasks'] if rest['tasks'] is not None else '-':>3} tasks "
            f"{rest['objects']:3} objects; {sum(tally.delivered.values())} delivered, "
            f"{sum(tally.lost.values())} lost, {sum(tally.bad.values())} bad"
        )
    return "\n".join(lines)


def result(one: Soaked) -> dict[str, Any]:
    """Return what is recorded of a server."""
    tally = one.clients.tally
    steady = one.at_rest[int(_WARM_UP * len(one.at_rest)) :]
    first, second = steady[: len(steady) // 2], steady[len(steady) // 2 :]
    last = one.at_work[-1]
    return {
        "delivered": dict(sorted(tally.delivered.items())),
        "lost": dict(sorted(tally.lost.items())),
        "problems": tally.problems,
        "bad": dict(sorted(tally.bad.items())),
        "held_too_long": sum(tally.held_too_long.values()),
        "longest_held_seconds": round(tally.longest_held_seconds, 2),
        "most_active": last["most_active"],
        "outcomes": dict(sorted(one.at_rest[-1]["outcomes"].items())),
        "rests": len(steady),
        "memory": _growth("memory_kib", first or steady, second),
        "blocks": _growth("blocks", first or steady, second),
        "exchanges": second[-1]["exchanges"] - (first or steady)[0]["exchanges"],
        "counts": {name: _counts(name, first or steady, second) for name in COUNTS},
        "at_work": {
            name: spread([sample[name] for sample in one.at_work])
            for name in ("memory_kib", "descriptors", "threads", "active")
        },
        "at_rest": [
            {name: sample[name] for name in ("seconds", "memory_kib", "blocks", *COUNTS)}
            for sample in one.at_rest
        ],
    }


def _growth(name: str, first: list[dict[str, Any]], second: list[dict[str, Any]]) -> dict[str, Any]:
    before = statistics.median(sample[name] for sample in first)
    after = statistics.median(sample[name] for sample in second)
    return {
        "first_half": before,
        "first_half_most": max(sample[name] for sample in first),
        "second_half": after,
        "growth_percent": round(100 * (after - before) / before, 2),
        "slope_per_minute": round(
            slope([(sample["seconds"] / 60, sample[name]) for sample in second]), 1
        ),
    }


def _counts(name: str, first: list[dict[str, Any]], second: list[dict[str, Any]]) -> dict[str, Any]:
    if first[0][name] is None:
        return {"first_half": None, "second_half": None}
    return {
        # The connection that asks may or may not be closed already when the files are counted.
        "first_half": statistics.median_low(sample[name] for sample in first),
        "second_half": statistics.median_low(sample[name] for sample in second),
    }
