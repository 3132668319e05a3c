"""`drainkit_opentelemetry.DrainMetrics`, as exporters in memory have it, also from real traces."""

import io
import logging
import pathlib
import subprocess
import sys
import weakref

import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")

import anyio
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import StatusCode

from drainkit import Configuration, DrainPolicy
from drainkit_opentelemetry import DrainMetrics
from drainkit_wsgi import DrainMiddleware
from tests.adapters.wsgi_server import serve
from tests.reports import REPORT, changed

BODY = [b"x" * 65536] * 16


class Telemetry:
    """An SDK whose metrics and spans stay in memory."""

    def __init__(self, **tracing):
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(**tracing)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def metrics(self):
        """Return each metric by its name."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        return {
            metric.name: metric
            for scope in scopes
            for metric in scope.metrics
            if scope.scope.name == "drainkit"
        }

    def points(self, name):
        return self.metrics[name].data.data_points

    def spans(self, of_drains):
        finished = self.exporter.get_finished_spans()
        return [span for span in finished if (span.name == "drainkit.drain") is of_drains]

    def shut_down(self):
        self.meters.shutdown()
        self.tracers.shutdown()


@pytest.fixture
def telemetry():
    telemetry = Telemetry()
    yield telemetry
    telemetry.shut_down()


# --- metrics --------------------------------------------------------------------------------------


def test_a_report_is_counted_under_standard_names(telemetry):
    on_report = DrainMetrics(telemetry.meters)
    for _ in range(2):
        on_report(REPORT)
    (point,) = telemetry.points("drainkit.drains")
    expected = {
        "drainkit.drain.outcome": "idle",
        "error.type": "idle",
        "http.request.method": "POST",
        "http.response.status_code": 413,
        "network.protocol.version": "1.1",
    }

    assert (2, expected) == (point.value, dict(point.attributes))


def test_seconds_and_bytes_are_histograms_by_outcome(telemetry):
    DrainMetrics(telemetry.meters)(REPORT)
    (seconds,) = telemetry.points("drainkit.drain.duration")
    (size,) = telemetry.points("drainkit.drain.size")
    units = [telemetry.metrics[name].unit for name in sorted(telemetry.metrics)]
    outcome = {"drainkit.drain.outcome": "idle", "error.type": "idle"}

    assert [5.125, 3_000_000] == [seconds.sum, size.sum]
    assert [outcome] * 2 == [dict(seconds.attributes), dict(size.attributes)]
    assert 300.0 == seconds.explicit_bounds[-1]
    assert ["s", "By", "{drain}"] == units


def test_no_client_can_make_a_series(telemetry):
    on_report = DrainMetrics(telemetry.meters)
    for number in range(300):
        on_report(changed(method=f"M{number}", path=f"/{number}", protocol=f"HTTP/1.{number + 2}"))
    (point,) = telemetry.points("drainkit.drains")

    assert (300, "_OTHER") == (point.value, point.attributes["http.request.method"])


def test_the_variable_of_the_conventions_replaces_the_known_methods(telemetry, monkeypatch):
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "PROPFIND, MKCOL")
    on_report = DrainMetrics(telemetry.meters)
    for method in ("MKCOL", "POST"):
        on_report(changed(method=method))
    methods = {p.attributes["http.request.method"] for p in telemetry.points("drainkit.drains")}

    assert {"MKCOL", "_OTHER"} == methods


def test_two_with_the_same_arguments_are_equal_and_count_together(telemetry):
    first, second = DrainMetrics(telemetry.meters), DrainMetrics(telemetry.meters)
    Configuration(DrainPolicy(), first).refuse_change(Configuration(DrainPolicy(), second), "")
    first(REPORT)
    second(REPORT)

    assert hash(first) == hash(second)
    assert first != DrainMetrics(telemetry.meters, tracer_provider=telemetry.tracers)
    assert [2] == [point.value for point in telemetry.points("drainkit.drains")]


def test_without_an_sdk_nothing_happens():
    """The API alone is a dependency; who configures nothing records nothing."""
    assert None is DrainMetrics()(REPORT)


def test_an_exporter_for_prometheus_has_the_names_of_the_other_package(telemetry):
    exporter = pytest.importorskip("opentelemetry.exporter.prometheus")
    prometheus_client = pytest.importorskip("prometheus_client")
    ours = prometheus_client.CollectorRegistry()
    import drainkit_prometheus

    drainkit_prometheus.DrainMetrics(ours)(REPORT)
    reader = exporter.PrometheusMetricReader()
    meters = MeterProvider([reader])
    try:
        DrainMetrics(meters)(REPORT)
        theirs = {
            sample.name: set(sample.labels)
            for family in reader._collector.collect()
            for sample in family.samples
            if sample.name.startswith("drainkit")
        }
    finally:
        meters.shutdown()
    got = {
        sample.name: set(sample.labels)
        for family in ours.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }

    assert set(got) == set(theirs)
    assert [] == [name for name, labels in got.items() if not labels <= theirs[name]]


# --- traces ---------------------------------------------------------------------------------------


def flask_app():
    flask = pytest.importorskip("flask")
    return flask.Flask("site")


def instrumented_flask(telemetry, on_report):
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.flask")
    app = flask_app()
    instrumentation.FlaskInstrumentor().instrument_app(app, tracer_provider=telemetry.tracers)
    app.wsgi_app = DrainMiddleware(app.wsgi_app, on_report=on_report)
    return app


def instrumented_behind(telemetry, on_report):
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.flask")
    app = flask_app()
    app.wsgi_app = DrainMiddleware(app.wsgi_app, on_report=on_report)
    instrumentation.FlaskInstrumentor().instrument_app(app, tracer_provider=telemetry.tracers)
    return app


def traced(app, telemetry):
    wsgi = pytest.importorskip("opentelemetry.instrumentation.wsgi")
    return wsgi.OpenTelemetryMiddleware(app, tracer_provider=telemetry.tracers)


def wsgi_inside(telemetry, on_report):
    return DrainMiddleware(traced(flask_app(), telemetry), on_report=on_report)


def wsgi_outside(telemetry, on_report):
    return traced(DrainMiddleware(flask_app(), on_report=on_report), telemetry)


def wsgi_in_pieces(telemetry, on_report):
    """A generator calls start_response() when it is asked for its first piece."""

    def app(environ, start_response):
        start_response("404 Not Found", [])
        yield b"no"
        yield b"where"

    return DrainMiddleware(traced(app, telemetry), on_report=on_report)


PLACES = [instrumented_flask, instrumented_behind, wsgi_inside, wsgi_outside, wsgi_in_pieces]


def upload(app):
    environ = {"SCRIPT_NAME": "", "wsgi.errors": io.StringIO(), "HTTP_HOST": "localhost"}
    return serve(app, BODY, wrap=None, **environ)


@pytest.mark.parametrize("place", PLACES)
def test_under_wsgi_the_trace_is_gone_when_a_plain_function_is_told(telemetry, place):
    """This is why a reporter keeps it."""
    seen = []

    def on_report(report):
        seen.append(trace.get_current_span().get_span_context().is_valid)

    got = upload(place(telemetry, on_report))

    assert ("404", None) == (got.status[:3], got.raised)
    assert [False] == seen


@pytest.mark.parametrize("place", PLACES)
def test_under_wsgi_exemplars_and_the_span_belong_to_the_requests_trace(telemetry, place):
    on_report = DrainMetrics(telemetry.meters, tracer_provider=telemetry.tracers)
    got = upload(place(telemetry, on_report))
    (request,) = telemetry.spans(of_drains=False)
    (drain,) = telemetry.spans(of_drains=True)
    (point,) = telemetry.points("drainkit.drain.duration")
    (exemplar,) = point.exemplars

    assert ("404", None) == (got.status[:3], got.raised)
    assert request.context.trace_id == drain.context.trace_id == exemplar.trace_id
    assert request.context.span_id == drain.parent.span_id == exemplar.span_id
    assert 1024 * 1024 == drain.attributes["drainkit.drain.size"]
    assert "complete" == drain.attributes["drainkit.drain.outcome"]
    assert StatusCode.UNSET is drain.status.status_code


def test_a_span_lasts_as_long_as_its_drain_and_tells_an_error(telemetry):
    on_report = DrainMetrics(telemetry.meters, tracer_provider=telemetry.tracers)
    with telemetry.tracers.get_tracer("test").start_as_current_span("POST"):
        told = on_report.answered()
    told(changed(detail="why"))
    (span,) = telemetry.spans(of_drains=True)

    assert 5_125_000_000 == span.end_time - span.start_time
    assert (StatusCode.ERROR, "why") == (span.status.status_code, span.status.description)
    assert "idle" == span.attributes["error.type"]


def test_a_request_without_a_trace_has_no_span(telemetry):
    on_report = DrainMetrics(telemetry.meters, tracer_provider=telemetry.tracers)
    on_report.answered()(REPORT)

    assert [] == telemetry.spans(of_drains=True)
    assert [()] == [tuple(p.exemplars) for p in telemetry.points("drainkit.drain.duration")]


def test_a_request_that_is_not_sampled_has_no_span_and_no_exemplar():
    telemetry = Telemetry(sampler=ParentBased(ALWAYS_OFF))
    on_report = DrainMetrics(telemetry.meters, tracer_provider=telemetry.tracers)
    with telemetry.tracers.get_tracer("test").start_as_current_span("POST"):
        told = on_report.answered()
    told(REPORT)
    (point,) = telemetry.points("drainkit.drain.duration")
    spans = telemetry.spans(of_drains=True)
    telemetry.shut_down()

    assert ([], 1, ()) == (spans, point.count, tuple(point.exemplars))


def test_an_application_that_raises_is_recorded_without_a_trace(telemetry):
    def app(environ, start_response):
        raise LookupError

    on_report = DrainMetrics(telemetry.meters, tracer_provider=telemetry.tracers)
    got = upload(DrainMiddleware(traced(app, telemetry), on_report=on_report))
    (point,) = telemetry.points("drainkit.drains")

    assert LookupError is type(got.raised)
    assert "http.response.status_code" not in point.attributes
    assert [] == telemetry.spans(of_drains=True)


@pytest.mark.parametrize("place", ["inside", "outside"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_under_asgi_span_and_log_line_belong_to_the_requests_trace(
    telemetry, place, backend, caplog
):
    asgi = pytest.importorskip("opentelemetry.instrumentation.asgi")
    import drainkit_asgi
    from tests.adapters import asgi_server

    if backend == "trio":
        pytest.importorskip("trio")
    on_report = DrainMetrics(telemetry.meters, tracer_provider=telemetry.tracers)

    def traced(app):
        return asgi.OpenTelemetryMiddleware(app, tracer_provider=telemetry.tracers)

    def wrap(app, policy, **_):
        if place == "inside":
            return drainkit_asgi.DrainMiddleware(traced(app), policy, on_report=on_report)
        return traced(drainkit_asgi.DrainMiddleware(app, policy, on_report=on_report))

    logged = []

    def note(record):
        if record.name == "drainkit":
            logged.append(trace.get_current_span().get_span_context().trace_id)
        return True

    async def play():
        app = asgi_server.answering(b"too large")
        return await asgi_server.serve(app, BODY, wrap=wrap, client=("127.0.0.1", 5), server=None)

    name, options = asgi_server.backend(backend)
    caplog.set_level(logging.DEBUG, logger="drainkit")
    caplog.handler.addFilter(note)
    try:
        got = anyio.run(play, backend=name, backend_options=options)
    finally:
        caplog.handler.removeFilter(note)
    (drain,) = telemetry.spans(of_drains=True)
    traces = {span.context.trace_id for span in telemetry.spans(of_drains=False)}
    (point,) = telemetry.points("drainkit.drain.duration")

    assert (413, None) == (got.status, got.raised)
    assert {drain.context.trace_id} == traces == set(logged)
    assert [drain.context.trace_id] == [exemplar.trace_id for exemplar in point.exemplars]


def test_what_the_application_keeps_in_its_context_is_not_held_by_the_drain(telemetry):
    """The trace is kept, and not the whole context: Flask's would hold a database session."""
    flask = pytest.importorskip("flask")

    class Session:
        """What an application forgets to close."""

    sessions, alive = [], []
    app = flask.Flask("site")

    @app.post("/upload")
    def view():
        flask.g.session = Session()
        sessions.append(weakref.ref(flask.g.session))
        return "no", 401

    metrics = DrainMetrics(telemetry.meters, tracer_provider=telemetry.tracers)

    class Looks:
        def answered(self):
            told = metrics.answered()
            return lambda report: alive.append(sessions[0]() is not None) or told(report)

        def __call__(self, report):
            raise AssertionError("the request was answered")

    app.wsgi_app = DrainMiddleware(app.wsgi_app, on_report=Looks())
    got = upload(app)

    assert ("401", [False]) == (got.status[:3], alive)


