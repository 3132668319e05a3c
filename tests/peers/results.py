"""What was measured, as data: ``docs/peers.json``."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.peers.environment import ROOT

JSON_PATH = ROOT / "docs" / "peers.json"

Results = dict[str, Any]


def load(path: Path) -> Results:
    """Return what stands in a file; nothing where there is none."""
    if not path.exists():
        return {"suites": {}, "skipped": {}}
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def text(results: Results) -> str:
    """Return a file's content: a run is a line."""
    return _written(results, 0) + "\n"


def _written(value: Any, depth: int) -> str:
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or (depth > 2 and len(line) < 2000):
        return line
    space = " " * (depth + 1)
    if isinstance(value, dict):
        parts = [f"{json.dumps(name)}: {_written(one, depth + 1)}" for name, one in value.items()]
    else:
        parts = [_written(one, depth + 1) for one in value]
    left, right = "{}" if isinstance(value, dict) else "[]"
    return f"{left}\n{space}" + f",\n{space}".join(parts) + f"\n{' ' * depth}{right}"


def merged(
    old: Results,
    suites: Mapping[str, Any],
    skipped: Mapping[str, str],
    begun: Mapping[str, Any],
    *,
    order: list[str],
) -> Results:
    """Return what stood there, with each suite that was measured or skipped in its place.

    Args:
        old: What stood there.
        suites: What was measured.
        skipped: Why a suite was skipped.
        begun: What was measured in part: it stands where there is nothing of the suite yet.
        order: The names of the suites.
    """
    some = {name: suite for name, suite in begun.items() if suite["runs"]}
    both = {**some, **old["suites"], **suites}
    why = {**old["skipped"], **skipped}
    return {
        "suites": {name: both[name] for name in order if name in both},
        # What was measured once stays, although it cannot be had today.
        "skipped": {name: why[name] for name in order if name in why and name not in both},
    }


def today() -> str:
    """Return the date."""
    return datetime.now(UTC).date().isoformat()
