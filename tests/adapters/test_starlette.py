"""`drainkit_starlette`: `init_app` outermost, and `DrainMiddleware` for ``add_middleware``."""

import asyncio
import inspect
import warnings

import pytest

pytest.importorskip("starlette", reason="needs starlette")

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse, RedirectResponse, StreamingResponse
from starlette.routing import Mount, Route

import drainkit_asgi
import drainkit_wsgi
from drainkit import CONTROL_KEY, DrainPolicy, Outcome
from drainkit.testing import ScriptedBody
from drainkit_starlette import DrainMiddleware, PlacementWarning, init_app

MIB = 1024 * 1024
HAS_LIMIT = "max_body_size" in inspect.signature(Starlette).parameters

needs_limit = pytest.mark.skipif(not HAS_LIMIT, reason="needs Starlette 1.6 for max_body_size")


async def to_login(request):
    return RedirectResponse("/login", 303)


async def read(request):
    return PlainTextResponse(str(len(await request.body())))


async def fail(request):
    raise RuntimeError("before reading")


async def stream(request):
    async def pieces():
        yield b"a" * 10
        yield b"b" * 10

    return StreamingResponse(pieces())


async def declined(request):
    request.scope[CONTROL_KEY].policy = None
    return PlainTextResponse("no", 401)


async def passed_on(request, call_next):
    response = await call_next(request)
    response.headers["x-passed-on"] = "yes"
    return response


ROUTES = [
    Route(f"/{endpoint.__name__}", endpoint, methods=["POST"])
    for endpoint in (to_login, read, fail, stream, declined)
]


def make_app(**options):
    return Starlette(routes=ROUTES, **options)


class Got:
    """What one upload of 1 MiB came to."""

    def __init__(self):
        self.body = ScriptedBody([b"x" * 65536] * 16)
        self.sent = []
        self.raised = None

    @property
    def status(self):
        (status,) = (m["status"] for m in self.sent if m["type"] == "http.response.start")
        return status

    @property
    def content(self):
        return b"".join(m["body"] for m in self.sent if m["type"] == "http.response.body")


def upload(app, path, *, framing="length", spec_version="2.4"):
    got = Got()
    fields = {
        "length": (b"content-length", b"%d" % MIB),
        "chunked": (b"transfer-encoding", b"chunked"),
    }
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": spec_version},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"testserver"), fields[framing]],
    }

    async def send(message):
        got.sent.append(message)

    try:
        asyncio.run(app(scope, got.body.receive, send))
    except Exception as error:
        got.raised = error
    return got


def with_init_app(on_report, **options):
    return init_app(make_app(**options), on_report=on_report)


def with_add_middleware(on_report):
    app = make_app()
    app.add_middleware(DrainMiddleware, on_report=on_report)
    return app


def inside_of_basehttp(on_report):
    app = with_add_middleware(on_report)
    app.add_middleware(BaseHTTPMiddleware, dispatch=passed_on)
    return app


def outside_of_basehttp(on_report):
    app = make_app(middleware=[Middleware(BaseHTTPMiddleware, dispatch=passed_on)])
    app.add_middleware(DrainMiddleware, on_report=on_report)
    return app


PLACES = [with_init_app, with_add_middleware, inside_of_basehttp, outside_of_basehttp]

# --- early answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("path", "status"), [("/to_login", 303), ("/nothing", 404), ("/stream", 200)]
)
def test_an_early_answer_leaves_nothing_behind(place, path, status, framing):
    reports = []
    got = upload(place(reports.append), path, framing=framing)

    assert (status, MIB) == (got.status, got.body.given_bytes)
    assert [Outcome.COMPLETE] == [report.outcome for report in reports]


@pytest.mark.parametrize("place", PLACES)
def test_a_stream_that_listens_for_the_disconnect_is_not_cut_off(place):
    """To an older server Starlette's StreamingResponse receives while it sends."""
    got = upload(place(None), "/stream", spec_version="2.3")

    assert (b"a" * 10 + b"b" * 10, MIB) == (got.content, got.body.given_bytes)


@pytest.mark.parametrize("place", PLACES)
def test_an_application_that_reads_gets_every_byte(place):
    reports = []
    got = upload(place(reports.append), "/read")

    assert str(MIB).encode() == got.content
    assert [] == reports


@pytest.mark.parametrize("place", PLACES)
def test_an_exception_becomes_a_500_that_leaves_nothing_behind(place):
    reports = []
    got = upload(place(reports.append), "/fail")

    assert (500, MIB) == (got.status, got.body.given_bytes)
    assert "before reading" == str(got.raised)
    assert 1 == len(reports)


@pytest.mark.parametrize("place", PLACES)
def test_an_endpoint_may_decline(place):
    reports = []
    got = upload(place(reports.append), "/declined")

    assert (401, 0) == (got.status, got.body.given_bytes)
    assert [Outcome.DECLINED] == [report.outcome for report in reports]


