"""Uploads that take minutes, or that their link disturbs: ``python -m tests.link.minutes``.

Every server, bare and with drainkit at its defaults, has the same upload at the same time over the
same link. What became of each is printed, and with ``--record`` written down.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from drainkit_clients import Answer, Upload, strict
from tests.link.emulated import Emulated, emulated, unavailable
from tests.link.links import Link
from tests.servers.harness import ALL_SERVERS, Running, ServerError, running

_BAD_ARGUMENTS = 2
_POLL_SECONDS = 0.1
_REPORT_SECONDS = 15.0
# Programs that start at a time: they are what needs a processor.
_STARTING_AT_ONCE = 3
_CLIENTS_AT_ONCE = 64

WSGI = (
    *("wsgiref", "werkzeug", "gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent"),
    *("cheroot", "granian-wsgi", "gevent-pywsgi"),
)
ASGI = (
    *("uvicorn-h11", "uvicorn-httptools", "hypercorn-asyncio", "hypercorn-trio"),
    *("granian-asgi", "gunicorn-asgi"),
)
# Where a drain holds next to nothing, and may take five minutes.
EVENT_LOOPS = (*ASGI, "gunicorn-gevent", "gevent-pywsgi")

# include/net/tcp_states.h, as /proc/net/tcp has it
_ESTABLISHED = "01"


@dataclasses.dataclass(frozen=True, slots=True)
class Disturbance:
    """What happens to a link in the middle of an upload.

    Attributes:
        at_seconds: When, from the beginning of the uploads.
        happen: What; it is given the link.
    """

    at_seconds: float
    happen: Callable[[Emulated], None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One upload, and what happens to its link.

    Attributes:
        name: What it is called.
        what: The same in words.
        link: What the link is like at first.
        upload: What the client sends; every client of the scenario the same.
        timeout_seconds: When a client gives up.
        disturbances: What happens.
        servers: To which servers.
        is_alone: Whether each server has a link of its own, because its rate is what matters.
    """

    name: str
    what: str
    link: Link
    upload: Upload
    timeout_seconds: float
    disturbances: tuple[Disturbance, ...] = ()
    servers: tuple[str, ...] = (*WSGI, *ASGI)
    is_alone: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """What became of one upload.

    Attributes:
        scenario: Its name.
        server: The server's.
        wrapped: Whether drainkit was there.
        status: What the client was told; None if nothing.
        error: What it had instead of an answer; None with one.
        seconds: How long the client was at it.
        held_seconds: When the server had given its end of the connection up; None if it had not.
        outcome: How the drain ended; "" without one.
        drain_seconds: How long it took.
    """

    scenario: str
    server: str
    wrapped: bool
    status: int | None
    error: str | None
    seconds: float
    held_seconds: float | None
    outcome: str
    drain_seconds: float | None


def _paced(seconds: float, bytes_per_second: int, **fields: Any) -> Upload:
    """Return an upload that takes so long where nothing holds it up."""
    return Upload(
        path="/413",
        size_bytes=int(seconds * bytes_per_second),
        piece_bytes=bytes_per_second // 10,
        rate_bytes_per_second=bytes_per_second,
        **fields,
    )


# A mobile line at the edge of its cell: what was right for 400 kbit/s is not for a tenth of it.
# Its queue holds what it sends in 0.3 seconds, and in 3 when it has become slow.
EDGE = Link(
    name="edge",
    round_trip_seconds=0.3,
    up_bits_per_second=400e3,
    down_bits_per_second=400e3,
    up_queue_bytes=15_000,
)
_EDGE_TENTH = dataclasses.replace(EDGE, up_bits_per_second=40e3)
# Wide enough for all of them at once. With this round trip TCP's tries miss the end of a stop of 4
# seconds by as much as they can: the longest silence of those that were tried.
FAR = Link(name="far", round_trip_seconds=0.2, up_bits_per_second=40e6, down_bits_per_second=40e6)


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="minutes",
            what="an upload of 285 seconds at 20 KB/s, 200 ms away",
            link=FAR,
            upload=_paced(285, 20_000),
            timeout_seconds=330,
            servers=EVENT_LOOPS,
        ),
        Scenario(
            name="stop",
            what="the link stops for 4 seconds in the middle, and goes on",
            link=FAR,
            upload=_paced(8, 20_000),
            timeout_seconds=40,
            disturbances=(Disturbance(3.0, lambda link: link.silence(4.0)),),
        ),
        Scenario(
            name="tenth",
            what="a line of 400 kbit/s falls to a tenth in the middle",
            link=EDGE,
            upload=_paced(7, 45_000),
            timeout_seconds=60,
            disturbances=(Disturbance(5.0, lambda link: link.change(_EDGE_TENTH)),),
            is_alone=True,
        ),
        Scenario(
            name="gone",
            what="the client's address falls silent for ever in the middle: another network",
            link=FAR,
            upload=_paced(10, 20_000),
            timeout_seconds=25,
            disturbances=(Disturbance(3.0, lambda link: link.silence()),),
        ),
    )
}


def measured(
    scenario: Scenario,
    servers: Sequence[str],
    *,
    seed: int = 1,
    wraps: Sequence[bool] = (False, True),
) -> list[Row]:
    """Return what became of the uploads to these servers.

    Args:
        scenario: What is uploaded, and what happens meanwhile.
        servers: Names of ``ALL_SERVERS``.
        seed: The link's chance.
        wraps: Without drainkit, with it, or both.
    """
    cells = [(name, wrap) for name in servers for wrap in wraps if not ALL_SERVERS[name].missing()]
    if not scenario.is_alone:
        return _over_one_link(scenario, cells, seed)
    with concurrent.futures.ThreadPoolExecutor(_STARTING_AT_ONCE) as pool:
        found = pool.map(lambda cell: _over_one_link(scenario, [cell], seed), cells)
        return [row for rows in found for row in rows]


