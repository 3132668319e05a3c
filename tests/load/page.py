"""Writes ``docs/explanation/load.md``: the text stands here, every figure in the record.

Standard library only: the tests of the engine check the page where nothing else is installed.
"""

import itertools
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from tests.load import record

PAGE = record.ROOT / "docs" / "explanation" / "load.md"

_INTRODUCTION = """\
# Load

% Written by tests/load/page.py from docs/load.json: change one of these.

What many slow uploads at once cost everybody else, and whether anything is left over after ten
minutes of good and bad clients. The figures of this page are those of `docs/load.json`, which the
commands below write.
"""

_SLOW_DRAINS = """
## Slow drains

{made}

{clients} slow clients come to one server process. A normal client asks at the same time for a
small answer, {requests_per_second} times a second on four kept connections, from a process of its
own. The slow clients are in one state after the other on the same server, again and again
({rounds} rounds of {seconds:g} s each), and each round is compared with itself:

- *connected*: each has had one answer and keeps its connection, silent;
- *draining*: each has been answered 413 and goes on uploading at {slow_bytes_per_second} bytes a
  second, in a piece every so often, which is slow but within the default bounds. The policy is
  the default but for `max_concurrent` and `max_seconds={hold_seconds:g}`, which no state outlasts;
- *reading* (ASGI): the same uploads, to an application that receives them. No drain is under way,
  so this is what the server's own work with the pieces costs;
- *returning* (gthread): those for whom there was no room come back, after {return_seconds:g} s on
  average.

On gunicorn with {gthread_threads} threads the capacity is {gthread_capacity}: as many drains are
held, everybody beyond is let go at once, and the other threads stay free. In the state *draining*
those who were let go stay away.

The wait of normal requests, in milliseconds, is the median over the rounds of each round's median
and 99th percentile. The ratios are those of *draining* to *connected*; in brackets are the
quartiles over the rounds. Wanted is no more than {most_ratio:g}.

{waits}

The third state, and the ratio of *draining* to it:

{extra}

The count of drains was looked at each time it rose:

{capacity}

Memory of one connection (proportional set size, KiB; median and quartiles over {memory_repeats}
new servers each), with a drain under way, and on the bare server whose application receives the
same slow upload. The difference is what drainkit adds. Wanted is less than {most_kib:g} KiB in
all.

{memory}
"""

_SOAK = """
## Soak

{made}

{minutes:g} minutes, all servers side by side, {good_clients} good and {bad_clients} bad clients
each, the policy `{policy}`.

A *good* client stays within the bounds and waits for its answer: {good_kinds}. A *bad* one is
beyond a bound or leaves: {bad_kinds}.

{answers}

"Held" is the longest that a bad client which waits was kept; *drains at once* never exceed
`max_concurrent`.

After each half minute all clients rest for some seconds, long enough for the server to close what
they left. What the server holds then is compared, after a garbage collection and with free memory
given back to the kernel (`malloc_trim`, one arena for all threads, because glibc keeps what is
free in the others, and no delay for granian's jemalloc). The first quarter of the rests warms up
and does not count; of the others the later half is compared with the earlier, "earlier → later".
Memory (proportional set size) and *blocks* (`sys.getallocatedblocks()`: Python's live memory,
without what an allocator keeps) are the median of each half, their slope is that of the later
half (Theil and Sen); of the rest the median count of each half is shown. *Objects* are the
instances of drainkit's classes that are alive. Memory *at work* is what was seen between the
rests. Wanted is that no count grows, and that the later half's median lies above the most of the
earlier half by no more than {most_memory:g} % for memory and {most_blocks:g} % for blocks.

{rests}
"""

_LINK = """
## Over a link

{made}

{minutes:g} minutes, all servers side by side, over one emulated link: a round trip of
{round_trip_ms:g} ms, {loss_percent:g} % loss each way ({lost} of {packets} packets). {uploads}
clients, {uploads_each} of each server, upload one thing after the other from {addresses} addresses,
each at {bytes_per_second} bytes a second for 10 to 25 seconds: {kinds}. Beside them
{ordinary_each} clients of each server ask for a small page again and again. The policy is the
default.

{answers}

The waits are those of the ordinary requests, each on a new connection: two round trips, if
nothing is lost. After {round_seconds:g} s no client begins anything, and all rest when nothing is
under way: once in {rest_every_seconds:.0f} s, in the median. What the servers hold then is compared
as above.

{rests}
"""

