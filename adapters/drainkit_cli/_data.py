"""An observation as plain data, for ``--json``: the names and units that the documentation states.

Rule: a field is added, never renamed; a unit stands in its name.
"""

from __future__ import annotations

import platform
from typing import Any

from drainkit_probe import VERSION, words

from ._experiment import STATUS, Observation, Try


def as_data(observation: Observation) -> dict[str, Any]:
    """Return an observation as JSON's types."""
    return {
        "drainkit": VERSION,
        "python": platform.python_version(),
        "server": observation.setting.server,
        "proxy": observation.setting.proxy,
        "versions": dict(observation.setting.versions),
        "proxy_errors": dict(observation.proxy_errors),
        "expected_status": STATUS,
        "size_bytes": observation.size_bytes,
        "observed": observation.convincing,
        "without_drainkit": _half(observation.without),
        "with_drainkit": _half(observation.drained),
    }


def _half(tries: tuple[Try, ...]) -> dict[str, Any]:
    arrived = sum(one.arrived for one in tries)
    return {
        "arrived": arrived,
        "lost": len(tries) - arrived,
        "tries": [_try(one) for one in tries],
    }


def _try(one: Try) -> dict[str, Any]:
    answer = one.answer
    data: dict[str, Any] = {
        "arrived": one.arrived,
        "status": answer.status,
        "error": answer.error,
        "sent_bytes": answer.sent_bytes,
        "first_byte_seconds": words.rounded(answer.first_byte_seconds),
        "seconds": words.rounded(answer.seconds),
        "drain": None,
    }
    if one.report is not None:
        data["drain"] = {
            "outcome": one.report.outcome.value,
            "discarded_bytes": one.report.bytes_discarded,
            "seconds": words.rounded(one.report.seconds),
        }
    return data
