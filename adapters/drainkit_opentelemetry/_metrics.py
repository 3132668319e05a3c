"""`DrainMetrics`: a counter, two histograms, and a span where one is wanted.

Rule: each drain is recorded in the context in which its application answered. Under WSGI that is
gone when the report comes, and with it the trace: the body is discarded behind the answer, and
every instrumentation has ended its span by then.
"""

from __future__ import annotations

import importlib.metadata
import os
import time
from collections.abc import Iterable

from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider

from drainkit import DrainReport, OnReport
from drainkit.telemetry import (
    DRAINS,
    DURATION,
    SIZE,
    SPAN_NAME,
    methods_of,
    outcome_attributes,
    request_attributes,
)

_SCOPE = "drainkit"

# The variable of the semantic conventions: a list that replaces the known methods.
_KNOWN_METHODS_VARIABLE = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS"


class DrainMetrics:
    """Records each drain with a meter; an ``on_report`` for every middleware.

    ===========================  =========  ====  ===============================================
    metric                       type       unit  attributes
    ===========================  =========  ====  ===============================================
    ``drainkit.drains``          counter    1     those below, ``http.request.method``,
                                                  ``http.response.status_code``,
                                                  ``network.protocol.version``
    ``drainkit.drain.duration``  histogram  s     ``drainkit.drain.outcome``, ``error.type``
    ``drainkit.drain.size``      histogram  By    ``drainkit.drain.outcome``, ``error.type``
    ===========================  =========  ====  ===============================================

    ``error.type`` is there only where the client may have lost its answer. Each measurement is
    recorded in the context in which the application answered, so that exemplars name the request's
    trace and span, under WSGI too.

    Two of them with the same arguments are equal.
    """

    def __init__(
        self,
        meter_provider: MeterProvider | None = None,
        *,
        tracer_provider: TracerProvider | None = None,
        known_methods: Iterable[str] | None = None,
    ) -> None:
        """Make the instruments.

        Args:
            meter_provider: Where the meter comes from. ``None`` means the global one, also if it
                is set later.
            tracer_provider: Where the tracer comes from that tells each drain of a sampled request
                as a span ``drainkit.drain``, a child of the span in which the application
                answered. ``None`` writes no spans.
            known_methods: The methods that are told as they are; every other is ``_OTHER``.
                ``None`` means those in the environment variable
                ``OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS``, else
                `drainkit.telemetry.KNOWN_METHODS`.

        Raises:
            TypeError: A provider is none, or *known_methods* are no methods.
        """
        _check_provider("meter_provider", meter_provider, MeterProvider)
        _check_provider("tracer_provider", tracer_provider, TracerProvider)
        self._known_methods = _known_methods(known_methods)
        version = _version()
        meter = metrics.get_meter(_SCOPE, version, meter_provider)
        self._drains = meter.create_counter(DRAINS.name, DRAINS.unit, DRAINS.description)
        self._seconds, self._size_bytes = (
            meter.create_histogram(
                instrument.name,
                instrument.unit,
                instrument.description,
                explicit_bucket_boundaries_advisory=instrument.boundaries,
            )
            for instrument in (DURATION, SIZE)
        )
        self._tracer = (
            None if tracer_provider is None else trace.get_tracer(_SCOPE, version, tracer_provider)
        )
        self._configuration = (meter_provider, tracer_provider, self._known_methods)

    def answered(self) -> OnReport:
        """Return what records the drain of the request that is being answered now."""
        here = context.get_current()
        return lambda report: self._record(report, here)

    def __call__(self, report: DrainReport) -> None:
        """Record a drain in the current context."""
        self._record(report, context.get_current())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DrainMetrics):
            return NotImplemented
        return self._configuration == other._configuration

    def __hash__(self) -> int:
        return hash(self._configuration)

    def _record(self, report: DrainReport, at: Context) -> None:
        outcome = outcome_attributes(report)
        request = request_attributes(report, self._known_methods)
        self._drains.add(1, {**outcome, **request}, context=at)
        self._seconds.record(report.seconds, outcome, context=at)
        self._size_bytes.record(report.bytes_discarded, outcome, context=at)
        if self._tracer is not None and trace.get_current_span(at).get_span_context().is_valid:
            self._tell_as_span(self._tracer, report, at)

    def _tell_as_span(self, tracer: trace.Tracer, report: DrainReport, at: Context) -> None:
        end_ns = time.time_ns()
        outcome = outcome_attributes(report)
        span = tracer.start_span(
            SPAN_NAME,
            at,
            SpanKind.INTERNAL,
            {
                **outcome,
                **request_attributes(report, self._known_methods),
                "drainkit.drain.size": report.bytes_discarded,
            },
            start_time=end_ns - round(report.seconds * 1e9),
        )
        if "error.type" in outcome:
            span.set_status(Status(StatusCode.ERROR, report.detail or None))
        span.end(end_ns)


def _check_provider(argument: str, given: object, kind: type) -> None:
    if given is not None and not isinstance(given, kind):
        is_made_by_one = isinstance(given, (metrics.Meter, trace.Tracer))
        instead = ": give the provider that it comes from" if is_made_by_one else ""
        raise TypeError(
            f"{argument} must be a {kind.__name__} of OpenTelemetry or None; got {given!r}{instead}"
        )


def _known_methods(given: Iterable[str] | None) -> frozenset[str]:
    listed = os.environ.get(_KNOWN_METHODS_VARIABLE)
    if given is not None or listed is None:
        return methods_of(given)
    return frozenset(method.strip() for method in listed.split(",") if method.strip())


def _version() -> str:
    try:
        return importlib.metadata.version("drainkit")
    except importlib.metadata.PackageNotFoundError:
        return ""  # run from a working tree
