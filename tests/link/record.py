"""The record of the uploads over each link, ``docs/links.json``, a line a row."""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "docs" / "links.json"


def load(path: Path = RECORD) -> dict[str, Any]:
    """Return the record; an empty one if nothing has been measured."""
    if not path.exists():
        return {}
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def text(record: dict[str, Any]) -> str:
    """Return a record as it is written."""
    shown = json.dumps(record, indent=1, ensure_ascii=False)
    return re.sub(r"\{\n\s+(\"link\"[^{}]*?)\s+\}", _joined, shown) + "\n"


def _joined(found: re.Match[str]) -> str:
    return "{" + re.sub(r",\n\s*", ", ", found[1]) + "}"
