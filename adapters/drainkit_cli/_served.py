"""The demonstration's application for a server in a process of its own: bare, and with drainkit.

Rule: a report of drainkit's is a line in the file that `REPORTS_VARIABLE` names, once it is made.
"""

from __future__ import annotations

import dataclasses
import json
import os

from drainkit import DrainReport
from drainkit_wsgi import DrainMiddleware

from ._experiment import answering_early

REPORTS_VARIABLE = "DRAINKIT_DEMO_REPORTS"


def _note(report: DrainReport) -> None:
    with open(os.environ[REPORTS_VARIABLE], "a", encoding="utf-8") as file:
        file.write(
            json.dumps({**dataclasses.asdict(report), "outcome": report.outcome.value}) + "\n"
        )


bare = answering_early
drained = DrainMiddleware(answering_early, on_report=_note)