DJANGO_SITE = """
import io, os, sys
sys.path.append(os.getcwd())  # last: what is tested may be an installed wheel
import django
from django.conf import settings
from opentelemetry.instrumentation.django import DjangoInstrumentor
from tests.adapters.test_opentelemetry import BODY, DrainMetrics, Telemetry, serve
telemetry = Telemetry()
on_report = DrainMetrics(telemetry.meters, tracer_provider=telemetry.tracers)
is_entry = sys.argv[1] == "MIDDLEWARE"
settings.configure(
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x", DRAINKIT={"on_report": on_report},
    MIDDLEWARE=["drainkit_django.DrainMiddleware"] if is_entry else [],
)
urlpatterns = []
DjangoInstrumentor().instrument(tracer_provider=telemetry.tracers)
django.setup()
if is_entry:
    from django.core.wsgi import get_wsgi_application
else:
    from drainkit_django import get_wsgi_application
environ = {"wsgi.errors": io.StringIO(), "HTTP_HOST": "localhost"}
got = serve(get_wsgi_application(), BODY, wrap=None, **environ)
assert ("404", None) == (got.status[:3], got.raised), got
(request,) = telemetry.spans(of_drains=False)
assert [1] == [point.value for point in telemetry.points("drainkit.drains")]
parents = [span.parent.span_id for span in telemetry.spans(of_drains=True)]
telemetry.shut_down()
print(parents == [request.context.span_id], parents)
"""


