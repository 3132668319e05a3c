"""What metrics and spans say of a report: names, units and attributes, the same in every library.

The names are those of the OpenTelemetry semantic conventions where these have one; what is
drainkit's own begins with ``drainkit.``. Where a library allows no dots, they become underscores
(`prometheus_name`), so that the same queries fit.

Rule: no client can make a new time series. Every attribute has a bounded set of values, and none
comes from the path, the query or a header.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from ._report import DrainReport, Outcome

Attributes: TypeAlias = dict[str, str | int]
"""Attributes by name. What is not known is left out."""

OTHER = "_OTHER"
"""Stands for every method that is not known, as the semantic conventions say."""

KNOWN_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)
"""The methods that the semantic conventions know: RFC 9110, RFC 5789 and QUERY."""

MAY_LOSE_ANSWER = frozenset(
    {
        Outcome.BYTE_LIMIT,
        Outcome.TIME_LIMIT,
        Outcome.IDLE,
        Outcome.TOO_SLOW,
        Outcome.AT_CAPACITY,
        Outcome.UNFRAMED,
        Outcome.ERROR,
    }
)
"""The outcomes that leave a client sending, which may so lose its answer: ``error.type``.

Behind the others nothing is on its way (`COMPLETE`, `EXPECT_PENDING`), nobody is there to lose
anything (`DISCONNECTED`), or somebody wanted it so (`DECLINED`).
"""

_VERSIONS = {
    "HTTP/1.0": "1.0",
    "HTTP/1.1": "1.1",
    "HTTP/2": "2",
    "HTTP/2.0": "2",
    "HTTP/3": "3",
    "HTTP/3.0": "3",
}


@dataclass(frozen=True, slots=True)
class Instrument:
    """A metric.

    Attributes:
        name: Its name, with dots.
        unit: Its unit, as UCUM writes it.
        description: What it counts or measures.
        boundaries: The upper bounds of a histogram's buckets, in that unit; empty for a counter.
    """

    name: str
    unit: str
    description: str
    boundaries: tuple[float, ...] = ()


DRAINS = Instrument("drainkit.drains", "{drain}", "Drains that have ended.")
"""A counter, with `outcome_attributes` and `request_attributes`."""

DURATION = Instrument(
    "drainkit.drain.duration",
    "s",
    "How long drains took.",
    # Those of http.server.request.duration, but fewer below a second, and as far as a drain may
    # last by default: 20 s where it holds a thread, 300 s where it holds a task.
    (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0),
)
"""A histogram, with `outcome_attributes`."""

SIZE = Instrument(
    "drainkit.drain.size",
    "By",
    "Body bytes that a drain discarded.",
    (
        0.0,
        float(1 << 10),
        float(16 << 10),
        float(64 << 10),
        float(256 << 10),
        float(1 << 20),
        float(4 << 20),
        float(16 << 20),
        float(64 << 20),
        float(256 << 20),
        float(1 << 30),
    ),
)
"""A histogram, with `outcome_attributes`."""

SPAN_NAME = "drainkit.drain"
"""The name of the span that a drain may be told as."""


def methods_of(known_methods: Iterable[str] | None) -> frozenset[str]:
    """Return the methods that are told as they are.

    Args:
        known_methods: Methods such as ``["GET", "PROPFIND"]``. ``None`` means `KNOWN_METHODS`.

    Raises:
        TypeError: It is one text, or holds something else than texts.
    """
    if known_methods is None:
        return KNOWN_METHODS
    if isinstance(known_methods, (str, bytes)) or not isinstance(known_methods, Iterable):
        raise TypeError(
            f"known_methods must be methods in a list, such as ['GET', 'POST'], or None; got "
            f"{known_methods!r}"
        )
    methods = frozenset(known_methods)
    for method in methods:
        if not isinstance(method, str):
            raise TypeError(f"known_methods must hold texts, such as 'GET'; got {method!r}")
    return methods


def outcome_attributes(report: DrainReport) -> Attributes:
    """Return how a drain ended.

    Returns:
        ``drainkit.drain.outcome``, the `Outcome.label`; and the same as ``error.type`` where the
        client may have lost its answer (`MAY_LOSE_ANSWER`).
    """
    outcome = report.outcome
    attributes: Attributes = {"drainkit.drain.outcome": outcome.label}
    if outcome in MAY_LOSE_ANSWER:
        attributes["error.type"] = outcome.label
    return attributes


def request_attributes(
    report: DrainReport, known_methods: Iterable[str] = KNOWN_METHODS
) -> Attributes:
    """Return what a request and its answer were.

    Args:
        report: The report.
        known_methods: The methods that are told as they are; every other is `OTHER`.

    Returns:
        ``http.request.method``; ``http.response.status_code``, an integer, if one was seen;
        ``network.protocol.version`` (``"1.1"``, ``"2"``), if it is one that exists.
    """
    method = report.method
    attributes: Attributes = {"http.request.method": method if method in known_methods else OTHER}
    if report.status is not None:
        attributes["http.response.status_code"] = report.status
    version = _VERSIONS.get(report.protocol)
    if version is not None:
        attributes["network.protocol.version"] = version
    return attributes


OUTCOME_NAMES = ("drainkit.drain.outcome", "error.type")
"""The names that `outcome_attributes` may have."""

REQUEST_NAMES = (
    "http.request.method",
    "http.response.status_code",
    "network.protocol.version",
)
"""The names that `request_attributes` may have."""


def prometheus_name(name: str) -> str:
    """Return a name as Prometheus has it: underscores for dots."""
    return name.replace(".", "_")
