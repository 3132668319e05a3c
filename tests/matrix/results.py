"""The matrix as JSON: ``docs/matrix.json``, a line a cell, and how a run gets into it."""

import importlib.metadata
import json
import os
import platform
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.clients import browser
from tests.clients.clients import CLIENTS
from tests.link.emulated import emulated
from tests.link.links import Link
from tests.link.namespace import congestion_control
from tests.matrix import plan
from tests.matrix.deployments import DEPLOYMENTS, program_version
from tests.matrix.run import Unit, is_whole

ROOT = Path(__file__).resolve().parents[2]
JSON_PATH = ROOT / "docs" / "matrix.json"


def link_path(link: str) -> Path:
    """Return where the matrix over a link stands."""
    return JSON_PATH.with_name(f"matrix-link-{link}.json")


Matrix = dict[str, Any]
WITH, WITHOUT = "with", "without"
# What a cell has the least, the median and the greatest of, or None.
_SPREADS = ("first_byte_seconds", "seconds", "uploaded_bytes", "taken_bytes")


def load(path: Path) -> Matrix:
    """Return a matrix; one without a deployment where there is no file."""
    if not path.exists():
        return {"deployments": {}}
    matrix: Matrix = json.loads(path.read_text(encoding="utf-8"))
    return matrix


def lost(matrix: Matrix) -> set[tuple[str, str, str]]:
    """Return the cells that are not whole with drainkit: deployment, client and case."""
    return {
        (name, client, case)
        for name, row in matrix["deployments"].items()
        for client, cells in row.get(WITH, {}).get("clients", {}).items()
        for case, cell in cells.items()
        if not is_whole(cell)
    }


def added(before: dict[str, Any] | None, after: dict[str, Any]) -> dict[str, Any]:
    """Return a cell with the tries that it had, if any, and those that it had later.

    Of times and sizes the least and the greatest are of all tries, and the one in the middle is of
    the later ones.
    """
    if before is None:
        return after
    problems = Counter(before["instead"]) + Counter(after["instead"])
    return {
        **after,
        "tries": before["tries"] + after["tries"],
        "delivered": before["delivered"] + after["delivered"],
        "instead": dict(problems.most_common()),
        **{key: _widened(before.get(key), after.get(key)) for key in _SPREADS},
    }


def _widened(before: list[float] | None, after: list[float] | None) -> list[float] | None:
    if before is None or after is None:
        return after or before
    return [min(before[0], after[0]), after[1], max(before[2], after[2])]


def merged(
    matrix: Matrix,
    done: Iterable[tuple[Unit, dict[str, Any]]],
    *,
    command: str,
    tries: int,
    link: Link | None = None,
    again: bool = False,
) -> Matrix:
    """Return a matrix with what a run has measured in the place of what stood there.

    A deployment that was measured with other clients or cases keeps those cells: each half of a
    deployment tells when it was measured last.

    Args:
        matrix: What stood there.
        done: What came of each unit.
        command: What repeats the run.
        tries: How often each cell was tried, at most.
        link: What lay between; None for nothing.
        again: Whether the tries are added to those of the cells that stood there; *command* and
            *tries* stay, too.
    """
    deployments: dict[str, Any] = dict(matrix["deployments"])
    for unit, told in done:
        row = dict(deployments.get(unit.deployment.name, {}))
        half = WITH if unit.wrap else WITHOUT
        before = row.get(half, {}).get("clients", {})
        new = told["clients"]
        if again:
            new = {
                name: {
                    case: added(before.get(name, {}).get(case), cell)
                    for case, cell in cells.items()
                }
                for name, cells in new.items()
            }
        clients = {
            name: {**before.get(name, {}), **new.get(name, {})}
            for name in CLIENTS
            if name in before or name in new
        }
        row["versions"] = unit.deployment.versions()
        row[half] = {**told, "clients": clients}
        deployments[unit.deployment.name] = row
    if again:
        command, tries = matrix["command"], matrix["tries"]
    return {
        "command": command,
        **({} if link is None else {"link": _described(link)}),
        "tries": tries,
        "platform": machine(),
        "versions": _versions(),
        "clients": plan.described(None if link is None else link.name),
        # Rows that are no longer planned go; the others stand in the plan's order.
        "deployments": {name: deployments[name] for name in DEPLOYMENTS if name in deployments},
    }


def _described(link: Link) -> dict[str, Any]:
    with emulated(link) as there, there.client.entered():
        return {**asdict(link), "congestion_control": congestion_control()}


def text(matrix: Matrix) -> str:
    """Return a matrix as JSON, a line a cell: a new run is then read as a diff."""
    shown = json.dumps(matrix, indent=1, ensure_ascii=False)
    # Only what holds no object itself: a cell's lists and its problems.
    shown = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", _joined, shown)
    shown = re.sub(r"\{\s+([^{}]*?)\s+\}", _joined, shown)
    return re.sub(r"\{\s+(\"tries\"[^{}]*\{[^{}]*\}[^{}]*?)\s+\}", _joined, shown) + "\n"


def _joined(found: re.Match[str]) -> str:
    opening, closing = found[0][0], found[0][-1]
    return opening + re.sub(r",\n\s*", ", ", found[1]) + closing


def machine() -> dict[str, Any]:
    """Return what a run was made on."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "machine": model[1].strip() if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
    }


def _versions() -> dict[str, str]:
    """Return the versions of drainkit, Python and the clients."""
    modules = sorted({"drainkit", *(name for row in CLIENTS.values() for name in row.requires)})
    found = {"Python": platform.python_version()}
    for name in modules:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    programs = {"chromium": browser.chromium(), "curl": "curl", "node": "node"}
    for name, program in programs.items():
        if program and (version := program_version(program)):
            found[name] = version
    return found
