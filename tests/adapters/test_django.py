"""drainkit_django: the entry in ``MIDDLEWARE``, ``wsgi.py``, the setting and its system checks."""

import asyncio
import contextlib
import dataclasses
import logging
import pickle
import tempfile

import pytest

pytest.importorskip("django", reason="needs django")

import django
from django.conf import settings
from django.core import checks
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished
from django.core.wsgi import get_wsgi_application as django_wsgi_application
from django.http import FileResponse, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.test import AsyncRequestFactory, Client, RequestFactory, override_settings
from django.urls import path
from django.utils.decorators import async_only_middleware
from django.views.decorators.csrf import csrf_exempt

import drainkit_django
from drainkit import CONTROL_KEY, DrainPolicy, Outcome, process_budget
from drainkit.testing import ScriptedBody
from tests.adapters.async_reports import ASYNC_REPORTS
from tests.adapters.wsgi_server import KIB, MIB, FileWrapper, make_environ, serve

FIRST = "drainkit_django.DrainMiddleware"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"
FIELDS = [field.name for field in dataclasses.fields(DrainPolicy)]
PLACES = ["middleware", "wsgi", "both"]
BODY = [b"x" * 65536] * 16
BIG = b"r" * (64 * KIB + 1)

# What the views leave for the tests, and what on_report was told.
seen = []
reports = []


def keep(report):
    reports.append(report)


# --- the site ------------------------------------------------------------------------------------


@csrf_exempt
def read(request):
    return HttpResponse(str(len(request.body)))


@csrf_exempt
def read_some(request):
    return HttpResponse(request.read(10))


@csrf_exempt
def redirect(request):
    return HttpResponseRedirect("/login")


def form(request):
    return HttpResponse("no forgery")


@csrf_exempt
def fail(request):
    raise RuntimeError("before reading")


@csrf_exempt
def no_content(request):
    return HttpResponse(status=204)


@csrf_exempt
def big(request):
    return HttpResponse(BIG, status=413)


@csrf_exempt
def closing(request):
    """Answer with something that must be closed, and say when it is."""
    events = request.META["test.events"]
    response = HttpResponse("closing", status=401)
    close = response.close

    def closed():
        events.append("inner close")
        close()

    response.close = closed
    return response


class Pieces:
    """A stream that says when it is closed."""

    def __init__(self, events):
        self._pieces = iter([b"r" * 32 * KIB] * 4)
        self._events = events

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._pieces)

    def close(self):
        self._events.append("inner close")


@csrf_exempt
def stream(request):
    return StreamingHttpResponse(Pieces(request.META["test.events"]))


@csrf_exempt
def upper(request):
    return StreamingHttpResponse(piece.upper() for piece in iter(lambda: request.read(65536), b""))


@csrf_exempt
def async_stream(request):
    async def pieces():
        for _ in range(4):
            yield b"r" * 32 * KIB

    return StreamingHttpResponse(pieces(), status=413)


@csrf_exempt
def file(request):
    opened = tempfile.TemporaryFile()  # noqa: SIM115  # the response closes it
    opened.write(BIG)
    opened.seek(0)
    seen.append(opened)
    return FileResponse(opened)


@csrf_exempt
def declined(request):
    request.META[CONTROL_KEY].policy = None
    return HttpResponse("no", status=401)


def counted(request):
    seen.append("counted")
    return HttpResponse("counted")


urlpatterns = [
    path(f"{view.__name__}", view)
    for view in (
        read, read_some, redirect, form, fail, no_content, big, closing, stream, upper,
        async_stream, file, declined, counted,
    )
]  # fmt: skip

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="only for tests",
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["drainkit_django"],
        MIDDLEWARE=[FIRST, CSRF],
        DRAINKIT={"on_report": keep},
        USE_TZ=True,
        LOGGING_CONFIG=None,
    )
    django.setup()


@async_only_middleware
def async_middleware(get_response):
    async def middleware(request):
        return await get_response(request)

    return middleware


