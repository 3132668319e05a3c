"""What 500 slow drains cost everybody else: the wait of normal requests, and memory.

Each round goes through the same states of the slow clients on the same server, one after the other,
and is compared with itself: what changes on the machine from minute to minute changes both sides.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.load import servers
from tests.load.figures import Spread, percentile, spread
from tests.load.normal_client import REQUESTS_PER_SECOND, NormalClient
from tests.load.processes import allow_descriptors, usage
from tests.load.slow_clients import BYTES_PER_SECOND, RETURN_SECONDS, SlowClients
from tests.servers.harness import Running

GTHREAD_THREADS = 64
GTHREAD_CAPACITY = 32
# Sockets of two sides are in two processes; the rest is what a process has anyway.
_OTHER_DESCRIPTORS = 256
_SETTLE_SECONDS = 1.0
_MEMORY_SETTLE_SECONDS = 2.0
_OPEN_SECONDS = 30.0
# Each state is held for longer than the default max_seconds on a slow machine.
_HOLD_SECONDS = 120.0
_WARM_UP_CLIENTS = 50

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Target:
    """One server under slow drains.

    Attributes:
        name: The row of the server tests.
        extra_state: The state measured beside the two that are compared.
        options: More arguments for the server.
        capacity: ``max_concurrent``; None for as many as there are slow clients.
        drip_seconds: The time between two pieces of a slow client's body.
        measures_memory: Whether the memory of one drain is measured.
    """

    name: str
    extra_state: str = "reading"
    options: tuple[str, ...] = ()
    capacity: int | None = None
    # A slow client has the least work when it is just not silent for idle_seconds.
    drip_seconds: float = 3.0
    measures_memory: bool = True


TARGETS = {
    target.name: target
    for target in (
        Target("uvicorn-httptools"),
        Target("uvicorn-h11"),
        Target("hypercorn-asyncio"),
        Target("granian-asgi"),
        Target(
            "gunicorn-gthread",
            extra_state="returning",
            options=("--threads", str(GTHREAD_THREADS)),
            capacity=GTHREAD_CAPACITY,
            # A blocking read waits for several pieces, and they must come within idle_seconds.
            drip_seconds=1.0,
            measures_memory=False,  # a drain there is a thread that exists anyway
        ),
    )
}
DEFAULT_TARGETS = ("uvicorn-httptools", "hypercorn-asyncio", "granian-asgi", "gunicorn-gthread")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        clients: Slow clients at once.
        rounds: How often the states are gone through.
        seconds: How long each state is measured in each round.
        memory_repeats: How often memory is measured, on a new server each time.
    """

    clients: int = 500
    rounds: int = 10
    seconds: float = 8.0
    memory_repeats: int = 5


QUICK = Plan(clients=500, rounds=2, seconds=2.0, memory_repeats=1)


@dataclass(slots=True)
class _State:
    """What was measured in one state of the slow clients."""

    medians: list[float] = field(default_factory=list)
    p99s: list[float] = field(default_factory=list)
    requests: int = 0
    least_held: int | None = None
    most_held: int = 0


def measured(names: list[str], plan: Plan, say: Say) -> dict[str, Any]:
    """Measure these servers, one after the other.

    Args:
        names: Keys of ``TARGETS``.
        plan: How much.
        say: Told of the progress.

    Raises:
        LimitError: The machine does not allow so many connections.
        ServerError: A server does not do what the measurement needs.
    """
    allow_descriptors(2 * plan.clients + _OTHER_DESCRIPTORS)
    return {
        "plan": {
            "clients": plan.clients,
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "memory_repeats": plan.memory_repeats,
            "requests_per_second": REQUESTS_PER_SECOND,
            "slow_bytes_per_second": BYTES_PER_SECOND,
            "return_seconds": RETURN_SECONDS,
            "hold_seconds": _HOLD_SECONDS,
            "gthread_threads": GTHREAD_THREADS,
            "gthread_capacity": GTHREAD_CAPACITY,
        },
        "servers": {name: _one(TARGETS[name], plan, say) for name in names},
    }


def _one(target: Target, plan: Plan, say: Say) -> dict[str, Any]:
    capacity = target.capacity or plan.clients
    result: dict[str, Any] = {
        "interface": servers.harness.SERVERS[target.name].interface,
        "options": list(target.options),
        "capacity": capacity,
        "drip_seconds": target.drip_seconds,
        **_waits(target, plan, capacity, say),
    }
    if target.measures_memory:
        result["memory"] = _memory(target, plan, say)
    return result


def _policy(capacity: int) -> dict[str, Any]:
    return {"max_concurrent": capacity, "max_seconds": _HOLD_SECONDS}


# --- how long normal requests wait ----------------------------------------------------------------


def _waits(target: Target, plan: Plan, capacity: int, say: Say) -> dict[str, Any]:
    names = ("connected", "draining", target.extra_state)
    states = {name: _State() for name in names}
    row = servers.row(target.name, *target.options, keep_idle=True)
    with (
        servers.started(row, policy=_policy(capacity)) as server,
        SlowClients() as slow,
        contextlib.closing(NormalClient(server.address)) as normal,
    ):
        for name in names:  # once for nothing: pools fill, code is compiled
            with _held(server, slow, target, name, plan.clients, capacity):
                normal.waits(1.0)
        for number in range(plan.rounds):
            for name in names:
                with _held(server, slow, target, name, plan.clients, capacity):
                    _measure(server, normal, states[name], plan.seconds)
            say(f"{target.name}: round {number + 1} of {plan.rounds}: {_latest(states)}")
        told = servers.state(server)
    connected, draining = states["connected"], states["draining"]
    return {
        "states": {name: _told(state) for name, state in states.items()},
        "median_ratio": _ratios(draining.medians, connected.medians),
        "p99_ratio": _ratios(draining.p99s, connected.p99s),
        "extra_median_ratio": _ratios(draining.medians, states[target.extra_state].medians),
        "extra_p99_ratio": _ratios(draining.p99s, states[target.extra_state].p99s),
        "extra_state": target.extra_state,
        "most_active": told["most_active"],
        "active_in_the_end": told["active"],
        "outcomes": dict(sorted(told["outcomes"].items())),
    }


