"""Section "servers": requests a second and the slowest of them, by wrk."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.alternatives import CONTROL, DRAINKIT, LEAST, NONE
from tests.bench.bench import Bench, BenchError, say
from tests.bench.served import Processes, available, contenders, rival
from tests.servers.harness import Running

_SERVERS = ("gunicorn-gthread", "granian-wsgi", "uvicorn-httptools", "granian-asgi")
_SCRIPT = Path(__file__).with_name("requests.lua")
# No more than gunicorn's threads: a connection that is kept alive holds one.
_CONNECTIONS = 4
_TIMEOUT_SECONDS = 60.0
_REQUESTS = {"GET": ("/hello", 0), "POST": ("/read", 1024)}


@dataclass(frozen=True, slots=True)
class _Sample:
    per_second: float
    p99_ms: float
    cpu_microseconds: float


def run(bench: Bench) -> None:
    """Ask servers with and without drainkit in turn."""
    wrk = shutil.which("wrk")
    if wrk is None:
        bench.skip("whole servers need wrk")
        return
    for name in available(bench, _SERVERS):
        which = (NONE, rival(name), DRAINKIT, CONTROL, LEAST)
        samples: dict[tuple[str, str], list[_Sample]] = {
            (method, contender): [] for method in _REQUESTS for contender in which
        }
        # A process keeps the speed that the layout of its memory gives it, so there are several;
        # and nobody is always the first to start.
        starts = bench.pick(4, 1)
        for start in range(starts):
            say(f"servers: {name}, start {start + 1} of {starts}")
            turned = which[start % len(which) :] + which[: start % len(which)]
            with contenders(name, turned) as servers:
                for method in _REQUESTS:
                    _take(bench, wrk, servers, method, samples)
        for method in _REQUESTS:
            _add(bench, name, method, {c: samples[method, c] for c in which})


def _take(
    bench: Bench,
    wrk: str,
    servers: Mapping[str, Running],
    method: str,
    samples: dict[tuple[str, str], list[_Sample]],
) -> None:
    path, size = _REQUESTS[method]
    which = list(servers)
    for contender in which:
        _ask(wrk, servers[contender], method, path, size)  # the first is not like the others
    for number in range(bench.pick(2, 3)):
        for contender in which if number % 2 == 0 else which[::-1]:
            samples[method, contender].append(_ask(wrk, servers[contender], method, path, size))


def _add(bench: Bench, name: str, method: str, samples: dict[str, list[_Sample]]) -> None:
    _, size = _REQUESTS[method]
    which = list(samples)
    names = {"where": name, "case": f"{method} of {size} bytes" if size else method}
    rates = {c: [sample.per_second for sample in samples[c]] for c in which}
    slowest = {c: [sample.p99_ms for sample in samples[c]] for c in which}
    cpu = {c: [sample.cpu_microseconds for sample in samples[c]] for c in which}
    for contender in which:
        bench.add(rates[contender], contender=contender, measure="requests", unit="1/s", **names)
    for contender in which:
        bench.add(slowest[contender], contender=contender, measure="p99", unit="ms", **names)
    for contender in which:
        bench.add(
            cpu[contender],
            contender=contender,
            measure="CPU for each request",
            unit="µs",
            **names,
        )
    for contender in which[1:]:
        bench.add_ratio(
            rates[contender],
            rates[NONE],
            contender=contender,
            measure="requests / without",
            **names,
        )
        bench.add_ratio(
            slowest[contender],
            slowest[NONE],
            inverse=True,
            contender=contender,
            measure="p99 without / with",
            **names,
        )


def _ask(
    wrk: str,
    server: Running,
    method: str,
    path: str,
    size: int,
) -> _Sample:
    host, port = server.address
    processes = Processes(server)
    before = processes.cpu_seconds()
    done = subprocess.run(
        [
            *(wrk, "-t", "1", "-c", str(_CONNECTIONS), "-d", "1s", "-s", str(_SCRIPT)),
            *(f"http://{host}:{port}{path}", "--", method, str(size)),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    cpu_seconds = processes.cpu_seconds() - before
    told = re.search(r"^drainkit (\d+) (\d+) (\d+) (\d+)$", done.stdout, re.MULTILINE)
    if told is None:
        raise BenchError(f"wrk failed: {done.stderr or done.stdout}")
    requests, microseconds, p99_microseconds, errors = map(int, told.groups())
    if errors or not requests:
        raise BenchError(
            f"{server.server.name}: {errors} errors and {requests} answers\n{done.stdout}"
        )
    return _Sample(
        per_second=requests * 1e6 / microseconds,
        p99_ms=p99_microseconds / 1e3,
        cpu_microseconds=cpu_seconds / requests * 1e6,
    )
