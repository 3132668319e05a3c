"""Section "reading": an application that reads a large body, with and without drainkit."""

import functools
from collections.abc import Mapping

from tests.bench.alternatives import CONTROL, DRAINKIT, NONE
from tests.bench.bench import Bench, BenchError, alternated, say
from tests.bench.served import GIB, MIB, available, contenders, upload
from tests.servers.harness import Running

_SERVERS = ("gunicorn-sync", "uvicorn-httptools")


def run(bench: Bench) -> None:
    """Read 1 GiB, under WSGI in reads of 64 KiB."""
    size = bench.pick(GIB, 64 * MIB)
    for name in available(bench, _SERVERS):
        say(f"reading: {name}")
        which = (NONE, DRAINKIT, CONTROL)
        with contenders(name, which) as servers:
            rate = functools.partial(_rate, servers, size)
            alternated(which, 1, rate)  # the first is not like the others
            rates = alternated(which, bench.pick(5, 3), rate)
        names = {"where": name, "case": "application reads the body"}
        for contender in which:
            bench.add(
                rates[contender], contender=contender, measure="throughput", unit="MiB/s", **names
            )
        for contender in which[1:]:
            bench.add_ratio(
                rates[contender],
                rates[NONE],
                contender=contender,
                measure="throughput / without",
                **names,
            )


def _rate(servers: Mapping[str, Running], size: int, contender: str) -> float:
    server = servers[contender]
    _, body, seconds = upload(server.address, "/read", size)
    if body != b"%d" % size:
        raise BenchError(f"{server.server.name}, {contender}: {body!r} instead of {size} bytes")
    return size / MIB / seconds
