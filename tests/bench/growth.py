"""Section "growth": how the cost grows with the body and with the drains at once."""

import asyncio
import contextlib
from collections.abc import Mapping

from tests.bench.alternatives import DRAINKIT, HANDLER
from tests.bench.bench import Bench, BenchError, say
from tests.bench.served import KIB, MIB, Processes, available, contenders, discard, early_path
from tests.load.processes import LimitError, allow_descriptors
from tests.servers.harness import Running

_BODY_SERVERS = ("gunicorn-sync", "uvicorn-httptools")
_BODY_MIB = (1, 4, 16, 64, 256, 1024)
_DRAIN_SERVERS = ("uvicorn-httptools", "hypercorn-asyncio", "granian-asgi")
_AT_ONCE = (1, 10, 100, 1000)
_DRAIN_BYTES = 256 * KIB
_PIECE = b"x" * 16_384
_TIMEOUT_SECONDS = 120.0
# Above the most at once: the default is as much as that, and the cost without a bound is asked for.
_POLICY = {"max_concurrent": 2 * max(_AT_ONCE)}


def run(bench: Bench) -> None:
    """Measure both."""
    for name in available(bench, _BODY_SERVERS):
        say(f"growth: {name}, size of the body")
        with contenders(name, (HANDLER, DRAINKIT)) as servers:
            _by_size(bench, name, servers)
    try:
        allow_descriptors(2 * max(_AT_ONCE))
    except LimitError as error:
        bench.skip(str(error))
        return
    for name in available(bench, _DRAIN_SERVERS):
        say(f"growth: {name}, drains at once")
        with contenders(name, (HANDLER, DRAINKIT), _POLICY) as servers:
            _by_drains(bench, name, servers)


def _by_size(bench: Bench, name: str, servers: Mapping[str, Running]) -> None:
    sizes = [mib * MIB for mib in _BODY_MIB]
    if bench.quick:
        sizes = sizes[:-1]
    samples: dict[tuple[str, int], list[float]] = {(c, s): [] for c in servers for s in sizes}
    for contender in servers:
        discard(servers[contender], contender, MIB)  # the first is not like the others
    for _ in range(bench.pick(3, 2)):
        for (contender, size), taken in samples.items():
            cpu_seconds, _ = discard(servers[contender], contender, size)
            taken.append(cpu_seconds)
    for (contender, size), taken in samples.items():
        bench.add(
            taken,
            where=name,
            case="discard by size of body",
            contender=contender,
            measure="CPU",
            unit="s",
            x=size / MIB,
        )


def _by_drains(bench: Bench, name: str, servers: Mapping[str, Running]) -> None:
    total = bench.pick(1000, 200)
    counts = [count for count in _AT_ONCE if count <= total]
    processes = {contender: Processes(server) for contender, server in servers.items()}
    samples: dict[tuple[str, int], list[float]] = {(c, n): [] for c in servers for n in counts}
    for contender, server in servers.items():
        asyncio.run(_uploads(server, contender, 1))  # the first is not like the others
    for _ in range(bench.pick(3, 2)):
        for (contender, at_once), taken in samples.items():
            before = processes[contender].cpu_seconds()
            for _ in range(total // at_once):
                asyncio.run(_uploads(servers[contender], contender, at_once))
            taken.append((processes[contender].cpu_seconds() - before) / total * 1e3)
    for (contender, at_once), taken in samples.items():
        bench.add(
            taken,
            where=name,
            case="discard 256 KiB by drains at once",
            contender=contender,
            measure="CPU for each drain",
            unit="ms",
            x=at_once,
        )


async def _uploads(server: Running, contender: str, at_once: int) -> None:
    """Upload over so many connections, a piece on each in turn, so that no drain ends early."""
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        connections = [await asyncio.open_connection(*server.address) for _ in range(at_once)]
        head = (
            f"POST {early_path(contender)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Length: {_DRAIN_BYTES}\r\n\r\n"
        ).encode()
        for _, writer in connections:
            writer.write(head)
        for _ in range(_DRAIN_BYTES // len(_PIECE)):
            for _, writer in connections:
                writer.write(_PIECE)
                await writer.drain()
        for reader, writer in connections:
            answer = await reader.read()
            if b" 413 " not in answer[:16]:
                raise BenchError(f"{server.server.name}, {contender}: {answer[:80]!r}")
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