@pytest.fixture(autouse=True)
def nothing_told():
    seen.clear()
    reports.clear()


def application(place):
    entries = [CSRF] if place == "wsgi" else [FIRST, CSRF]
    with override_settings(MIDDLEWARE=entries):
        if place == "middleware":
            return django_wsgi_application()
        return drainkit_django.get_wsgi_application()


def upload(app, view, body=BODY, **more):
    environ = {"SCRIPT_NAME": "", "PATH_INFO": f"/{view}", "QUERY_STRING": "", **more}
    got = serve(app, body, wrap=None, **environ)
    if got.raised is not None:
        raise got.raised
    return got


# --- early answers -------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("view", "status"),
    [("redirect", 302), ("nothing", 404), ("form", 403), ("fail", 500), ("no_content", 204)],
)
def test_an_early_answer_goes_out_first_and_the_body_is_discarded_once(place, view, status):
    got = upload(application(place), view)

    (report,) = reports
    assert (status, Outcome.COMPLETE, MIB) == (
        report.status, report.outcome, report.bytes_discarded
    )  # fmt: skip
    assert ["start", "end", "close", "read"] == [e for e in got.order if not e.startswith("write")]


@pytest.mark.parametrize("place", PLACES)
def test_data_that_is_too_big_is_left_unread_by_django_and_discarded(place):
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=1000):
        got = upload(application(place), "read")

    assert got.status.startswith("400 ")
    assert [(0, MIB)] == [(report.bytes_read, report.bytes_discarded) for report in reports]


@pytest.mark.parametrize("place", PLACES)
def test_what_django_reads_counts(place):
    got = upload(application(place), "read_some")

    assert b"x" * 10 == got.body
    assert [(10, MIB - 10)] == [(report.bytes_read, report.bytes_discarded) for report in reports]


@pytest.mark.parametrize("place", PLACES)
def test_a_body_that_was_read_is_no_business_of_drainkit(place):
    got = upload(application(place), "read")

    assert str(MIB).encode() == got.body
    assert [] == reports


@pytest.mark.parametrize("place", PLACES)
def test_the_chunked_body_that_django_cannot_see_is_discarded(place):
    got = upload(
        application(place),
        "read",
        length=None,
        HTTP_TRANSFER_ENCODING="chunked",
        **{"wsgi.input_terminated": True},
    )

    assert (b"0", MIB) == (got.body, got.source.given_bytes)


@pytest.mark.parametrize("place", PLACES)
def test_a_whole_response_gets_the_length_that_it_lacks(place):
    got = upload(application(place), "redirect")

    assert ["0"] == got.header("content-length")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("view", "more"), [("no_content", {}), ("redirect", {"REQUEST_METHOD": "HEAD"})]
)
def test_a_response_without_content_gets_no_length(place, view, more):
    assert [] == upload(application(place), view, **more).header("content-length")


UPDATE = "django.middleware.cache.UpdateCacheMiddleware"
FETCH = "django.middleware.cache.FetchFromCacheMiddleware"


@pytest.mark.parametrize(
    "entries",
    [[UPDATE, FETCH], [FIRST, UPDATE, FETCH], [UPDATE, FIRST, FETCH], [UPDATE, FETCH, FIRST]],
    ids=["without drainkit", "outside", "between", "inside"],
)
def test_a_response_may_be_cached(entries):
    """A cache pickles it, wherever it stands, and answers the next request with it."""
    cache.clear()
    method = {"REQUEST_METHOD": "GET"}
    with override_settings(MIDDLEWARE=entries):
        app = django_wsgi_application()
        got = [upload(app, "counted", **method), upload(app, "counted", **method)]

    assert [b"counted", b"counted"] == [one.body for one in got]
    assert ["counted"] == seen
    # What the cache answers outside of drainkit, drainkit does not see.
    discarded = entries.count(FIRST) * (1 if entries[-1] == FIRST else 2)
    assert [Outcome.COMPLETE] * discarded == [report.outcome for report in reports]


