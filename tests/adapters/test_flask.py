"""`drainkit_flask.init_app`: once around the application, configured by ``app.config``."""

import dataclasses
import functools
import io

import pytest

pytest.importorskip("flask", reason="needs flask")

from flask import Flask, redirect, request

from drainkit import CONTROL_KEY, DrainPolicy, Outcome
from drainkit_flask import init_app
from drainkit_wsgi import DrainMiddleware
from tests.adapters.wsgi_server import MIB, serve

FIELDS = [field.name for field in dataclasses.fields(DrainPolicy)]
BODY = [b"x" * 65536] * 16


def make_app(**config):
    app = Flask("site")
    app.config.update(config)

    @app.post("/redirect")
    def to_login():
        return redirect("/login")

    @app.post("/form")
    def form():
        return f"{len(request.form)} fields"

    @app.post("/read")
    def read():
        return str(len(request.get_data()))

    @app.post("/raise")
    def fail():
        raise RuntimeError("before reading")

    @app.post("/declined")
    def declined():
        request.environ[CONTROL_KEY].policy = None
        return "no", 401

    return app


def upload(app, path, **more):
    environ = {"SCRIPT_NAME": "", "PATH_INFO": path, "wsgi.errors": io.StringIO(), **more}
    return serve(app, BODY, wrap=None, **environ)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/redirect", "302 FOUND"),
        ("/nothing", "404 NOT FOUND"),
        ("/raise", "500 INTERNAL"),
        ("/", "4"),
    ],
)
def test_an_early_answer_goes_out_first_and_the_body_is_discarded_behind_it(path, status):
    reports = []
    got = upload(init_app(make_app(), on_report=reports.append), path)

    (report,) = reports
    assert got.status.startswith(status)
    assert ["start", "write", "end", "close", "read"] == [word.split()[0] for word in got.order]
    assert (Outcome.COMPLETE, MIB) == (report.outcome, report.bytes_discarded)


def test_the_413_of_max_content_length_leaves_nothing_behind():
    got = upload(
        init_app(make_app(MAX_CONTENT_LENGTH=1000)),
        "/form",
        CONTENT_TYPE="application/x-www-form-urlencoded",
    )

    assert got.status.startswith("413 ")
    assert MIB == got.source.given_bytes


def test_an_application_that_reads_gets_every_byte():
    got = upload(init_app(make_app()), "/read")

    assert str(MIB).encode() == got.body


def test_a_view_may_decline():
    reports = []
    upload(init_app(make_app(), on_report=reports.append), "/declined")

    assert [Outcome.DECLINED] == [report.outcome for report in reports]


def test_the_plain_middleware_works_too():
    app = make_app()
    app.wsgi_app = DrainMiddleware(app.wsgi_app)
    got = upload(app, "/redirect")

    assert MIB == got.source.given_bytes


def test_the_test_client_works():
    client = init_app(make_app()).test_client()

    assert b"5" == client.post("/read", data=b"bytes").data
    assert 302 == client.post("/redirect", data=b"bytes").status_code
    assert 404 == client.get("/nothing").status_code


def test_init_app_returns_the_application_and_registers_the_middleware():
    app = make_app()
    assert app is init_app(app)

    assert app.wsgi_app is app.extensions["drainkit"]
    assert isinstance(app.wsgi_app, DrainMiddleware)
    assert DrainPolicy() == app.wsgi_app.policy


# --- configuration -------------------------------------------------------------------------------


def test_the_configuration_goes_over_the_policy_and_the_policy_over_the_defaults():
    app = make_app(DRAINKIT_MAX_BYTES=None, DRAINKIT_IDLE_SECONDS=2)
    init_app(app, DrainPolicy(idle_seconds=3.0, max_seconds=7.0))

    expected = DrainPolicy(max_bytes=None, idle_seconds=2, max_seconds=7.0)
    assert expected == app.extensions["drainkit"].policy


def test_fields_are_taken_as_keywords_too():
    app = make_app(DRAINKIT_IDLE_SECONDS=2)
    init_app(app, DrainPolicy(max_seconds=7, idle_seconds=3), max_bytes=1, idle_seconds=4)

    expected = DrainPolicy(max_seconds=7, max_bytes=1, idle_seconds=2)
    assert expected == app.extensions["drainkit"].policy


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_can_be_configured(field):
    app = init_app(make_app(**{f"DRAINKIT_{field.upper()}": 7}))

    assert DrainPolicy(**{field: 7}) == app.extensions["drainkit"].policy


