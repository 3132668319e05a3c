"""Section "servers": what a request costs a whole server in CPU time, with and without drainkit.

The servers' time is the kernel's count for their processes; the client is another process, on a
core of its own where there are several.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench.alternatives import CONTROL, DRAINKIT, LEAST, NONE, SNIPPET
from tests.bench.asking import Asker, Question, Told
from tests.bench.bench import Bench, BenchError, count_for, say
from tests.bench.names import (
    CONNECTIONS,
    CPU,
    CPU_RATIO,
    EARLY,
    EARLY_LONG,
    GET,
    LOST,
    READ,
)
from tests.bench.served import ROWS, Processes, available, contenders
from tests.child import ChildError
from tests.servers.harness import Running

SERVERS = (
    "uvicorn-h11",
    "uvicorn-httptools",
    "uvicorn-httptools-uvloop",
    "hypercorn-asyncio",
    "hypercorn-trio",
    "gunicorn-asgi",
    "granian-asgi",
    "granian-wsgi",
    "gunicorn-sync",
    "gunicorn-gthread",
    "gunicorn-gevent",
    "cheroot",
    "waitress",
)
# A sample takes this long where it can: thousands of times what the clock can tell apart.
_SAMPLE_SECONDS = 0.09
_QUICK_SAMPLE_SECONDS = 0.03
_WARM_UP = 30
_ROUNDS = 2
# Behind its last answer a server may still have something to put away.
_SETTLE_SECONDS = 0.002
# No more than gunicorn's threads. With several a server finds the next request when it is done
# with one, as under load, and does not sleep in between.
_CONNECTIONS = 4
# Longer than any server takes to answer what came first.
_GAP_SECONDS = 0.002
# hypercorn closes a connection behind a thousand requests.
_WORTH_TELLING = 0.01

_FIELDS = (
    "Host: 127.0.0.1:8000",
    "User-Agent: bench/1.0",
    "Accept: application/json",
    "Accept-Encoding: gzip, deflate",
    "Authorization: Bearer 0123456789abcdef0123456789abcdef",
    "Content-Type: application/json",
)
_LONG = 65_536
_SHORT = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One kind of request.

    Attributes:
        name: What the page calls it.
        question: What is sent.
        has_rates: Whether requests a second and the slowest of them are kept, too.
    """

    name: str
    question: Question
    has_rates: bool = False