@pytest.mark.parametrize("entries", [[], [FIRST]], ids=["without drainkit", "with"])
def test_a_closed_response_is_pickled_as_without_drainkit(entries):
    """As the tests of a site do with what they get."""
    environ, _ = make_environ(b"x" * 1000, [], REQUEST_METHOD="GET", SCRIPT_NAME="")
    environ["PATH_INFO"] = "/counted"
    with override_settings(MIDDLEWARE=entries):
        response = django_wsgi_application()(environ, lambda *start: None)
        response.close()
        pickled = pickle.dumps(response)
    restored = pickle.loads(pickled)
    restored.closed = False
    restored.close()

    assert (b"counted", True) == (restored.content, restored.closed)
    assert len(entries) == len(reports)
    assert b"drainkit" not in pickled


@pytest.mark.parametrize("place", PLACES)
def test_a_response_is_closed_once_and_before_the_body_is_discarded(place):
    got = upload(application(place), "closing")

    assert 1 == got.events.count("inner close")
    assert ["close", "inner close", "read"] == got.order[-3:]


def test_everything_that_waits_for_the_requests_end_comes_before_the_body():
    """Django gives its database connections back when it sends request_finished."""
    app = application("middleware")
    events = []

    def finished(**kwargs):
        events.append(len(reports))

    request_finished.connect(finished)
    try:
        upload(app, "redirect")
    finally:
        request_finished.disconnect(finished)

    assert ([0], 1) == (events, len(reports))


@pytest.mark.parametrize("place", [None, *PLACES])
def test_django_hears_of_a_requests_end_where_the_server_closes_no_list(place):
    """As granian does (granian/wsgi.py): it sends a list at once, and what else it gets it closes.

    Django then gives its database connections back; with `place` ``None`` it is bare.
    """
    app = django_wsgi_application() if place is None else application(place)
    environ, _ = make_environ(b"", [], REQUEST_METHOD="GET", PATH_INFO="/redirect", SCRIPT_NAME="")
    events = []

    def finished(**kwargs):
        events.append("finished")

    request_finished.connect(finished)
    try:
        result = app(environ, lambda status, headers, exc_info=None: None)
        if not isinstance(result, list):
            result.close()
    finally:
        request_finished.disconnect(finished)

    assert ["finished"] == events


@pytest.mark.parametrize("place", PLACES)
def test_a_view_may_decline(place):
    got = upload(application(place), "declined")

    assert [Outcome.DECLINED] == [report.outcome for report in reports]
    assert 0 == got.source.given_bytes


# --- big answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_a_big_page_waits_for_the_body(place):
    """A strict client would not read it before it has written everything."""
    got = upload(application(place), "big")

    assert got.order.index("read") < got.order.index(f"write {len(BIG)}")
    assert [str(len(BIG))] == got.header("content-length")
    assert BIG == got.body


@pytest.mark.parametrize("place", PLACES)
def test_a_stream_waits_for_the_body_before_its_second_buffer(place):
    got = upload(application(place), "stream")

    assert b"r" * 128 * KIB == got.body
    assert ["start", "write 32768", "read", "write 32768"] == got.order[:4]
    assert 1 == got.events.count("inner close")
    assert [Outcome.COMPLETE] == [report.outcome for report in reports]


@pytest.mark.parametrize("place", PLACES)
def test_a_streaming_transform_loses_no_byte(place):
    got = upload(application(place), "upper")

    assert b"X" * MIB == got.body
    assert [] == reports


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous")
@pytest.mark.parametrize("place", PLACES)
def test_an_asynchronous_stream_is_consumed_as_django_does(place):
    got = upload(application(place), "async_stream")

    assert b"r" * 128 * KIB == got.body
    assert [Outcome.COMPLETE] == [report.outcome for report in reports]
    assert 0 == process_budget.taken_bytes


