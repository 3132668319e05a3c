"""`drainkit_prometheus` and `drainkit_opentelemetry` as a type checker sees them."""

from typing import assert_type

from flask import Flask
from opentelemetry import metrics, trace
from prometheus_client import CollectorRegistry

import drainkit_flask
import drainkit_opentelemetry
import drainkit_prometheus
from drainkit import DrainReport, OnReport, Reporter, answered

on_report: OnReport = drainkit_prometheus.DrainMetrics(CollectorRegistry(), known_methods=["POST"])
reporter: Reporter = drainkit_opentelemetry.DrainMetrics(
    metrics.get_meter_provider(), tracer_provider=trace.get_tracer_provider()
)
assert_type(reporter.answered(), OnReport)
assert_type(answered(reporter), OnReport | None)

drainkit_flask.init_app(Flask("site"), on_report=drainkit_prometheus.DrainMetrics())
drainkit_flask.init_app(Flask("site"), on_report=drainkit_opentelemetry.DrainMetrics())


class Both:
    """Somebody's own reporter."""

    def answered(self) -> OnReport:
        """Tell the same."""
        return self

    def __call__(self, report: DrainReport) -> None:
        """Take a report."""


mine: Reporter = Both()
drainkit_prometheus.DrainMetrics("registry")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
