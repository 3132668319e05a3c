"""The record of the measurements, ``docs/load.json``, and what is asked of its figures."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "docs" / "load.json"

# With drains held, normal requests may wait so many times as long as with clients merely connected.
MOST_RATIO = 1.2
MOST_KIB_A_DRAIN = 64.0
# How far the later half's median may lie above the most of the earlier half, which is what the
# server's own allocator moves without a leak. The shares are arbitrary; Python's live blocks are
# exact, and one block leaked in two requests would be more.
MOST_GROWTH_PERCENT = {"memory": 2.0, "blocks": 0.5}


def load(path: Path = RECORD) -> dict[str, Any]:
    """Return the record; an empty one if nothing has been measured."""
    if not path.exists():
        return {}
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def save(section: str, measured: dict[str, Any], path: Path = RECORD) -> None:
    """Put a measurement into the record, in place of the one before."""
    text = json.dumps({**load(path), section: measured}, indent=1, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def misses(section: str, measured: dict[str, Any]) -> list[str]:
    """Return what these figures do not keep, a line each."""
    of = {"slow-drains": _slow_drains, "soak": _soak, "link": _soak}[section]
    return [
        f"{name}: {miss}"
        for name, server in measured["servers"].items()
        for miss in of(measured["plan"], server)
    ]


def _slow_drains(plan: dict[str, Any], server: dict[str, Any]) -> list[str]:
    found = []
    for name in ("median", "p99"):
        ratio = server[f"{name}_ratio"]["median"]
        if ratio > MOST_RATIO:
            found.append(f"the {name} wait is {ratio:.2f} times as long, not {MOST_RATIO}")
    held = min(plan["clients"], server["capacity"])
    draining = server["states"]["draining"]
    if (draining["least_held"], draining["most_held"]) != (held, held):
        found.append(
            f"{draining['least_held']} to {draining['most_held']} drains were held, not {held}"
        )
    if server["most_active"] > server["capacity"]:
        found.append(f"{server['most_active']} drains at once, capacity {server['capacity']}")
    if server["active_in_the_end"]:
        found.append(f"{server['active_in_the_end']} places were not given back")
    for count, memory in server.get("memory", {}).items():
        kib = memory["drained_kib"]["median"]
        if kib > MOST_KIB_A_DRAIN:
            found.append(f"{kib:.0f} KiB a drain with {count}, not {MOST_KIB_A_DRAIN:.0f}")
    return found


def _soak(plan: dict[str, Any], server: dict[str, Any]) -> list[str]:
    found = []
    if lost := sum(server["lost"].values()):
        found.append(f"{lost} answers lost: {server['problems'][:3]}")
    if server["held_too_long"]:
        found.append(f"{server['held_too_long']} held over {plan['most_held_seconds']} s")
    for name, most in MOST_GROWTH_PERCENT.items():
        before, after = server[name]["first_half_most"], server[name]["second_half"]
        if after > before * (1 + most / 100):
            found.append(f"{name} grew from at most {before:.0f} to {after:.0f}")
    for name, halves in server["counts"].items():
        before, after = halves["first_half"], halves["second_half"]
        if before is not None and after > before:
            found.append(f"{name} grew from {before} to {after}")
    return found