@pytest.mark.parametrize("place", PLACES)
def test_a_file_is_handed_to_the_server_behind_the_body_and_closed(place):
    got = upload(application(place), "file")

    assert isinstance(got.result, FileWrapper)
    assert got.order.index("read") < got.order.index("close")
    assert BIG == got.body
    assert seen[0].closed


@pytest.mark.parametrize("place", PLACES)
def test_a_file_is_streamed_by_a_server_without_file_wrapper_and_closed(place):
    got = upload(application(place), "file", **{"wsgi.file_wrapper": None})

    assert BIG == got.body
    assert seen[0].closed
    assert [Outcome.COMPLETE] == [report.outcome for report in reports]


def test_a_response_that_was_closed_can_be_pickled():
    """As without drainkit: DRF's own tests put one into a cache."""
    got = upload(application("middleware"), "redirect")
    again = pickle.loads(pickle.dumps(got.result))

    assert [Outcome.COMPLETE] == [report.outcome for report in reports]
    assert got.body == again.content
    assert "close" not in vars(again)


def test_a_response_has_its_own_close_again_behind_drainkit():
    got = upload(application("middleware"), "closing")
    got.result.close()

    assert 2 == got.order.count("inner close")


@pytest.mark.parametrize("software", ["Werkzeug/3.1"])
def test_where_the_server_discards_before_close_drainkit_comes_first(software):
    got = upload(application("middleware"), "redirect", SERVER_SOFTWARE=software)

    assert got.order.index("read") < got.order.index("close")


@pytest.mark.parametrize("place", PLACES)
def test_a_worker_that_is_being_ended_reads_nothing(place):
    """In the middle of an answer gunicorn's worker raises SystemExit, and then closes it."""
    events = []
    environ, source = make_environ(BODY, events, server="gunicorn", SCRIPT_NAME="")
    environ |= {"PATH_INFO": "/stream", "test.events": events}
    result = application(place)(environ, lambda status, headers, exc_info=None: None)
    next(iter(result))
    with pytest.raises(SystemExit), contextlib.closing(result):
        raise SystemExit(0)

    assert (0, ["inner close"]) == (source.given_bytes, events)
    assert [(Outcome.ERROR, "SystemExit")] == [(one.outcome, one.detail) for one in reports]


# --- exceptions and asynchronous middleware ------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_an_exception_that_leaves_django_leaves_no_body(place):
    propagate = override_settings(DEBUG_PROPAGATE_EXCEPTIONS=True)
    with propagate, pytest.raises(RuntimeError, match="before reading"):
        upload(application(place), "fail")

    assert [(None, MIB)] == [(report.status, report.bytes_discarded) for report in reports]


@pytest.mark.parametrize("view", ["redirect", "big", "stream", "fail"])
def test_asynchronous_middleware_under_wsgi_changes_nothing(view):
    with override_settings(MIDDLEWARE=[FIRST, f"{__name__}.async_middleware"]):
        upload(django_wsgi_application(), view)

    assert [(Outcome.COMPLETE, MIB)] == [(r.outcome, r.bytes_discarded) for r in reports]


def test_an_exception_through_asynchronous_middleware_leaves_no_body():
    entries = [FIRST, f"{__name__}.async_middleware"]
    propagate = override_settings(MIDDLEWARE=entries, DEBUG_PROPAGATE_EXCEPTIONS=True)
    with propagate, pytest.raises(RuntimeError, match="before reading"):
        upload(django_wsgi_application(), "fail")

    assert [(None, MIB)] == [(report.status, report.bytes_discarded) for report in reports]


def test_two_entries_drain_once():
    with override_settings(MIDDLEWARE=[FIRST, FIRST]):
        upload(django_wsgi_application(), "redirect")

    assert 1 == len(reports)


def test_a_request_that_was_never_announced_is_left_alone():
    request = RequestFactory().post("/redirect", b"body", content_type="text/plain")
    response = drainkit_django.DrainMiddleware(lambda request: HttpResponse("ok"))(request)

    assert b"ok" == response.content
    assert [] == reports


