"""Section "server instructions": what a request costs a whole server in CPU instructions.

Valgrind's callgrind counts the same on a busy machine as on a quiet one, so that a hundredth can be
told where CPU time differs by a tenth from one server to the next. It does not see the kernel.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from tests.bench.alternatives import CONTROL, DRAINKIT, LEAST, NONE
from tests.bench.asking import Client
from tests.bench.bench import Bench, BenchError, say
from tests.bench.names import EARLY, GET, INSTRUCTIONS, INSTRUCTIONS_RATIO, READ
from tests.bench.served import Processes, available, contenders
from tests.bench.whole_servers import CASES, SERVERS

_CASES = tuple(case for case in CASES if case.name in (GET, READ, EARLY))
_WHICH = (NONE, CONTROL, LEAST, DRAINKIT)
_VALGRIND = (
    *("valgrind", "--tool=callgrind", "--trace-children=yes", "--instr-atstart=no"),
    "--callgrind-out-file=/dev/null",
)
# One order of dictionaries and sets in every process.
_ENV = {"PYTHONHASHSEED": "0"}
_WARM_UP = 50
_SETTLE_SECONDS = 0.1
_TIMEOUT_SECONDS = 60.0
_PER_THREAD = re.compile(r"^ +Th \d+ +([\d,]+)", re.MULTILINE)


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
    with contenders(name, (contender,), env=_ENV, prefix=_VALGRIND) as servers:
        server = servers[contender]
        pids = Processes(server).pids
        _control(pids, "-i", "on")
        for case in _CASES:
            # One after the other, so that a server finds as many requests at once each time.
            client = Client(server.address, dataclasses.replace(case.question, connections=1))
            client.open(is_kept=client.probe())
            client.ask(_WARM_UP)
            for _ in range(windows):
                time.sleep(_SETTLE_SECONDS)
                _control(pids, "-z")
                client.ask(requests)
                time.sleep(_SETTLE_SECONDS)
                told = _control(pids, "-e", "-b")
                found.setdefault(case.name, []).append(total(told) / requests)
            client.close()
    return found


def total(told: str) -> int:
    """Return the sum over processes and threads of what ``callgrind_control -e -b`` prints."""
    return sum(int(count.replace(",", "")) for count in _PER_THREAD.findall(told))


def _control(pids: Sequence[int], *order: str) -> str:
    # Never without their ids: it would reach every valgrind of this machine.
    done = subprocess.run(
        ["callgrind_control", *order, *map(str, pids)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    missing = [pid for pid in pids if f"PID {pid}:" not in done.stdout]
    if done.returncode or missing:
        raise BenchError(f"callgrind_control {order}: {missing}\n{done.stdout}\n{done.stderr}")
    return done.stdout