_AGAIN = """
## Again

```console
$ nox -s load
$ nox -s load -- slow-drains --servers uvicorn-httptools gunicorn-gthread
$ nox -s load -- soak --minutes 10
$ nox -s load -- link --minutes 10
```

The first runs the first two with all their servers; a link needs root. `--quick` tries everything
in a few minutes and records nothing. The exit status is 1 if a figure is not as wanted.
"""


def rendered(measured: dict[str, Any]) -> str:
    """Return the page for a record."""
    parts = [_INTRODUCTION]
    if "slow-drains" in measured:
        parts.append(_slow_drains(measured["slow-drains"]))
    if "soak" in measured:
        parts.append(_soak(measured["soak"]))
    if "link" in measured:
        parts.append(_link(measured["link"]))
    return "".join([*parts, _AGAIN])


def write() -> None:
    """Write the page from the record."""
    PAGE.write_text(rendered(record.load()), encoding="utf-8")


def waits_table(measured: dict[str, Any]) -> str:
    """Return the table of how long normal requests wait."""
    return _table(
        (
            *("server", "connected: median", "p99", "draining: median", "p99"),
            *("median ratio", "p99 ratio"),
        ),
        (
            (
                name,
                _number(server["states"]["connected"]["median_ms"]["median"]),
                _number(server["states"]["connected"]["p99_ms"]["median"]),
                _number(server["states"]["draining"]["median_ms"]["median"]),
                _number(server["states"]["draining"]["p99_ms"]["median"]),
                _spread(server["median_ratio"]),
                _spread(server["p99_ratio"]),
            )
            for name, server in measured["servers"].items()
        ),
    )


def extra_table(measured: dict[str, Any]) -> str:
    """Return the table of the third state."""
    return _table(
        ("server", "state", "median", "p99", "median ratio", "p99 ratio"),
        (
            (
                name,
                server["extra_state"],
                _number(server["states"][server["extra_state"]]["median_ms"]["median"]),
                _number(server["states"][server["extra_state"]]["p99_ms"]["median"]),
                _spread(server["extra_median_ratio"]),
                _spread(server["extra_p99_ratio"]),
            )
            for name, server in measured["servers"].items()
        ),
    )


def capacity_table(measured: dict[str, Any]) -> str:
    """Return the table of how many drains there were at once."""
    return _table(
        (
            *("server", "`max_concurrent`", "most at once", "held while measured"),
            *("let go at once", "left in the end"),
        ),
        (
            (
                name,
                server["capacity"],
                server["most_active"],
                _range(server["states"]["draining"]),
                server["outcomes"].get("AT_CAPACITY", 0),
                server["active_in_the_end"],
            )
            for name, server in measured["servers"].items()
        ),
    )


def memory_table(measured: dict[str, Any]) -> str:
    """Return the table of memory."""
    if not any("memory" in server for server in measured["servers"].values()):
        return "No ASGI server was among them."
    return _table(
        ("server", "connections", "with a drain", "received by the application", "difference"),
        (
            (
                name,
                count,
                _spread(memory["drained_kib"], 1),
                _spread(memory["read_kib"], 1),
                _spread(memory["difference_kib"], 1),
            )
            for name, server in measured["servers"].items()
            for count, memory in sorted(
                server.get("memory", {}).items(), key=lambda item: int(item[0])
            )
        ),
    )


def answers_table(measured: dict[str, Any]) -> str:
    """Return the table of what became of the clients."""
    return _table(
        ("server", "good: answered", "lost", "bad", "held at most", "drains at once"),
        (
            (
                name,
                sum(server["delivered"].values()),
                sum(server["lost"].values()),
                sum(server["bad"].values()),
                f"{server['longest_held_seconds']:.1f} s",
                server["most_active"],
            )
            for name, server in measured["servers"].items()
        ),
    )


def uploads_table(measured: dict[str, Any]) -> str:
    """Return the table of the uploads over a link, and of the ordinary requests beside them."""
    return _table(
        (
            *("server", "answered", "lost", "drains at once", "ordinary: requests"),
            *("wait, ms: median", "p99", "longest"),
        ),
        (
            (
                name,
                sum(server["delivered"].values()),
                sum(server["lost"].values()),
                server["most_active"],
                server["waits_ms"]["count"],
                *(f"{server['waits_ms'][which]:.0f}" for which in ("median", "p99", "most")),
            )
            for name, server in measured["servers"].items()
        ),
    )