# --- the test client -----------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["redirect", "stream", "file", "big"])
def test_djangos_test_client_works(view):
    environ = {"test.events": []}
    response = Client().post(f"/{view}", b"x" * 1000, content_type="text/plain", **environ)
    if response.streaming:
        b"".join(response.streaming_content)

    assert [] == reports, "nothing is on a connection"


def test_djangos_test_client_reads_what_it_sent():
    response = Client().post("/read", b"x" * 1000, content_type="text/plain")

    assert b"1000" == response.content


# --- ASGI ----------------------------------------------------------------------------------------


def test_under_asgi_it_does_nothing_and_says_so_once(caplog):
    drainkit_django._middleware._say_that_asgi_needs_nothing.cache_clear()
    app = ASGIHandler()

    async def request():
        body = ScriptedBody(BODY)
        sent = []

        async def send(message):
            sent.append(message)

        async def receive():
            if body.given_bytes == MIB:
                await asyncio.Event().wait()  # the client stays
            return await body.receive()

        scope = {"type": "http", "method": "POST", "path": "/redirect", "headers": []}
        await app({**scope, "query_string": b"", "http_version": "1.1"}, receive, send)
        return sent[0]["status"], body.given_bytes

    with caplog.at_level(logging.INFO, "drainkit"):
        for _ in range(2):
            assert (302, MIB) == asyncio.run(request())

    told = [r.getMessage() for r in caplog.records if r.name.startswith("drainkit")]
    assert 1 == len(told)
    assert "does nothing under ASGI" in told[0]
    assert [] == reports


def test_its_asynchronous_half_passes_asgi_requests_on():
    async def inside(request):
        return HttpResponse("ok")

    middleware = drainkit_django.DrainMiddleware(inside)
    request = AsyncRequestFactory().post("/redirect", b"x", content_type="text/plain")

    assert b"ok" == asyncio.run(middleware(request)).content


# --- the setting ---------------------------------------------------------------------------------


def test_the_setting_makes_the_policy():
    with override_settings(DRAINKIT={"max_bytes": None, "idle_seconds": 2}):
        app = drainkit_django.get_wsgi_application()

    assert DrainPolicy(max_bytes=None, idle_seconds=2) == app.policy
    assert app.on_report is None


def test_without_the_setting_the_defaults_hold():
    with override_settings():
        del settings.DRAINKIT
        drainkit_django._settings.configuration.cache_clear()
        app = drainkit_django.get_wsgi_application()
        drainkit_django._settings.configuration.cache_clear()

    assert DrainPolicy() == app.policy


def test_the_setting_bounds_the_entry_in_middleware():
    with override_settings(DRAINKIT={"max_bytes": 1000, "on_report": keep}):
        upload(django_wsgi_application(), "redirect")

    assert [Outcome.BYTE_LIMIT] == [report.outcome for report in reports]


@pytest.mark.parametrize("on_report", ASYNC_REPORTS.values(), ids=ASYNC_REPORTS)
@pytest.mark.parametrize(
    "make",
    [drainkit_django.get_wsgi_application, django_wsgi_application],
    ids=["wsgi", "middleware"],
)
def test_an_asynchronous_on_report_is_refused(make, on_report):
    with (
        override_settings(DRAINKIT={"on_report": on_report}),
        pytest.raises(ImproperlyConfigured, match="nobody would await it"),
    ):
        make()


def test_on_report_may_be_a_dotted_path():
    with override_settings(DRAINKIT={"on_report": f"{__name__}.keep"}):
        upload(django_wsgi_application(), "redirect")

    assert 1 == len(reports)


async def told_later(report):
    """Take a report, if somebody awaits it."""


