"""What a deployment does to early answers: uploads to it, and says which of them get lost.

For a pipeline, two calls and a report as data or as a page::

    from drainkit_probe import Kind, as_data, as_html, probe

    report = probe("http://127.0.0.1:8000/upload")
    assert report.verdict.kind is Kind.DELIVERED, report.verdict.sentence

- `probe` uploads what a `Plan` says, one connection at a time, and returns a `Report`: the `Run`
  with each `Attempt`, and the `Verdict`. ``kind`` is for programs, ``sentence`` for people.
- `as_data` makes JSON's types of a report, which `schema` describes; `as_html` makes one page.
- `Earlier` is a run read from an older report; with it `probe` and `conclude` say what has changed
  since: a `Comparison`, better, same or worse, as far as the tries tell that from chance.
- `came` has what came back: status lines, headers, and how bodies begin, without secrets.
- A `Run` a step at a time is for those who have something to say or to ask in between, as the
  command ``drainkit probe`` does: `Run.resolve`, `Run.look`, `Run.upload`, then `conclude`.
  The sentences name the options of that command: ``--timeout`` is ``Plan.timeout_seconds``.
- `seen`, `cells`, `rows`, `pair`, `picture` and `words` are what reports of your own are made of.

Standard library and `drainkit_clients` only: nothing of drainkit is imported, and what is probed
need not know of it.
"""

from . import words
from ._came import Came, came
from ._compare import Change, Comparison, Row, check_comparable, compare
from ._credentials import bearer_header, cookie_header
from ._data import as_data, error_words, schema
from ._earlier import BadReportError, Earlier, Share, Spot
from ._fates import Fate, Pair, cells, pair, rows, seen
from ._html import as_html
from ._picture import ENDS, Picture, picture
from ._plan import (
    CLIENTS,
    DEFAULT_MAX_TOTAL_BYTES,
    DEFAULT_SIZES,
    DEFAULT_TIMEOUT_SECONDS,
    DEFAULT_TRIES,
    DEFAULT_WAYS,
    WAYS,
    Cell,
    Client,
    ClientName,
    Plan,
    Way,
    WayName,
    http2_is_missing,
    uploads_with,
)
from ._report import Report, conclude, probe
from ._run import Attempt, End, Preflight, Reuse, Run
from ._stacks import Cure
from ._target import BadTargetError, Family, NotTestedError, Target, is_loopback, parse_header
from ._verdict import Kind, Verdict
from ._version import VERSION

__all__ = [
    "CLIENTS",
    "DEFAULT_MAX_TOTAL_BYTES",
    "DEFAULT_SIZES",
    "DEFAULT_TIMEOUT_SECONDS",
    "DEFAULT_TRIES",
    "DEFAULT_WAYS",
    "ENDS",
    "VERSION",
    "WAYS",
    "Attempt",
    "BadReportError",
    "BadTargetError",
    "Came",
    "Cell",
    "Change",
    "Client",
    "ClientName",
    "Comparison",
    "Cure",
    "Earlier",
    "End",
    "Family",
    "Fate",
    "Kind",
    "NotTestedError",
    "Pair",
    "Picture",
    "Plan",
    "Preflight",
    "Report",
    "Reuse",
    "Row",
    "Run",
    "Share",
    "Spot",
    "Target",
    "Verdict",
    "Way",
    "WayName",
    "as_data",
    "as_html",
    "bearer_header",
    "came",
    "cells",
    "check_comparable",
    "compare",
    "conclude",
    "cookie_header",
    "error_words",
    "http2_is_missing",
    "is_loopback",
    "pair",
    "parse_header",
    "picture",
    "probe",
    "rows",
    "schema",
    "seen",
    "uploads_with",
    "words",
]
