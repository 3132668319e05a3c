"""`DrainMetrics`: a counter and two histograms in a registry.

Rule: as many as one likes may be made for a registry; the metrics are made once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import NamedTuple
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

from drainkit import DrainReport
from drainkit.telemetry import (
    DRAINS,
    DURATION,
    OUTCOME_NAMES,
    REQUEST_NAMES,
    SIZE,
    Attributes,
    Instrument,
    methods_of,
    outcome_attributes,
    prometheus_name,
    request_attributes,
)

_OUTCOME_LABELS = [prometheus_name(name) for name in OUTCOME_NAMES]
_REQUEST_LABELS = [prometheus_name(name) for name in REQUEST_NAMES]


class _Metrics(NamedTuple):
    drains: Counter
    seconds: Histogram
    size_bytes: Histogram


# A registry refuses a second metric of a name, and one process may serve two applications.
_made: WeakKeyDictionary[CollectorRegistry, _Metrics] = WeakKeyDictionary()
_making = threading.Lock()


class DrainMetrics:
    """Records each drain in a registry; an ``on_report`` for every middleware.

    ========================================  =========  ==========================================
    metric                                    type       labels
    ========================================  =========  ==========================================
    ``drainkit_drains_total``                 counter    those below, ``http_request_method``,
                                                         ``http_response_status_code``,
                                                         ``network_protocol_version``
    ``drainkit_drain_duration_seconds``       histogram  ``drainkit_drain_outcome``, ``error_type``
    ``drainkit_drain_size_bytes``             histogram  ``drainkit_drain_outcome``, ``error_type``
    ========================================  =========  ==========================================

    A label whose value is not known is empty, which Prometheus takes for a label that is not there.
    Two of them for the same registry and methods are equal.

    It works in prometheus_client's multiprocess mode, where the registry does not matter.
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        known_methods: Iterable[str] | None = None,
    ) -> None:
        """Make the metrics, or use those that the registry has already.

        Args:
            registry: Where the metrics are. ``None`` means ``prometheus_client.REGISTRY``.
            known_methods: The methods that are told as they are, in place of
                `drainkit.telemetry.KNOWN_METHODS`; every other is ``_OTHER``. ``None`` means
                those.

        Raises:
            TypeError: *registry* is no CollectorRegistry, or *known_methods* are no methods.
            ValueError: Something else in the registry has one of these names; it is left as it was.
        """
        if registry is not None and not isinstance(registry, CollectorRegistry):
            raise TypeError(
                f"registry must be a prometheus_client.CollectorRegistry, or None for the "
                f"library's own; got {registry!r}"
            )
        self._registry = REGISTRY if registry is None else registry
        self._known_methods = methods_of(known_methods)
        self._metrics = _metrics_in(self._registry)

    def __call__(self, report: DrainReport) -> None:
        """Record a drain."""
        outcome = _labels(outcome_attributes(report), _OUTCOME_LABELS)
        request = _labels(request_attributes(report, self._known_methods), _REQUEST_LABELS)
        drains, seconds, size_bytes = self._metrics
        drains.labels(**outcome, **request).inc()
        seconds.labels(**outcome).observe(report.seconds)
        size_bytes.labels(**outcome).observe(report.bytes_discarded)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DrainMetrics):
            return NotImplemented
        return self._registry is other._registry and self._known_methods == other._known_methods

    def __hash__(self) -> int:
        return hash((id(self._registry), self._known_methods))


def _metrics_in(registry: CollectorRegistry) -> _Metrics:
    with _making:
        metrics = _made.get(registry)
        if metrics is None:
            metrics = _new_metrics()
            _register(metrics, registry)
            _made[registry] = metrics
        return metrics


def _new_metrics() -> _Metrics:
    # The units and the counter's _total are the library's to append.
    return _Metrics(
        Counter(
            prometheus_name(DRAINS.name),
            DRAINS.description,
            [*_OUTCOME_LABELS, *_REQUEST_LABELS],
            registry=None,
        ),
        _histogram(DURATION, "seconds"),
        _histogram(SIZE, "bytes"),
    )


def _histogram(instrument: Instrument, unit: str) -> Histogram:
    return Histogram(
        prometheus_name(instrument.name),
        instrument.description,
        _OUTCOME_LABELS,
        unit=unit,
        buckets=instrument.boundaries,
        registry=None,
    )


def _register(metrics: _Metrics, registry: CollectorRegistry) -> None:
    """Put all of them into a registry, or none."""
    done: list[Counter | Histogram] = []
    try:
        for metric in metrics:
            registry.register(metric)
            done.append(metric)
    except BaseException:
        for metric in done:
            registry.unregister(metric)
        raise


def _labels(attributes: Attributes, names: list[str]) -> dict[str, str]:
    known = {prometheus_name(name): str(value) for name, value in attributes.items()}
    return {name: known.get(name, "") for name in names}