@pytest.mark.parametrize("value", ["7", -1, True, float("nan"), [], b"7"], ids=repr)
@pytest.mark.parametrize("field", FIELDS)
def test_a_bad_value_is_refused_with_the_name_of_its_key(field, value):
    key = f"DRAINKIT_{field.upper()}"
    app = make_app(**{key: value})

    with pytest.raises(ValueError, match=f"{key}.*{field} must be") as caught:
        init_app(app)
    assert repr(value) in str(caught.value)
    assert "drainkit" not in app.extensions


@pytest.mark.parametrize(
    "key", ["DRAINKIT", "DRAINKITS", "DRAINKIT_MAX_BYTE", "DRAINKIT_", "DRAINKIT_max_bytes"]
)
def test_an_unknown_key_is_refused_with_the_known_ones(key):
    with pytest.raises(ValueError, match=f"{key}.*DRAINKIT_MAX_BYTES, DRAINKIT_MAX_SECONDS"):
        init_app(make_app(**{key: 1}))


def test_keys_of_others_are_left_alone():
    init_app(make_app(MAX_BYTES="x", drainkit_max_bytes="x"))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((Flask("site").wsgi_app,), {}, "app must be a Flask application, not its wsgi_app; got"),
        ((Flask,), {}, "app must be a Flask application, not its class; got <class"),
        ((None,), {}, r"app must be a Flask application; got None\. Around any other"),
        ((Flask("site"), {"max_bytes": 1}), {}, "policy must be a DrainPolicy or None"),
        ((Flask("site"),), {"on_report": "print"}, "on_report must be a callable or None"),
        ((Flask("site"),), {"max_byte": 1}, "'max_byte' is no argument"),
    ],
)
def test_arguments_of_the_wrong_type_are_refused(arguments, options, message):
    with pytest.raises(TypeError, match=message):
        init_app(*arguments, **options)


@pytest.mark.parametrize("body", [b"", b"bytes"])
def test_middleware_around_the_application_that_calls_it_says_what_to_write(body):
    """It called itself until Python refused."""
    app = make_app(PROPAGATE_EXCEPTIONS=True)
    app.wsgi_app = DrainMiddleware(app)

    with pytest.raises(RuntimeError, match=r"app\.wsgi_app = DrainMiddleware\(app\.wsgi_app\), "):
        app.test_client().post("/read", data=body)


def test_middleware_around_the_whole_application_works():
    got = upload(DrainMiddleware(make_app()), "/redirect")

    assert ("302 FOUND", MIB) == (got.status, got.source.given_bytes)


def test_asgi_middleware_around_flask_says_what_to_write():
    asgi = pytest.importorskip("drainkit_asgi", reason="needs anyio")
    with pytest.raises(TypeError, match=r"Around a WSGI application write drainkit_wsgi\."):
        asgi.DrainMiddleware(make_app())


# --- twice ---------------------------------------------------------------------------------------


def test_a_second_call_that_changes_nothing_is_allowed():
    app = init_app(make_app(DRAINKIT_MAX_BYTES=5))
    first = app.wsgi_app
    init_app(app)

    assert first is app.wsgi_app


def test_a_second_call_is_recognized_behind_middleware_that_was_added_since():
    app = init_app(make_app())
    inner = app.wsgi_app
    app.wsgi_app = functools.partial(inner)
    outer = app.wsgi_app
    init_app(app)

    assert outer is app.wsgi_app


@pytest.mark.parametrize(
    ("arguments", "options"), [((DrainPolicy(max_bytes=6),), {}), ((), {"on_report": print})]
)
def test_a_second_call_that_would_change_something_is_refused(arguments, options):
    app = init_app(make_app())

    with pytest.raises(RuntimeError, match="around this application already"):
        init_app(app, *arguments, **options)


def test_a_middleware_that_stands_there_already_is_taken_over():
    app = make_app()
    app.wsgi_app = middleware = DrainMiddleware(app.wsgi_app)
    init_app(app)

    assert middleware is app.wsgi_app is app.extensions["drainkit"]


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["bare", "drainkit"])
def test_a_test_client_that_follows_a_308_sends_its_body_again(is_wrapped):
    """It lies in memory, and nothing is on a connection."""
    app = Flask("site")

    @app.post("/user/")
    def user():
        return request.form.to_dict()

    if is_wrapped:
        init_app(app)
    got = app.test_client().post("/user", data={"a": "b"}, follow_redirects=True)

    assert (200, {"a": "b"}) == (got.status_code, got.json)


def test_under_a_test_client_a_view_may_decline_as_on_a_server():
    got = init_app(make_app()).test_client().post("/declined", data=b"x")

    assert (401, "no") == (got.status_code, got.text)


def test_the_class_of_an_application_is_no_application():
    """It can be called with two arguments, and would make a Flask for each request."""
    with pytest.raises(TypeError, match=r"the class <class .*: make one of it, Flask\(\.\.\.\)"):
        DrainMiddleware(Flask)
