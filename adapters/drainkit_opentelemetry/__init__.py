"""drainkit's drains as metrics of OpenTelemetry and, where wanted, as spans.

Give one to any of drainkit's middlewares::

    import drainkit_opentelemetry

    init_app(app, on_report=drainkit_opentelemetry.DrainMetrics())

It needs the API only. Where no SDK is configured, nothing is recorded.
"""

from drainkit import needs_extra

with needs_extra(__name__, "opentelemetry"):
    from ._metrics import DrainMetrics

__all__ = ["DrainMetrics"]