@contextlib.contextmanager
def _held(
    server: Running, slow: SlowClients, target: Target, name: Any, clients: int, capacity: int
) -> Iterator[None]:
    """Bring the slow clients into a state, and end it."""
    slow.open(server.address, name, clients, drip_seconds=target.drip_seconds)
    try:
        if name == "reading":
            servers.wait_until(
                server, lambda told: told["holding"] == clients, "read", seconds=_OPEN_SECONDS
            )
        else:
            _wait_for_answers(server, slow, clients)
        if name in ("draining", "returning"):
            held = min(clients, capacity)
            servers.wait_until(
                server, lambda told: told["active"] == held, "held", seconds=_OPEN_SECONDS
            )
        time.sleep(_SETTLE_SECONDS)
        yield
    finally:
        slow.close()
    servers.wait_until(
        server, lambda told: told["active"] == told["holding"] == 0, "free", seconds=_OPEN_SECONDS
    )
    time.sleep(_SETTLE_SECONDS)


def _wait_for_answers(server: Running, slow: SlowClients, clients: int) -> None:
    deadline = time.monotonic() + _OPEN_SECONDS
    while (counts := slow.counts())["answered"] < clients:
        if time.monotonic() > deadline:
            raise servers.harness.ServerError(
                f"{server.server.name} answered {counts['answered']} of {clients} slow clients "
                f"within {_OPEN_SECONDS} s: {counts}"
            )
        time.sleep(0.1)


def _measure(server: Running, normal: NormalClient, state: _State, seconds: float) -> None:
    before = servers.state(server)
    waits = normal.waits(seconds)
    after = servers.state(server)
    held = [told["active"] for told in (before, after)]
    state.least_held = min(held + ([] if state.least_held is None else [state.least_held]))
    state.most_held = max([*held, state.most_held])
    state.requests += len(waits)
    state.medians.append(percentile(waits, 0.5))
    state.p99s.append(percentile(waits, 0.99))


def _told(state: _State) -> dict[str, Any]:
    return {
        "median_ms": spread([1000 * value for value in state.medians]),
        "p99_ms": spread([1000 * value for value in state.p99s]),
        "requests": state.requests,
        "least_held": state.least_held,
        "most_held": state.most_held,
    }


def _ratios(ones: list[float], others: list[float]) -> Spread:
    return spread([one / other for one, other in zip(ones, others, strict=True)])


def _latest(states: dict[str, _State]) -> str:
    return ", ".join(
        f"{name} {1000 * state.medians[-1]:.2f}/{1000 * state.p99s[-1]:.2f} ms"
        for name, state in states.items()
    )


# --- how much memory a drain holds ----------------------------------------------------------------


def _memory(target: Target, plan: Plan, say: Say) -> dict[str, Any]:
    """Return KiB a connection: with a drain, and on the bare server that reads the same body."""
    sizes = (plan.clients, 2 * plan.clients)
    drained: dict[int, list[float]] = {size: [] for size in sizes}
    read: dict[int, list[float]] = {size: [] for size in sizes}
    for number in range(plan.memory_repeats):
        for kind, into in (("draining", drained), ("reading", read)):
            for size, kib in _held_kib(target, kind, sizes).items():
                into[size].append(kib)
        say(
            f"{target.name}: memory {number + 1} of {plan.memory_repeats}: KiB a connection: "
            f"{ {size: round(values[-1], 1) for size, values in drained.items()} } with a drain, "
            f"{ {size: round(values[-1], 1) for size, values in read.items()} } without"
        )
    return {
        str(size): {
            "drained_kib": spread(drained[size]),
            "read_kib": spread(read[size]),
            "difference_kib": spread(
                [one - other for one, other in zip(drained[size], read[size], strict=True)]
            ),
        }
        for size in sizes
    }


def _held_kib(target: Target, kind: Any, sizes: tuple[int, ...]) -> dict[int, float]:
    """Return the memory of one connection in KiB, for each number of them."""
    is_drained = kind == "draining"
    policy = _policy(max(sizes)) if is_drained else None
    row = servers.row(target.name, *target.options, keep_idle=True)
    found = {}
    with (
        servers.started(row, wrap=is_drained, policy=policy) as server,
        SlowClients() as slow,
    ):
        with _held(server, slow, target, kind, _WARM_UP_CLIENTS, max(sizes)):
            pass
        before = usage(server.pid).memory_kib
        what = "active" if is_drained else "holding"
        here = 0
        for size in sizes:
            slow.open(server.address, kind, size - here, drip_seconds=target.drip_seconds)
            here = size
            servers.wait_until(
                server, lambda told, n=size: told[what] == n, "held", seconds=_OPEN_SECONDS
            )
            time.sleep(_MEMORY_SETTLE_SECONDS)
            found[size] = (usage(server.pid).memory_kib - before) / size
            if servers.state(server)[what] != size:
                raise servers.harness.ServerError(f"{target.name}: a drain ended too early")
    return found
