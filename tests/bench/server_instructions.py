"""Section "server instructions": what a request costs a whole server in CPU instructions.

Valgrind's callgrind counts the same on a busy machine as on a quiet one, so that a hundredth can be
told where CPU time differs by a tenth from one server to the next. It does not see the kernel.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.bench import callgrind
from tests.bench.alternatives import CONTROL, DRAINKIT, LEAST, NONE
from tests.bench.asking import Client
from tests.bench.bench import Bench, say
from tests.bench.names import EARLY, GET, INSTRUCTIONS, INSTRUCTIONS_RATIO, READ
from tests.bench.served import Processes, available, contenders
from tests.bench.whole_servers import CASES, SERVERS

_CASES = tuple(case for case in CASES if case.name in (GET, READ, EARLY))
_WHICH = (NONE, CONTROL, LEAST, DRAINKIT)
# One order of dictionaries and sets in every process.
_ENV = {"PYTHONHASHSEED": "0"}
_WARM_UP = 50
_SETTLE_SECONDS = 0.1
_IDLE_SECONDS = 1.0
# Some seconds on a machine that has nothing else to do.
_READY_SECONDS = 120.0


def run(bench: Bench) -> None:
    """Count on every server, as many at once as there are cores."""
    if shutil.which("valgrind") is None:
        bench.skip("instructions of servers need valgrind")
        return
    jobs = [(name, contender) for name in available(bench, SERVERS) for contender in _WHICH]
    requests, windows = bench.pick(400, 100), bench.pick(3, 1)
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        counts = list(pool.map(lambda job: _count(job[0], job[1], requests, windows), jobs))
    by_job = dict(zip(jobs, counts, strict=True))
    for name, contender in jobs:
        for case in _CASES:
            names: dict[str, Any] = {"where": name, "case": case.name, "contender": contender}
            own, bare = by_job[name, contender][case.name], by_job[name, NONE][case.name]
            bench.add(own, measure=INSTRUCTIONS, unit="instructions", **names)
            if contender != NONE:
                bench.add_ratio(own, bare, measure=INSTRUCTIONS_RATIO, **names)


def _count(name: str, contender: str, requests: int, windows: int) -> dict[str, list[float]]:
    """Return the instructions for each request, by case."""
    say(f"server instructions: {name}, {contender}")
    found: dict[str, list[float]] = {}
    with contenders(
        name,
        (contender,),
        env=_ENV,
        prefix=callgrind.COMMAND,
        ready_seconds=_READY_SECONDS,
    ) as servers:
        server = servers[contender]
        pids = Processes(server).pids
        callgrind.count(pids)
        idle, idle_seconds = _window(pids, lambda: time.sleep(_IDLE_SECONDS))
        for case in _CASES:
            # One after the other, so that a server finds as many requests at once each time.
            client = Client(server.address, dataclasses.replace(case.question, connections=1))
            client.open(is_kept=client.probe())
            client.ask(_WARM_UP)
            for _ in range(windows):
                used, seconds = _window(pids, functools.partial(client.ask, requests))
                # What a server does ten times a second, whether it is asked or not.
                used -= idle / idle_seconds * seconds
                found.setdefault(case.name, []).append(used / requests)
            client.close()
    return found


def _window(pids: Sequence[int], work: Callable[[], object]) -> tuple[float, float]:
    """Return the instructions while *work* is done, and the seconds that it took."""
    time.sleep(_SETTLE_SECONDS)
    callgrind.forget(pids)
    started = time.perf_counter()
    work()
    time.sleep(_SETTLE_SECONDS)
    seconds = time.perf_counter() - started
    return callgrind.counted(pids), seconds
