"""Measure every attack on every server.

``python -m tests.attacks.measure [--tries 3] [--json FILE] [SERVER ...]`` prints a line for each
attack, and writes all figures with what they were measured on. ``--table FILE`` prints, of such a
file, the tables of ``docs/explanation/limits.md`` instead.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from tests.attacks.attacks import ATTACKS, MIB, POLICY
from tests.attacks.expected import AT_ONCE, AT_ONCE_ELSEWHERE, applies, gap, must_be_alone
from tests.attacks.runner import (
    ATTACKED_ASGI,
    ATTACKED_WSGI,
    WATCH_SECONDS,
    Figures,
    attacked,
    roomy,
)
from tests.servers.harness import running

_PACKAGES = (
    *("gunicorn", "gevent", "werkzeug", "cheroot", "granian"),
    *("uvicorn", "h11", "httptools", "hypercorn", "trio"),
)


def _ended(number: int, frame: FrameType | None) -> None:
    # As an exception, so that the server is stopped too.
    raise SystemExit(128 + number)


def _line(row: Figures) -> str:
    def seconds(value: float | None) -> str:
        return "   -  " if value is None else f"{value:6.2f}"

    held = seconds(row.held_seconds) if row.was_let_go else f">{row.held_seconds:5.2f}"
    return (
        f"{row.server:18} {row.attack:20} {row.outcome or '-':14} held={held} "
        f"ended={row.ended}@{row.ended_seconds:.2f} drain={seconds(row.drain_seconds)} "
        f"sent={row.sent_bytes} arrived={row.arrived_bytes} discarded={row.discarded_bytes} "
        f"memory={row.memory_bytes // 1024}K beside={seconds(row.beside_seconds)} "
        f"{','.join(map(str, row.statuses))}{' SMUGGLED' if row.smuggled else ''}"
    )


def _machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "policy": POLICY,
    }


def _measured(options: argparse.Namespace) -> Iterator[Figures]:
    for name in options.servers or (*ATTACKED_WSGI, *ATTACKED_ASGI):
        chosen = [ATTACKS[attack] for attack in options.attack or ATTACKS]
        attacks = [attack for attack in chosen if applies(name, attack)]
        with running(roomy(name), wrap=not options.bare, policy=POLICY) as server:
            for _ in range(options.tries):
                yield from attacked(
                    server,
                    attacks,
                    at_once=options.at_once or AT_ONCE.get(name, AT_ONCE_ELSEWHERE),
                    is_alone=lambda attack, name=name: must_be_alone(name, attack),
                    watch_seconds=options.watch,
                )
            if options.log:
                print(server.log(20000))


def _range(rows: list[dict[str, Any]], key: str, digits: int = 1, scale: float = 1.0) -> str:
    values = sorted(row[key] / scale for row in rows)
    low, high = f"{values[0]:.{digits}f}", f"{values[-1]:.{digits}f}"
    return low if low == high else f"{low} to {high}"


def _held(rows: list[dict[str, Any]]) -> str:
    """Return the holds; one that did not end while it was watched is not one figure."""
    if all(row["was_let_go"] for row in rows):
        return f"{_range(rows, 'held_seconds')} s"
    return f"over {min(row['held_seconds'] for row in rows if not row['was_let_go']):.0f} s"


def _tables(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the Markdown: the worst of each server where the bounds hold, then the gaps."""
    servers = list(dict.fromkeys(row["server"] for row in rows))
    yield "| server | longest hold | memory | slowest ordinary request beside it |"
    yield "|---|---|---|---|"
    for server in servers:
        good = [
            row
            for row in rows
            if row["server"] == server
            and not (gap(server, row["attack"]).always or gap(server, row["attack"]).sometimes)
        ]
        worst = max(good, key=lambda row: row["held_seconds"])
        yield (
            f"| {server} | {worst['held_seconds']:.2f} s ({worst['attack']}) "
            f"| {max(row['memory_bytes'] for row in good) / MIB:.0f} MiB "
            f"| {max(row['beside_seconds'] or 0 for row in good):.2f} s |"
        )
    yield ""
    yield "| server | attacks | held | slowest ordinary request beside it | why |"
    yield "|---|---|---|---|---|"
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        known = gap(row["server"], row["attack"])
        if known.why:
            server = "every one" if known is gap("", row["attack"]) else row["server"]
            groups.setdefault((server, known.why), []).append(row)
    for (server, why), ours in groups.items():
        attacks = ", ".join(dict.fromkeys(row["attack"] for row in ours))
        waited = any(row["beside_seconds"] is None for row in ours)
        beside = "none" if waited else f"{_range(ours, 'beside_seconds')} s"
        yield f"| {server} | {attacks} | {_held(ours)} | {beside} | {why} |"


def main() -> int:
    """Measure, or print the tables of what was measured."""
    signal.signal(signal.SIGTERM, _ended)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers", nargs="*", metavar="SERVER")
    parser.add_argument("--attack", action="append", choices=list(ATTACKS))
    parser.add_argument("--tries", type=int, default=1)
    parser.add_argument(
        "--at-once", type=int, help="attacks at once; 1 gives each its own memory figure"
    )
    parser.add_argument("--watch", type=float, default=WATCH_SECONDS, metavar="SECONDS")
    parser.add_argument("--bare", action="store_true", help="without drainkit")
    parser.add_argument("--log", action="store_true", help="print the server's log")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--table", type=Path, nargs="+", metavar="FILE")
    options = parser.parse_args()
    if options.table:
        rows = [row for file in options.table for row in json.loads(file.read_text())["rows"]]
        print(*_tables(rows), sep="\n")
        return 0
    rows = []
    for row in _measured(options):
        print(_line(row), flush=True)
        rows.append(dataclasses.asdict(row))
    if options.json:
        command = shlex.join(["python", "-m", "tests.attacks.measure", *sys.argv[1:]])
        found = {"command": command, **_machine(), "rows": rows}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