def _over_one_link(scenario: Scenario, cells: Sequence[tuple[str, bool]], seed: int) -> list[Row]:
    with contextlib.ExitStack() as stack:
        link = stack.enter_context(emulated(scenario.link, seed=seed))
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(_CLIENTS_AT_ONCE))
        starting = threading.Semaphore(_STARTING_AT_ONCE)
        ready = threading.Barrier(len(cells) + 1)
        rows = [pool.submit(_row, scenario, link, cell, starting, ready) for cell in cells]
        try:
            ready.wait()
            begun = time.monotonic()
            for disturbance in scenario.disturbances:
                time.sleep(max(0.0, begun + disturbance.at_seconds - time.monotonic()))
                disturbance.happen(link)
        except threading.BrokenBarrierError:
            pass  # a server did not start, and its row raises
        return [row.result() for row in rows]


def _row(
    scenario: Scenario,
    link: Emulated,
    cell: tuple[str, bool],
    starting: threading.Semaphore,
    ready: threading.Barrier,
) -> Row:
    name, wrap = cell
    with contextlib.ExitStack() as stack:
        try:
            with starting, link.server.entered():
                server = stack.enter_context(running(ALL_SERVERS[name], wrap=wrap))
        except BaseException:
            ready.abort()
            raise
        ready.wait()
        begun = time.monotonic()
        with _held(link, server) as held:
            answer: Answer = link.client.call(
                strict,
                server.address,
                scenario.upload,
                timeout_seconds=scenario.timeout_seconds,
            )
        report = _report(server) if wrap else None
        return Row(
            scenario=scenario.name,
            server=name,
            wrapped=wrap,
            status=answer.status if answer.delivered else None,
            error=answer.error or (None if answer.delivered else "no whole answer"),
            seconds=round(answer.seconds, 2),
            held_seconds=None if held.until is None else round(held.until - begun, 2),
            outcome=report["outcome"] if report else "",
            drain_seconds=round(report["seconds"], 2) if report else None,
        )


def _report(server: Running) -> dict[str, Any] | None:
    with contextlib.suppress(ServerError):
        return server.wait_for_reports(1, timeout_seconds=_REPORT_SECONDS)[-1]
    return None


class _Held:
    """When a server gave its end of the upload's connection up."""

    def __init__(self) -> None:
        self.until: float | None = None


@contextlib.contextmanager
def _held(link: Emulated, server: Running) -> Iterator[_Held]:
    """Watch a server's connections until the block ends."""
    held, is_over = _Held(), threading.Event()

    def watch() -> None:
        was_held = False
        while not is_over.wait(_POLL_SECONDS):
            is_held = link.server.call(_is_held, server.address[1])
            if was_held and not is_held and held.until is None:
                held.until = time.monotonic()
            was_held |= is_held

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield held
    finally:
        is_over.set()
        watching.join()


def _is_held(port: int) -> bool:
    """Tell whether a process of this namespace has a connection of a port that it listens on."""
    for line in Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        is_ours = int(fields[1].rpartition(":")[2], 16) == port
        if is_ours and fields[3] == _ESTABLISHED and fields[9] != "0":
            return True
    return False


def table(rows: Sequence[Row]) -> str:
    """Return the rows as text, a line for each server."""
    lines = []
    for row in rows:
        told = "lost" if row.status is None else str(row.status)
        held = "-" if row.held_seconds is None else f"{row.held_seconds:.1f}"
        drain = "" if row.drain_seconds is None else f"{row.outcome} {row.drain_seconds:.1f}"
        lines.append(
            f"{row.scenario:8} {row.server:18} {'drainkit' if row.wrapped else 'bare':8} {told:5}"
            f"{row.seconds:7.1f} s  held {held:>6}  {drain:18} {row.error or ''}"
        )
    return "\n".join(lines)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.link.minutes", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--servers", nargs="+", choices=list(ALL_SERVERS), metavar="SERVER")
    parser.add_argument("--seed", type=int, default=1, help="the link's chance")
    parser.add_argument("--record", type=Path, help="a JSON file to write")
    options = parser.parse_args(arguments)
    for name in options.scenarios:
        if name not in SCENARIOS:
            parser.error(f"no scenario is called {name!r}; there are: {', '.join(SCENARIOS)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 1 if drainkit lost what the server did not."""
    options = _arguments(arguments)
    if why := unavailable():
        print(f"error: {why}", file=sys.stderr)
        return _BAD_ARGUMENTS
    rows: list[Row] = []
    for name in options.scenarios or SCENARIOS:
        scenario = SCENARIOS[name]
        print(f"{name}: {scenario.what}", flush=True)
        found = measured(scenario, options.servers or scenario.servers, seed=options.seed)
        print(table(found), flush=True)
        rows += found
    if options.record is not None:
        text = json.dumps([dataclasses.asdict(row) for row in rows], indent=1)
        options.record.write_text(text + "\n", encoding="utf-8")
    worse = worse_than_bare(rows)
    print(*worse, sep="\n")
    return 1 if worse else 0


def worse_than_bare(rows: Sequence[Row]) -> list[str]:
    """Return the uploads whose answer came without drainkit and not with it."""
    bare = {(row.scenario, row.server): row.status for row in rows if not row.wrapped}
    return [
        f"worse than bare: {row.scenario}, {row.server}"
        for row in rows
        if row.wrapped and row.status is None and bare.get((row.scenario, row.server)) is not None
    ]


if __name__ == "__main__":
    sys.exit(main())