def rests_table(measured: dict[str, Any]) -> str:
    """Return the table of what the servers held at rest."""
    return _table(
        (
            *("server", "rests", "memory, MiB", "growth", "KiB a minute", "at work, MiB"),
            *("blocks", "growth", "a minute"),
            *("files", "threads", "tasks", "objects"),
        ),
        (
            (
                name,
                server["rests"],
                f"{server['memory']['first_half'] / 1024:.1f} → "
                f"{server['memory']['second_half'] / 1024:.1f}",
                f"{server['memory']['growth_percent']:+.1f} %",
                f"{server['memory']['slope_per_minute']:+.0f}",
                f"{server['at_work']['memory_kib']['median'] / 1024:.1f}",
                f"{server['blocks']['first_half']:.0f} → {server['blocks']['second_half']:.0f}",
                f"{server['blocks']['growth_percent']:+.2f} %",
                f"{server['blocks']['slope_per_minute']:+.0f}",
                *(
                    _halves(server["counts"][name])
                    for name in ("descriptors", "threads", "tasks", "objects")
                ),
            )
            for name, server in measured["servers"].items()
        ),
    )


def _slow_drains(measured: dict[str, Any]) -> str:
    plan = measured["plan"]
    return _SLOW_DRAINS.format(
        **plan,
        made=_made("slow-drains", measured),
        most_ratio=record.MOST_RATIO,
        most_kib=record.MOST_KIB_A_DRAIN,
        waits=waits_table(measured),
        extra=extra_table(measured),
        capacity=capacity_table(measured),
        memory=memory_table(measured),
    )


def _soak(measured: dict[str, Any]) -> str:
    plan = measured["plan"]
    servers = measured["servers"].values()
    return _SOAK.format(
        **{
            **plan,
            "policy": ", ".join(f"{name}={value}" for name, value in plan["policy"].items()),
        },
        made=_made("soak", measured),
        most_memory=record.MOST_GROWTH_PERCENT["memory"],
        most_blocks=record.MOST_GROWTH_PERCENT["blocks"],
        good_kinds="; ".join(sorted({name for one in servers for name in one["delivered"]})),
        bad_kinds="; ".join(sorted({name for one in servers for name in one["bad"]})),
        answers=answers_table(measured),
        rests=rests_table(measured),
    )


def _link(measured: dict[str, Any]) -> str:
    plan = measured["plan"]
    link = plan["link"]
    kinds = sorted({name for one in measured["servers"].values() for name in one["delivered"]})
    return _LINK.format(
        **plan,
        made=_made("link", measured),
        round_trip_ms=1000 * link["round_trip_seconds"],
        loss_percent=100 * link["loss"],
        lost=plan["packets_lost"],
        packets=plan["packets_sent"],
        uploads_each=plan["uploads"] // len(measured["servers"]),
        rest_every_seconds=_rest_every_seconds(measured),
        kinds="; ".join(name for name in kinds if not name.startswith("an ordinary")),
        answers=uploads_table(measured),
        rests=rests_table(measured),
    )


def _rest_every_seconds(measured: dict[str, Any]) -> float:
    """Return the median time from one rest to the next, or to the first one."""
    return statistics.median(
        later - earlier
        for server in measured["servers"].values()
        for earlier, later in itertools.pairwise(
            [0.0, *(rest["seconds"] for rest in server["at_rest"])]
        )
    )


def _made(section: str, measured: dict[str, Any]) -> str:
    made = measured["made"]
    machine = made["machine"]
    where = "over an emulated link" if section == "link" else "loopback"
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    if commit := made.get("commit"):
        versions += f"; drainkit's commit {commit}"
    lines = [
        f"Measured on {made['date']} with `{made['command']}`, on {machine['cores']} cores of "
        f"{machine['cpu']}, {machine['kernel']}, {where}; {versions}."
    ]
    if made["quick"]:
        lines.append(
            "**This was a quick run, to see that everything works: do not rely on its figures.**"
        )
    if found := record.misses(section, measured):
        lines.append("Not as wanted: " + "; ".join(found) + ".")
    return "\n\n".join(lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _number(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}"


def _spread(spread: dict[str, float], digits: int = 2) -> str:
    middle, first, third = (
        _number(spread[name], digits) for name in ("median", "first_quartile", "third_quartile")
    )
    return f"{middle} ({first} to {third})"


def _range(state: dict[str, int]) -> str:
    least, most = state["least_held"], state["most_held"]
    return str(least) if least == most else f"{least} to {most}"


def _halves(halves: dict[str, Any]) -> str:
    if halves["first_half"] is None:
        return "-"
    return f"{halves['first_half']} → {halves['second_half']}"
