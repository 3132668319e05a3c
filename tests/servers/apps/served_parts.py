"""What the WSGI and the ASGI application have in common."""

import dataclasses
import enum
import json
import os
from collections.abc import Iterator
from typing import Any

PIECE_BYTES = 65536
PAGE_BYTES = 4 * 1024 * 1024
TOO_LARGE = b"too large\n"
# The token tells this server from a stranger that was quicker to take the port.
READY = b"ready " + os.environ.get("DRAINKIT_TEST_TOKEN", "").encode()


def page() -> bytes:
    """Return a page of 4 MiB in one piece."""
    return b"".join(page_pieces())


def page_pieces() -> Iterator[bytes]:
    """Yield the same page in pieces of 64 KiB, each of a letter of its own."""
    for index in range(PAGE_BYTES // PIECE_BYTES):
        yield bytes([ord("a") + index % 26]) * PIECE_BYTES


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
