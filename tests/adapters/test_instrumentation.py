"""Instrumentors and `init_app`, in either order: as many spans as without drainkit.

They take an application's middleware apart (FastAPI's) or wrap what `init_app` wraps (Flask's).
"""

import asyncio
import io

import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from drainkit import Outcome

MIB = 1024 * 1024


class Spans:
    """Keeps the spans of one application."""

    def __init__(self):
        self._exporter = InMemorySpanExporter()
        self.processor = SimpleSpanProcessor(self._exporter)
        self.provider = TracerProvider()
        self.provider.add_span_processor(self.processor)

    @property
    def names(self):
        return sorted(span.name for span in self._exporter.get_finished_spans())


def make_fastapi():
    fastapi = pytest.importorskip("fastapi", reason="needs fastapi")
    app = fastapi.FastAPI()
    app.post("/up")(lambda: "no")
    return app


def make_starlette():
    applications = pytest.importorskip("starlette.applications", reason="needs starlette")
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def up(request):
        return PlainTextResponse("no")

    return applications.Starlette(routes=[Route("/up", up, methods=["POST"])])


def make_flask():
    flask = pytest.importorskip("flask", reason="needs flask")
    app = flask.Flask("instrumented")
    app.post("/up")(lambda: "no")
    return app


def opentelemetry_in(name, kind):
    """Return what instruments an application with a package of OpenTelemetry's."""

    def instrument(app, spans):
        package = f"opentelemetry.instrumentation.{name}"
        module = pytest.importorskip(package, reason=f"needs opentelemetry-instrumentation-{name}")
        getattr(module, kind).instrument_app(app, tracer_provider=spans.provider)

    return instrument


def logfire_in(name):
    """Return what instruments an application with Logfire."""

    def instrument(app, spans):
        logfire = pytest.importorskip("logfire", reason="needs logfire")
        pytest.importorskip(
            f"opentelemetry.instrumentation.{name}",
            reason=f"needs opentelemetry-instrumentation-{name}",
        )
        local = logfire.configure(
            local=True,
            send_to_logfire=False,
            console=False,
            metrics=False,
            additional_span_processors=[spans.processor],
        )
        getattr(local, f"instrument_{name}")(app)

    return instrument


def drain(app, reports):
    if hasattr(app, "wsgi_app"):
        from drainkit_flask import init_app
    else:
        from drainkit_starlette import init_app
    init_app(app, on_report=reports.append)


def upload_to_wsgi(app):
    statuses = []
    body = io.BufferedReader(io.BytesIO(b"x" * MIB))
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/up",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(MIB),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": body,
        "wsgi.errors": io.StringIO(),
    }
    result = app(environ, lambda status, headers, exc_info=None: statuses.append(status))
    list(result)
    result.close()
    return int(statuses[0][:3])


def upload_to_asgi(app):
    statuses = []

    async def receive():
        return {"type": "http.request", "body": b"x" * MIB, "more_body": False}

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/up",
        "raw_path": b"/up",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"x"), (b"content-length", b"%d" % MIB)],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    asyncio.run(app(scope, receive, send))
    return statuses[0]


def run(make, instrument, order):
    """Do what *order* says to a new application; upload; return spans, status and outcomes."""
    spans, reports, app = Spans(), [], make()
    steps = {"instrument": lambda: instrument(app, spans), "drain": lambda: drain(app, reports)}
    for step in order:
        steps[step]()
    upload = upload_to_wsgi if hasattr(app, "wsgi_app") else upload_to_asgi
    status = upload(app)
    return spans.names, status, [report.outcome for report in reports]


INSTRUMENTED = {
    "fastapi, opentelemetry": (make_fastapi, opentelemetry_in("fastapi", "FastAPIInstrumentor")),
    "fastapi, logfire": (make_fastapi, logfire_in("fastapi")),
    "starlette, opentelemetry": (
        make_starlette,
        opentelemetry_in("starlette", "StarletteInstrumentor"),
    ),
    "starlette, logfire": (make_starlette, logfire_in("starlette")),
    "flask, opentelemetry": (make_flask, opentelemetry_in("flask", "FlaskInstrumentor")),
    "flask, logfire": (make_flask, logfire_in("flask")),
}


@pytest.mark.parametrize("order", [("instrument", "drain"), ("drain", "instrument")], ids="-".join)
@pytest.mark.parametrize("name", INSTRUMENTED)
def test_there_are_as_many_spans_as_without_drainkit(name, order):
    make, instrument = INSTRUMENTED[name]
    bare = run(make, instrument, ("instrument",))
    drained = run(make, instrument, order)

    assert (200, True) == (bare[1], bool(bare[0])), "it is not instrumented without drainkit"
    assert (bare[0], 200, [Outcome.COMPLETE]) == drained


def test_an_application_that_is_instrumented_no_more_is_still_drained():
    """FastAPI's instrumentor puts back the method that it has replaced."""
    instrumentation = pytest.importorskip(
        "opentelemetry.instrumentation.fastapi",
        reason="needs opentelemetry-instrumentation-fastapi",
    )
    spans, reports, app = Spans(), [], make_fastapi()
    instrumentation.FastAPIInstrumentor.instrument_app(app, tracer_provider=spans.provider)
    drain(app, reports)
    instrumentation.FastAPIInstrumentor.uninstrument_app(app)
    status = upload_to_asgi(app)

    assert (200, [], 1) == (status, spans.names, len(reports))
