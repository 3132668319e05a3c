"""Section "discarding": CPU time and memory for a body that nobody wants."""

import contextlib
import functools
from collections.abc import Mapping

from tests.bench.alternatives import DRAINKIT, FLOOR, HANDLER, HANDLER_64, SNIPPET
from tests.bench.bench import Bench, alternated, say
from tests.bench.results import quartiles
from tests.bench.served import GIB, KIB, MIB, ROWS, Processes, available, contenders, discard
from tests.servers.harness import Running

_SERVERS = (
    "gunicorn-sync",
    "gunicorn-gthread",
    "granian-wsgi",
    "uvicorn-h11",
    "uvicorn-httptools",
    "hypercorn-asyncio",
    "granian-asgi",
)
_READ_BYTES = (4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB)
_MEMORY_CASE = "discard 1 GiB"
# mallopt(3); both together keep glibc from giving memory back.
_KEPT_HEAP = {"MALLOC_TRIM_THRESHOLD_": "134217728", "MALLOC_MMAP_THRESHOLD_": "33554432"}
_MEASURES = {
    HANDLER: "speed / own loop's",
    HANDLER_64: "speed / own 64 KiB loop's",
    SNIPPET: "speed / snippet's",
    FLOOR: "speed / floor's",
}


def run(bench: Bench) -> None:
    """Discard on every server, beside a bare socket."""
    size = bench.pick(256 * MIB, 64 * MIB)
    _sweep(bench, FLOOR, FLOOR, size)
    for name in available(bench, _SERVERS):
        say(f"discarding: {name}")
        is_wsgi = ROWS[name].interface == "wsgi"
        # Behind the response the naive loop receives nothing that could be measured.
        which = (HANDLER, *((HANDLER_64, SNIPPET) if is_wsgi else ()), DRAINKIT, FLOOR)
        best = _sweep(bench, name, HANDLER, size) if is_wsgi else None
        with contenders(name, which) as servers:
            _compare(bench, name, servers, size, best)
            _page_faults(bench, name, servers, size, best)
            for contender in (HANDLER, SNIPPET, DRAINKIT) if is_wsgi else (HANDLER, DRAINKIT):
                # gunicorn's snippet is enough of it: 1 GiB stays in memory each time.
                if contender != SNIPPET or name == "gunicorn-sync":
                    _memory(bench, name, servers[contender], contender)
        _kept_heap(bench, name, size, best)


def _sweep(bench: Bench, name: str, contender: str, size: int) -> int:
    """Find out which size of read costs least; return it."""
    samples: dict[int, list[float]] = {read_bytes: [] for read_bytes in _READ_BYTES}
    with contextlib.ExitStack() as stack:
        # A process for each size: glibc's allocator treats all sizes alike after a large one.
        servers = {
            read_bytes: stack.enter_context(contenders(name, (contender,)))[contender]
            for read_bytes in samples
        }
        for _ in range(bench.pick(3, 2)):
            for read_bytes, taken in samples.items():
                cpu_seconds, _ = discard(servers[read_bytes], contender, size, read_bytes)
                taken.append(cpu_seconds * GIB / size)
    for read_bytes, taken in samples.items():
        bench.add(
            taken,
            where=name,
            case="discard by size of read",
            contender=contender,
            measure="CPU for each GiB",
            unit="s",
            x=read_bytes / KIB,
        )
    return min(samples, key=lambda read_bytes: quartiles(samples[read_bytes])[1])


def _compare(
    bench: Bench,
    name: str,
    servers: Mapping[str, Running],
    size: int,
    best: int | None,
    *,
    case: str = "discard",
) -> None:
    seconds = functools.partial(_cpu_seconds_per_gib, servers, size, best)
    which = list(servers)
    alternated(which, 1, seconds)  # the first is not like the others
    samples = alternated(which, bench.pick(5, 3), seconds)
    names = {"where": name, "case": case}
    for contender in which:
        if contender != HANDLER_64:  # a point of the sweep
            bench.add(
                samples[contender],
                contender=contender,
                measure="CPU for each GiB",
                unit="s",
                **names,
            )
    for other in which:
        if other in _MEASURES:
            bench.add_ratio(
                samples[DRAINKIT],
                samples[other],
                inverse=True,
                contender=DRAINKIT,
                measure=_MEASURES[other],
                **names,
            )


def _kept_heap(bench: Bench, name: str, size: int, best: int | None) -> None:
    """Compare where the C library does not give memory back after each message.

    The server allocates each message anew. Whether that makes glibc shrink the heap and grow it
    again depends on what lies behind the message in memory, and costs more than all else.
    """
    with contenders(name, (HANDLER, DRAINKIT), env=_KEPT_HEAP) as servers:
        _compare(bench, name, servers, size, best, case="discard, heap kept")


def _cpu_seconds_per_gib(
    servers: Mapping[str, Running], size: int, best: int | None, contender: str
) -> float:
    read_bytes = 64 * KIB if contender == HANDLER_64 else best
    cpu_seconds, _ = discard(servers[contender], contender, size, read_bytes)
    return cpu_seconds * GIB / size


def _page_faults(
    bench: Bench, name: str, servers: Mapping[str, Running], size: int, best: int | None
) -> None:
    for contender in (HANDLER, DRAINKIT):
        processes = Processes(servers[contender])
        samples = []
        for _ in range(bench.pick(3, 2)):
            before = processes.page_faults()
            discard(servers[contender], contender, size, best)
            samples.append((processes.page_faults() - before) * GIB / size)
        bench.add(
            samples,
            where=name,
            case="discard",
            contender=contender,
            measure="page faults for each GiB",
            unit="",
        )


def _memory(bench: Bench, name: str, server: Running, contender: str) -> None:
    processes = Processes(server)
    samples = []
    discard(server, contender, 64 * MIB)  # the first is not like the others
    for _ in range(2):
        before = processes.forget_peak()
        discard(server, contender, GIB)
        samples.append((processes.peak_bytes() - before) / MIB)
    bench.add(
        samples,
        where=name,
        case=_MEMORY_CASE,
        contender=contender,
        measure="growth of peak memory",
        unit="MiB",
    )