POLICY = DrainPolicy(max_bytes=5, idle_seconds=2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (POLICY, (POLICY, None)),
        ({"policy": POLICY, "on_report": keep}, (POLICY, keep)),
        ({"max_bytes": 6, "policy": POLICY}, (dataclasses.replace(POLICY, max_bytes=6), None)),
    ],
)
def test_a_policy_may_stand_in_the_setting_or_be_it(value, expected):
    with override_settings(DRAINKIT=value):
        app = drainkit_django.get_wsgi_application()

        assert expected == (app.policy, app.on_report)
        assert [] == checks.run_checks(tags=["drainkit"])


BAD = [
    *(({field: value}, "E003") for field in FIELDS for value in ("7", -1, True, float("nan"), [])),
    ({"max_byte": 1}, "E002"),
    ({"MAX_BYTES": 1}, "E002"),
    ({1: 1}, "E002"),
    ({"on_report": "no.such.module"}, "E004"),
    ({"on_report": "print"}, "E004"),
    ({"on_report": f"{__name__}.no_such_name"}, "E004"),
    ({"on_report": f"{__name__}.BODY"}, "E004"),
    ({"on_report": 5}, "E004"),
    ({"on_report": f"{__name__}.told_later"}, "E004"),
    ({"policy": {"max_bytes": 1}}, "E003"),
    ({"policy": None}, "E003"),
    ([("max_bytes", 1)], "E001"),
    (None, "E001"),
    ("max_bytes", "E001"),
]


@pytest.mark.parametrize(("value", "check_id"), BAD, ids=[str(value) for value, _ in BAD])
def test_a_bad_setting_is_refused_and_found_by_the_check(value, check_id):
    with override_settings(DRAINKIT=value):
        for make in (WSGIHandler, drainkit_django.get_wsgi_application):
            with pytest.raises(ImproperlyConfigured) as caught:
                make()
        (found,) = checks.run_checks(tags=["drainkit"])
    text = str(caught.value)

    assert f"drainkit.{check_id}" == found.id
    assert found.is_serious()
    assert found.hint
    assert f"{found.msg} {found.hint}" == text
    if isinstance(value, dict):
        ((key, item),) = value.items()
        assert f"settings.DRAINKIT[{key!r}]" in text
        assert repr(item) in text
    else:
        assert repr(value) in text


def test_all_that_is_wrong_is_told_at_once():
    wrong = override_settings(DRAINKIT={"max_bytes": "1", "idle_second": 1})
    with wrong, pytest.raises(ImproperlyConfigured, match=r"'max_bytes'.*'idle_second'"):
        WSGIHandler()


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("DRAINKIT_MAX_SECONDS", "{'max_seconds': ...}"),
        ("DRAINKIT_ON_REPORT", "{'on_report': ...}"),
        ("DRAINKIT_MAX_BYTE", "{'max_bytes': ...}"),
        ("DRAINKITS", "{'max_bytes': ...}"),
    ],
)
def test_a_setting_of_another_name_is_refused_with_the_right_one(name, written):
    with override_settings(**{name: 1}):
        for make in (WSGIHandler, drainkit_django.get_wsgi_application):
            with pytest.raises(ImproperlyConfigured) as caught:
                make()
        (found,) = checks.run_checks(tags=["drainkit"])

    assert "drainkit.E005" == found.id
    told = f"settings.{name} is not known to drainkit; its value is 1. "
    assert f"{told}Write DRAINKIT = {written} instead." == str(caught.value)


# --- the other checks ----------------------------------------------------------------------------


def found(**changed):
    with override_settings(**changed):
        return [message.id for message in checks.run_checks(tags=["drainkit"])]


def test_a_good_site_passes_the_checks():
    assert [] == found()


def test_not_being_first_is_found():
    assert ["drainkit.W001"] == found(MIDDLEWARE=[CSRF, FIRST])


def test_being_useless_under_asgi_is_found():
    assert ["drainkit.W002"] == found(ASGI_APPLICATION="site.asgi.application")