def test_fastapi_answers_early_and_leaves_nothing_behind():
    fastapi = pytest.importorskip("fastapi", reason="needs fastapi")
    for app in (init_app(fastapi.FastAPI()), fastapi.FastAPI()):
        if not hasattr(app.state, "drainkit"):
            app.add_middleware(DrainMiddleware)
        app.post("/typed")(lambda number: number)
        for path, status in (("/nothing", 404), ("/docs", 405), ("/typed", 422)):
            got = upload(app, path)

            assert (status, MIB) == (got.status, got.body.given_bytes)


# --- max_body_size --------------------------------------------------------------------------------


@needs_limit
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("path", ["/read", "/to_login"])
def test_the_413_of_max_body_size_leaves_nothing_behind_with_init_app(path, framing):
    reports = []
    app = with_init_app(reports.append, max_body_size=1000)
    got = upload(app, path, framing=framing)

    # The limit counts what is read: a redirect that reads nothing may answer a chunked body.
    expected = 303 if (path, framing) == ("/to_login", "chunked") else 413
    assert (expected, MIB) == (got.status, got.body.given_bytes)
    assert 1 == len(reports)


@needs_limit
def test_an_added_middleware_warns_once_of_the_limit_outside():
    app = make_app(max_body_size=10 * MIB)
    app.add_middleware(DrainMiddleware)
    with pytest.warns(PlacementWarning, match="max_body_size=10485760.*init_app") as caught:
        upload(app, "/to_login")
    got = upload(app, "/to_login")

    assert 1 == len(caught)
    assert 303 == got.status


@needs_limit
def test_fastapi_is_warned_of_its_limit_too():
    fastapi = pytest.importorskip("fastapi", reason="needs fastapi")
    if "max_body_size" not in inspect.signature(fastapi.FastAPI).parameters:
        pytest.skip("needs a FastAPI with max_body_size")
    app = fastapi.FastAPI(max_body_size=1000)
    app.add_middleware(DrainMiddleware)

    with pytest.warns(PlacementWarning):
        upload(app, "/nothing")


@needs_limit
@pytest.mark.parametrize("wrapped", [init_app, drainkit_asgi.DrainMiddleware])
def test_no_warning_where_a_drainkit_stands_outside_of_the_limit(wrapped):
    app = make_app(max_body_size=1000)
    app.add_middleware(DrainMiddleware)

    assert 413 == upload(wrapped(app), "/read").status


@needs_limit
def test_no_warning_for_a_limit_inside_or_without_a_body():
    app = Starlette(routes=[Mount("/inner", make_app(max_body_size=1000))])
    app.add_middleware(DrainMiddleware)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = upload(app, "/inner/read")

    assert (413, MIB) == (got.status, got.body.given_bytes)


# --- init_app -------------------------------------------------------------------------------------


def test_init_app_returns_the_very_application():
    app = make_app()

    assert app is init_app(app)


def test_middleware_that_is_added_later_is_inside():
    order = []

    class Outer:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            order.append(CONTROL_KEY in scope)
            await self.app(scope, receive, send)

    app = init_app(make_app())
    app.add_middleware(Outer)
    upload(app, "/to_login")

    assert [True] == order


def test_a_second_call_that_changes_nothing_is_allowed_even_when_it_runs():
    reports = []
    app = init_app(make_app(), on_report=reports.append)
    on_report = app.state.drainkit.on_report
    init_app(app, on_report=on_report)
    upload(app, "/to_login")
    init_app(app, DrainPolicy(), on_report=on_report)
    upload(app, "/to_login")

    assert 2 == len(reports)


@pytest.mark.parametrize(
    ("arguments", "options"), [((DrainPolicy(max_bytes=6),), {}), ((), {"on_report": print})]
)
def test_a_second_call_that_would_change_something_is_refused(arguments, options):
    app = init_app(make_app())

    with pytest.raises(RuntimeError, match="around this application already"):
        init_app(app, *arguments, **options)


def test_an_application_that_runs_is_wrapped_all_the_same():
    reports = []
    app = make_app()
    upload(app, "/to_login")
    init_app(app, on_report=reports.append)
    upload(app, "/to_login")

    assert 1 == len(reports)


def test_the_application_and_its_class_stay_what_they_are():
    """Its middleware stack, too: instrumentation takes that apart."""

    class Site(Starlette):
        """A site."""

    app = Site()
    stack = app.build_middleware_stack()
    wrapped = init_app(app)

    assert wrapped is app
    assert isinstance(app, Site)
    assert (Site.__name__, Site.__qualname__, Site.__module__, Site.__doc__) == (
        type(app).__name__,
        type(app).__qualname__,
        type(app).__module__,
        type(app).__doc__,
    )
    assert type(stack) is type(app.build_middleware_stack())


def test_another_application_of_the_same_class_is_not_wrapped():
    init_app(Starlette())
    got = upload(make_app(), "/to_login")

    assert 0 == got.body.given_bytes


