"""drainkit's drains as metrics of prometheus_client.

Give one to any of drainkit's middlewares::

    import drainkit_prometheus

    init_app(app, on_report=drainkit_prometheus.DrainMetrics())

Names and labels are those that an OpenTelemetry exporter for Prometheus makes of the metrics of
`drainkit_opentelemetry`, so that the same queries fit.
"""

from drainkit import needs_extra

with needs_extra(__name__, "prometheus"):
    from ._metrics import DrainMetrics

__all__ = ["DrainMetrics"]
