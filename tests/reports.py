"""A report of a drain, for tests of what is told of one."""

import dataclasses
from typing import Any

from drainkit import DrainReport, Outcome

REPORT = DrainReport(
    outcome=Outcome.IDLE,
    bytes_discarded=3_000_000,
    bytes_read=5,
    declared_bytes=9_000_000,
    seconds=5.125,
    protocol="HTTP/1.1",
    server="gunicorn",
    method="POST",
    path="/upload",
    status=413,
)


def changed(**fields: Any) -> DrainReport:
    """Return the report with other values in these fields."""
    return dataclasses.replace(REPORT, **fields)