# --- bad arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((print,), {}, "app must be a Starlette or FastAPI application"),
        ((Starlette(), {"max_bytes": 1}), {}, "policy must be a DrainPolicy or None"),
        ((Starlette(),), {"on_report": "print"}, "on_report must be a callable or None"),
        ((Starlette(),), {"max_byte": 1}, "'max_byte' is no argument"),
    ],
)
def test_init_app_refuses_arguments_of_the_wrong_type(arguments, options, message):
    with pytest.raises(TypeError, match=message):
        init_app(*arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("app",), {}, "app must be an ASGI application"),
        ((print, {"max_bytes": 1}), {}, "policy must be a DrainPolicy"),
        ((print,), {"on_report": "print"}, "on_report must be a callable or None"),
        ((print,), {"max_byte": 1}, "'max_byte' is no argument"),
        (
            (lambda environ, start_response: [],),
            {},
            "Around a WSGI application write drainkit_wsgi",
        ),
    ],
)
def test_the_middleware_refuses_arguments_of_the_wrong_type(arguments, options, message):
    with pytest.raises(TypeError, match=message):
        DrainMiddleware(*arguments, **options)


def test_the_policy_reaches_the_drain():
    for app in (init_app(make_app(), DrainPolicy(max_bytes=0)), make_app()):
        if not hasattr(app.state, "drainkit"):
            app.add_middleware(DrainMiddleware, policy=DrainPolicy(max_bytes=0))

        assert 0 == upload(app, "/to_login").body.given_bytes


def test_fields_are_taken_as_keywords_too():
    for app in (init_app(make_app(), max_bytes=0), make_app()):
        if not hasattr(app.state, "drainkit"):
            app.add_middleware(DrainMiddleware, DrainPolicy(max_seconds=7), max_bytes=0)

        assert 0 == upload(app, "/to_login").body.given_bytes


@pytest.mark.parametrize(
    "middleware", [DrainMiddleware, drainkit_asgi.DrainMiddleware], ids=["starlette", "asgi"]
)
def test_an_instance_where_the_class_belongs_does_not_start(middleware):
    app = make_app()
    app.add_middleware(middleware(app))

    with pytest.raises(TypeError, match=r"write app\.add_middleware\(.*DrainMiddleware\), not "):
        app.build_middleware_stack()
    got = upload(app, "/to_login")
    assert "add_middleware takes the class" in str(got.raised)


def test_an_instance_around_an_application_is_no_mistake():
    app = make_app()
    got = upload(DrainMiddleware(app), "/to_login")
    mounted = Starlette(
        routes=[Mount("/inner", make_app(), middleware=[Middleware(DrainMiddleware)])]
    )

    assert (303, MIB) == (got.status, got.body.given_bytes)
    assert (303, MIB) == (lambda got: (got.status, got.body.given_bytes))(
        upload(mounted, "/inner/to_login")
    )


def test_wsgi_middleware_around_starlette_says_what_to_write():
    import drainkit_wsgi

    with pytest.raises(TypeError, match=r"Around an ASGI application write drainkit_asgi\."):
        drainkit_wsgi.DrainMiddleware(make_app())


# --- what is not HTTP -----------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_lifespan_passes(place):
    sent = []
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message["type"])

    asyncio.run(place(None)({"type": "lifespan", "state": {}}, receive, send))

    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == sent


def test_an_application_inside_of_two_drains_as_inside_of_one():
    """The refusal of an instance does no harm where an instance is right."""
    app = make_app()
    outer = drainkit_asgi.DrainMiddleware(drainkit_asgi.DrainMiddleware(app))
    got = upload(outer, "/to_login")

    assert (303, MIB) == (got.status, got.body.given_bytes)
    # What builds the stack is the application's own again.
    assert type(app).build_middleware_stack is app.build_middleware_stack.__func__


def test_middleware_where_a_function_belongs_says_what_to_write():
    app = make_app()
    app.add_middleware(BaseHTTPMiddleware, dispatch=DrainMiddleware)
    got = upload(app, "/to_login")

    assert "Write app.add_middleware(DrainMiddleware), not" in str(got.raised)


def test_middleware_of_wsgi_names_the_one_that_is_right():
    app = make_app()
    app.add_middleware(drainkit_wsgi.DrainMiddleware)

    with pytest.raises(TypeError, match=r"in add_middleware of Starlette .* drainkit_starlette\."):
        app.build_middleware_stack()


@pytest.mark.parametrize(
    "middleware", [DrainMiddleware, drainkit_asgi.DrainMiddleware], ids=["starlette", "asgi"]
)
def test_the_class_of_an_application_is_no_application(middleware):
    with pytest.raises(TypeError, match=r"got the class .*: make one of it, Starlette\(\)"):
        middleware(Starlette)


def test_a_class_from_which_none_can_be_derived_is_refused_with_what_to_write():
    class Strict(Starlette):
        def __init_subclass__(cls, *, name):
            """Need an argument."""

    app = Strict()
    with pytest.raises(TypeError, match=r"does not allow it .*drainkit_asgi\.DrainMiddleware\(app"):
        init_app(app)

    assert Strict is type(app)
    assert not hasattr(app.state, "drainkit")
