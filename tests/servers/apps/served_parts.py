"""What the WSGI and the ASGI application have in common."""

import dataclasses
import enum
import json
import os
from typing import Any

from drainkit_conformance import page, page_pieces

__all__ = [
    "PIECE_BYTES",
    "READY",
    "TOO_LARGE",
    "keep_report",
    "page",
    "page_pieces",
    "policy_fields",
]

PIECE_BYTES = 65536
TOO_LARGE = b"too large\n"
# The token tells this server from a stranger that was quicker to take the port.
READY = b"ready " + os.environ.get("DRAINKIT_TEST_TOKEN", "").encode()


def policy_fields() -> dict[str, Any]:
    """Return the policy's fields that the test asked for."""
    fields: dict[str, Any] = json.loads(os.environ.get("DRAINKIT_TEST_POLICY") or "{}")
    return fields


def keep_report(report: Any) -> None:
    """Append a report to the test's file, as one JSON line."""
    path = os.environ.get("DRAINKIT_TEST_REPORTS")
    if not path:
        return
    fields = {field.name: getattr(report, field.name) for field in dataclasses.fields(report)}
    line = json.dumps(
        {
            name: value.name if isinstance(value, enum.Enum) else value
            for name, value in fields.items()
        }
    )
    # One write in append mode: lines of several threads and workers do not mix.
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")
