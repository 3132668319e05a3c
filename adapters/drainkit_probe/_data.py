"""A run as plain data, for ``--json``: what ``probe.schema.json`` describes.

Rule: a field is added, never renamed; a unit stands in its name; nothing secret is in it.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
import re
from typing import Any

from drainkit_clients import Answer

from . import words
from ._came import came
from ._compare import Comparison
from ._fates import Fate, seen
from ._place import server_shown
from ._report import Report
from ._run import Attempt
from ._version import FORMAT, VERSION


def schema() -> dict[str, Any]:
    """Return the JSON schema of `as_data`."""
    file = importlib.resources.files(__package__ or "drainkit_probe") / "probe.schema.json"
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


def as_data(report: Report, *, verbose: bool = False) -> dict[str, Any]:
    """Return a report as JSON's types; `schema` describes them.

    Args:
        report: The report.
        verbose: With what came back: status lines, headers, and how bodies begin.
    """
    data = _as_data(report)
    if verbose:
        data["came"] = [
            {**dataclasses.asdict(one), "fate": one.fate.value} for one in came(report.run)
        ]
    return data


def _as_data(report: Report) -> dict[str, Any]:
    run, verdict = report.run, report.verdict
    plan, preflight = run.plan, run.preflight
    return {
        "drainkit": VERSION,
        "format": FORMAT,
        "began": run.began.isoformat(timespec="seconds"),
        "target": {
            "url": run.target.shown,
            "address": preflight.address if preflight is not None else None,
            "server": server_shown(run),
            "tls": run.target.scheme == "https",
        },
        "plan": {
            "method": plan.method,
            "clients": [client.name for client in plan.clients],
            "ways": [way.name for way in plan.ways],
            "sizes_bytes": list(plan.sizes),
            "tries": plan.tries,
            "uploads": plan.uploads,
            "total_bytes": plan.total_bytes,
            "timeout_seconds": plan.timeout_seconds,
            "rate_bytes_per_second": plan.rate_bytes_per_second,
            "body": plan.body_words,
            "header_names": [name for name, _ in plan.headers],
        },
        "preflight": None
        if preflight is None
        else {
            "status": preflight.answer.status,
            "seconds": words.rounded(preflight.answer.seconds),
            "offers_http2": preflight.offers_http2,
        },
        "uploads": [_upload(attempt, fate) for attempt, fate in seen(run)],
        "verdict": {
            "kind": verdict.kind.value,
            "exit_status": verdict.kind.exit_status,
            "sentence": verdict.sentence,
            "place": verdict.place,
            "cures": [
                {"world": cure.world, "install": cure.install, "lines": list(cure.lines)}
                for cure in verdict.cures
            ],
            "notes": list(verdict.notes),
            "reason": verdict.reason,
        },
        "comparison": None if report.comparison is None else _comparison(report.comparison),
        "interrupted": report.interrupted,
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    began = comparison.began
    return {
        "change": comparison.change.value,
        "exit_status": comparison.exit_status,
        "sentence": comparison.sentence,
        "began": None if began is None else began.isoformat(timespec="seconds"),
        "before": {"lost": comparison.before.lost, "tried": comparison.before.tried},
        "now": {"lost": comparison.now.lost, "tried": comparison.now.tried},
        "rows": [
            {
                "way": row.way,
                "client": row.client,
                "before": {"lost": row.before.lost, "tried": row.before.tried},
                "now": {"lost": row.now.lost, "tried": row.now.tried},
                "change": row.change.value,
            }
            for row in comparison.rows
        ],
        "notes": list(comparison.notes),
    }


def _error_shown(answer: Answer) -> str | None:
    """Return what went wrong, without what the other side sent: it may be our own secrets."""
    if answer.error is None:
        return None
    return answer.error if answer.malformed is None else f"malformed: {answer.malformed}"


def error_words(answer: Answer) -> str | None:
    """Return what went wrong for people, who read beside it how much was sent; None if nothing."""
    error = _error_shown(answer)
    return None if error is None else re.sub(r" after [0-9]+ bytes?$", "", error)


def _upload(attempt: Attempt, fate: Fate) -> dict[str, Any]:
    answer = attempt.answer
    return {
        "client": attempt.cell.client.name,
        "way": attempt.cell.way.name,
        "size_bytes": attempt.cell.size_bytes,
        "try": attempt.number,
        "fate": fate.value,
        "status": answer.status,
        "complete": answer.complete,
        "noticed_seconds": words.rounded(answer.noticed_seconds),
        "sent_at_noticed_bytes": answer.sent_at_noticed_bytes,
        "first_byte_seconds": words.rounded(answer.first_byte_seconds),
        "sent_at_first_byte_bytes": answer.sent_at_first_byte_bytes,
        "sent_bytes": answer.sent_bytes,
        "seconds": words.rounded(answer.seconds),
        "ended": attempt.end,
        "connection": attempt.reuse.value,
        "error": _error_shown(answer),
    }
