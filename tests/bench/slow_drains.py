"""Section "slow drains": what many slow uploads at once cost the server and everybody else.

The clients and the application are those of `tests.load`, which holds 500 of them for long; here
their number grows, and the event loop itself is asked how late it is.
"""

from __future__ import annotations

import contextlib
import functools
import json
import threading
import time
from collections.abc import Iterator
from typing import Any, Literal

from drainkit_clients import Upload, strict
from tests.bench.alternatives import DRAINKIT, HANDLER
from tests.bench.bench import Bench, BenchError, say
from tests.bench.names import LAG, MEMORY, SLOW, WAIT
from tests.bench.served import available
from tests.load import servers
from tests.load.figures import percentile
from tests.load.normal_client import NormalClient
from tests.load.processes import LimitError, allow_descriptors, usage
from tests.load.slow_clients import SlowClients
from tests.servers.harness import Running

_SERVERS = ("uvicorn-httptools", "hypercorn-asyncio")
_AT_ONCE = (1, 10, 100, 1000, 5000)
# On the bare server the application receives the same uploads: what is compared is the drain.
_KINDS: dict[str, Literal["draining", "reading"]] = {HANDLER: "reading", DRAINKIT: "draining"}
# Each is held for longer than a run of one server takes, also where a server is late.
_POLICY = {
    "max_concurrent": 2 * max(_AT_ONCE),
    "max_seconds": 600.0,
    "idle_seconds": 60.0,
    "min_bytes_per_second": 1,
}
# Sockets of two sides are in two processes; the rest is what a process has anyway.
_OTHER_DESCRIPTORS = 256
# Just not silent for the default idle_seconds: the clients have the least work so.
_DRIP_SECONDS = 3.0
_OPEN_SECONDS = 60.0
# What counts is how many there are, and not that all of them come at once.
_AT_A_TIME = 250
_SETTLE_SECONDS = 1.0
# Not many: what they give back would be used again, and not be seen to be used.
_WARM_UP = 2
_ANSWER_SECONDS = 30.0


def run(bench: Bench) -> None:
    """Let their number grow, on a new server each time."""
    counts = bench.pick(_AT_ONCE, _AT_ONCE[:3])
    try:
        allow_descriptors(max(counts) + _OTHER_DESCRIPTORS)
    except LimitError as error:
        bench.skip(str(error))
        return
    for name in available(bench, _SERVERS):
        samples: dict[tuple[str, int, str], list[float]] = {}
        repeats = bench.pick(3, 1)
        for repeat in range(repeats):
            say(f"slow drains: {name}, {repeat + 1} of {repeats}")
            for contender in _KINDS if repeat % 2 == 0 else reversed(_KINDS):
                for key, value in _grow(name, contender, counts, bench.pick(3.0, 1.0)).items():
                    samples.setdefault((contender, *key), []).append(value)
        for measure, unit in ((MEMORY, "KiB"), (LAG, "ms"), (WAIT, "ms")):
            for contender in _KINDS:
                for count in counts:
                    bench.add(
                        samples[contender, count, measure],
                        where=name,
                        case=SLOW,
                        contender=contender,
                        measure=measure,
                        unit=unit,
                        x=count,
                    )


def _grow(
    name: str, contender: str, counts: tuple[int, ...], seconds: float
) -> dict[tuple[int, str], float]:
    """Return the value of each measure at each number of uploads, on one server."""
    kind = _KINDS[contender]
    is_drained = kind == "draining"
    row = servers.row(name, keep_idle=True)
    found: dict[tuple[int, str], float] = {}
    with (
        servers.started(row, wrap=is_drained, policy=_POLICY if is_drained else None) as server,
        SlowClients() as slow,
        contextlib.closing(NormalClient(server.address)) as normal,
    ):
        what = "active" if is_drained else "holding"

        def grow(here: int, count: int) -> None:
            while here < count:
                more = min(count - here, _AT_A_TIME)
                here += more
                slow.open(server.address, kind, more, drip_seconds=_DRIP_SECONDS)
                servers.wait_until(
                    server, functools.partial(_holds, what, here), "held", seconds=_OPEN_SECONDS
                )
            time.sleep(_SETTLE_SECONDS)

        # Once for nothing: pools fill, code is compiled.
        grow(0, _WARM_UP)
        _lag(server, 0.5)
        normal.waits(0.5)
        slow.close()
        servers.wait_until(server, lambda told: told[what] == 0, "free", seconds=_OPEN_SECONDS)
        before = usage(server.pid).memory_kib
        here = 0
        for count in counts:
            grow(here, count)
            here = count
            found[count, MEMORY] = (usage(server.pid).memory_kib - before) / count
            with _lag_meanwhile(server, seconds) as lag:
                waits = normal.waits(seconds)
            found[count, LAG] = lag["p99_ms"]
            found[count, WAIT] = percentile(waits, 0.99) * 1e3
            held = servers.state(server)[what]
            if held != count:
                raise BenchError(f"{name}, {contender}: {held} uploads are held instead of {count}")
    return found


def _holds(what: str, count: int, told: dict[str, Any]) -> bool:
    return bool(told[what] == count)


@contextlib.contextmanager
def _lag_meanwhile(server: Running, seconds: float) -> Iterator[dict[str, Any]]:
    """Let the event loop measure itself while the block runs; the result is there behind it."""
    found: dict[str, Any] = {}
    thread = threading.Thread(target=lambda: found.update(_lag(server, seconds)), daemon=True)
    thread.start()
    yield found
    thread.join(seconds + _ANSWER_SECONDS)
    if not found:
        raise BenchError(f"{server.server.name} does not tell how late its event loop is")


def _lag(server: Running, seconds: float) -> dict[str, Any]:
    get = Upload(path=f"/lag?{seconds}", method="GET", connection="close")
    answer = strict(server.address, get, timeout_seconds=seconds + _ANSWER_SECONDS)
    if answer.status != 200:
        raise BenchError(f"{server.server.name}: {answer.error}\n{server.log()}")
    told: dict[str, Any] = json.loads(answer.body)
    return told