def _head(method: str, path: str, *more: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", *_FIELDS, *more, "", ""]).encode()


def _post(path: str, size: int = _SHORT) -> bytes:
    return _head("POST", path, f"Content-Length: {size}")


def _question(status: int, *pieces: bytes) -> Question:
    return Question(
        pieces=pieces, status=status, gap_seconds=_GAP_SECONDS, connections=_CONNECTIONS
    )


_BODY = b"x" * _SHORT
_CHUNKED = _head("POST", "/early", "Transfer-Encoding: chunked")
_ONE_CHUNK = b"%x\r\n%s\r\n0\r\n\r\n" % (_SHORT, _BODY)

CASES = (
    Case(name=GET, question=_question(200, _head("GET", "/hello")), has_rates=True),
    Case(name=READ, question=_question(200, _post("/read") + _BODY), has_rates=True),
    Case(name=EARLY, question=_question(413, _post("/early") + _BODY)),
    Case(
        name=f"{EARLY} without Content-Length",
        question=_question(413, _post("/early?unsized") + _BODY),
    ),
    Case(name=f"{EARLY} in two pieces", question=_question(413, _post("/early?pieces") + _BODY)),
    Case(
        name=f"{EARLY} in two pieces without Content-Length",
        question=_question(413, _post("/early?pieces,unsized") + _BODY),
    ),
    Case(name=f"{EARLY}; the body is one chunk", question=_question(413, _CHUNKED + _ONE_CHUNK)),
    Case(
        name=f"{EARLY}; half of the body comes 2 ms late",
        question=_question(413, _post("/early") + _BODY[:512], _BODY[512:]),
    ),
    Case(
        name=EARLY_LONG,
        question=_question(413, _post("/early", _LONG) + b"x" * _LONG),
    ),
)


@dataclass(frozen=True, slots=True)
class _Sample:
    cpu_microseconds: float
    told: Told
    count: int


_Samples = dict[tuple[str, str], list[_Sample]]


def which(name: str) -> tuple[str, ...]:
    """Return what is compared on a server."""
    snippet = (SNIPPET,) if ROWS[name].interface == "wsgi" else ()
    return (NONE, CONTROL, *snippet, LEAST, DRAINKIT)


def run(bench: Bench) -> None:
    """Ask every server with every contender, in turn."""
    with apart() as core, Asker(core) as asker:
        for name in available(bench, SERVERS):
            _measure(bench, asker, name)


@contextlib.contextmanager
def apart() -> Iterator[int | None]:
    """Keep a core free of this process and of the servers that it starts; yield it.

    Where there is only one it is shared, and None is yielded.
    """
    cores = os.sched_getaffinity(0)
    if len(cores) == 1:
        yield None
        return
    free = max(cores)
    os.sched_setaffinity(0, cores - {free})
    try:
        yield free
    finally:
        os.sched_setaffinity(0, cores)


@dataclass(slots=True)
class _Plan:
    """What the first start of a server finds out, so that all samples are alike.

    Attributes:
        counts: How many requests make a sample, by case.
        is_kept: Whether the server keeps its connections, by case and contender.
    """

    counts: dict[str, int] = field(default_factory=dict)
    is_kept: dict[tuple[str, str], bool] = field(default_factory=dict)


def _measure(bench: Bench, asker: Asker, name: str) -> None:
    compared = which(name)
    samples: _Samples = {(case.name, each): [] for case in CASES for each in compared}
    plan = _Plan()
    # A process keeps the speed that the layout of its memory gives it, so there are several;
    # and nobody is always the first to start.
    starts = bench.pick(3, 1)
    for start in range(starts):
        say(f"servers: {name}, start {start + 1} of {starts}")
        turned = compared[start % len(compared) :] + compared[: start % len(compared)]
        with contenders(name, turned) as servers:
            processes = {each: Processes(server) for each, server in servers.items()}
            for case in CASES:
                for number in range(_ROUNDS):
                    for each in turned if number % 2 == 0 else turned[::-1]:
                        with _explained(servers[each], case):
                            samples[case.name, each].append(
                                _take(
                                    bench, asker, servers[each], processes[each], case, plan, each
                                )
                            )
            for each, server in servers.items():
                if not processes[each].are_all(server):
                    raise BenchError(f"{name}: a worker ended, or another one began")
    for case in CASES:
        _add(bench, name, case, {each: samples[case.name, each] for each in compared})


def _take(
    bench: Bench,
    asker: Asker,
    server: Running,
    processes: Processes,
    case: Case,
    plan: _Plan,
    contender: str,
) -> _Sample:
    key = (case.name, contender)
    question = case.question
    if contender == SNIPPET:
        question = dataclasses.replace(question, status=None)  # on granian its 413 is a 200
    if key not in plan.is_kept:
        plan.is_kept[key] = asker.probe(server.address, question)
    asker.open(server.address, question, is_kept=plan.is_kept[key])
    asker.ask(_WARM_UP)  # the first are not like the others
    if case.name not in plan.counts:
        told = asker.ask(_WARM_UP)
        seconds = bench.pick(_SAMPLE_SECONDS, _QUICK_SAMPLE_SECONDS)
        plan.counts[case.name] = count_for(told.seconds / _WARM_UP, seconds)
    count = plan.counts[case.name]
    time.sleep(_SETTLE_SECONDS)
    before = processes.cpu_seconds()
    told = asker.ask(count)
    time.sleep(_SETTLE_SECONDS)
    used = processes.cpu_seconds() - before
    asker.close()
    return _Sample(used / count * 1e6, told, count)


@contextlib.contextmanager
def _explained(server: Running, case: Case) -> Iterator[None]:
    try:
        yield
    except ChildError as error:
        raise BenchError(f"{server.server.name}, {case.name}: {error}\n{server.log()}") from error


def _add(bench: Bench, name: str, case: Case, samples: Mapping[str, Sequence[_Sample]]) -> None:
    names: dict[str, Any] = {"where": name, "case": case.name}
    cpu = {each: [s.cpu_microseconds for s in taken] for each, taken in samples.items()}
    for each, taken in cpu.items():
        bench.add(taken, contender=each, measure=CPU, unit="µs", **names)
    for each, taken in cpu.items():
        if each != NONE:
            bench.add_ratio(taken, cpu[NONE], contender=each, measure=CPU_RATIO, **names)
    for measure in (CONNECTIONS, LOST):
        shares = {
            each: [_share(measure, sample) for sample in samples[each]] for each in (NONE, DRAINKIT)
        }
        # Most servers keep most connections, and lose nothing.
        if max(map(max, shares.values())) > _WORTH_TELLING:
            for each, taken in shares.items():
                bench.add(taken, contender=each, measure=measure, unit="", **names)
    if case.has_rates:
        _add_rates(bench, names, samples)


def _share(measure: str, sample: _Sample) -> float:
    return (sample.told.opened if measure == CONNECTIONS else sample.told.lost) / sample.count


def _add_rates(
    bench: Bench, names: Mapping[str, Any], samples: Mapping[str, Sequence[_Sample]]
) -> None:
    rates = {each: [s.count / s.told.seconds for s in taken] for each, taken in samples.items()}
    slowest = {each: [s.told.p99_seconds * 1e3 for s in taken] for each, taken in samples.items()}
    for each in samples:
        if each != NONE:
            bench.add_ratio(
                rates[each], rates[NONE], contender=each, measure="requests / without", **names
            )
            bench.add_ratio(
                slowest[each],
                slowest[NONE],
                inverse=True,
                contender=each,
                measure="p99 without / with",
                **names,
            )