@pytest.mark.parametrize(("place", "expected"), [("MIDDLEWARE", "True"), ("outermost", "False []")])
def test_under_django_the_entry_in_middleware_has_the_trace(place, expected):
    """The instrumentation's span ends before Django calls start_response()."""
    pytest.importorskip("django")
    pytest.importorskip("opentelemetry.instrumentation.django")
    done = subprocess.run(
        [sys.executable, "-c", DJANGO_SITE, place],
        cwd=pathlib.Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert 0 == done.returncode, done.stderr
    assert done.stdout.startswith(expected), done.stdout


@pytest.mark.parametrize("argument", ["meter_provider", "tracer_provider"])
@pytest.mark.parametrize("wrong", ["otel", True, DrainMetrics])
def test_what_is_no_provider_is_refused(argument, wrong):
    with pytest.raises(TypeError, match=f"{argument} must be a .*Provider of OpenTelemetry.*; got"):
        DrainMetrics(**{argument: wrong})


def test_who_gives_a_meter_is_told_to_give_its_provider(telemetry):
    with pytest.raises(TypeError, match="give the provider that it comes from"):
        DrainMetrics(telemetry.meters.get_meter("mine"))


def test_one_text_is_no_list_of_methods(telemetry):
    with pytest.raises(TypeError, match=r"known_methods must be methods in a list.*; got 'POST'"):
        DrainMetrics(telemetry.meters, known_methods="POST")