@pytest.mark.parametrize(
    "entry",
    [
        "drainkit_wsgi.DrainMiddleware",
        "drainkit_asgi.DrainMiddleware",
        "drainkit_starlette.DrainMiddleware",
    ],
)
def test_middleware_of_another_world_does_not_start_and_is_found(entry):
    pytest.importorskip(entry.partition(".")[0], reason="needs starlette")
    with (
        override_settings(MIDDLEWARE=[entry, CSRF]),
        pytest.raises(TypeError, match=r"In Django's MIDDLEWARE write 'drainkit_django\."),
    ):
        WSGIHandler()

    assert ["drainkit.E006"] == found(MIDDLEWARE=[entry, CSRF])
    assert ["drainkit.E006"] == found(MIDDLEWARE=[FIRST, entry])


@pytest.mark.parametrize("entry", ["drainkit_django.Middleware", "drainkit_flask.init_app"])
def test_another_name_of_drainkit_in_middleware_is_found(entry):
    assert ["drainkit.E006"] == found(MIDDLEWARE=[entry, CSRF])


@pytest.mark.parametrize(
    ("middleware", "told"),
    [
        (None, "settings.MIDDLEWARE must be a list of dotted paths; got None."),
        (FIRST, f"settings.MIDDLEWARE must be a list of dotted paths; got {FIRST!r}."),
        ([None], "None in settings.MIDDLEWARE is no dotted path."),
        (
            [drainkit_django.DrainMiddleware],
            f"{drainkit_django.DrainMiddleware!r} in settings.MIDDLEWARE is no dotted path.",
        ),
        (
            ["drainkit_django._middleware.DrainMiddleware"],
            "'drainkit_django._middleware.DrainMiddleware' in settings.MIDDLEWARE is drainkit's "
            "middleware by a name that may change.",
        ),
        (
            ["drainkit_wsgi.DrainMiddleware"],
            "'drainkit_wsgi.DrainMiddleware' in settings.MIDDLEWARE is no middleware for Django.",
        ),
    ],
)
def test_what_is_no_dotted_path_is_found_with_the_cure(middleware, told):
    with override_settings(MIDDLEWARE=middleware):
        (one,) = checks.run_checks(tags=["drainkit"])

    assert ("drainkit.E006", told) == (one.id, one.msg)
    assert FIRST in one.hint


@pytest.mark.parametrize("value", [None, "no.such.module", "nodots", ".dots", "django.VERSION"])
def test_missing_from_middleware_is_found(value):
    assert ["drainkit.W003"] == found(MIDDLEWARE=[CSRF], WSGI_APPLICATION=value)


def test_missing_from_middleware_is_fine_when_wsgi_py_wraps(tmp_path, monkeypatch):
    (tmp_path / "wrapping.py").write_text("import drainkit_django\nraise RuntimeError\n")
    (tmp_path / "plain.py").write_text("raise RuntimeError\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert [] == found(MIDDLEWARE=[CSRF], WSGI_APPLICATION="wrapping.application")
    assert ["drainkit.W003"] == found(MIDDLEWARE=[CSRF], WSGI_APPLICATION="plain.application")


# --- Django REST framework -----------------------------------------------------------------------


def test_a_stranger_to_rest_framework_is_told_so():
    pytest.importorskip("rest_framework", reason="needs djangorestframework")
    with override_settings(REST_FRAMEWORK={"UNAUTHENTICATED_USER": None}):
        from rest_framework.permissions import BasePermission
        from rest_framework.views import APIView

        class Nobody(BasePermission):
            def has_permission(self, request, view):
                return False

        class Api(APIView):
            authentication_classes = ()
            permission_classes = (Nobody,)

            def post(self, request):
                return HttpResponse(request.body)

        urlpatterns.append(path("api", Api.as_view()))
        try:
            django.urls.clear_url_caches()
            got = upload(application("middleware"), "api")
        finally:
            urlpatterns.pop()
            django.urls.clear_url_caches()

    assert got.status.startswith("403 ")
    assert [MIB] == [report.bytes_discarded for report in reports]
