"""Rules 1, 2 and 5 of the design's section 5: what must reach the server as it was made."""

import io
import types

import pytest

from drainkit import CONTROL_KEY, DrainPolicy, Outcome
from drainkit_wsgi import DrainMiddleware
from tests.adapters.wsgi_server import (
    KIB,
    Exchange,
    FileWrapper,
    Result,
    answering,
    generator,
    make_environ,
    serve,
)

# --- rule 1: eager, and an object -----------------------------------------------------------------


def called(app, **request):
    """Call the middleware as a server does, and no more than that; return its result."""
    events = []
    environ, source = make_environ(b"x" * 1000, events, **request)
    environ["test.events"] = events
    exchange = Exchange(environ, source, events)

    def start_response(status, headers, exc_info=None):
        exchange.status, exchange.headers = status, headers
        return exchange.chunks.append

    middleware = DrainMiddleware(app, on_report=exchange.reports.append)
    exchange.result = middleware(environ, start_response)
    return exchange


@pytest.mark.parametrize("make", [None, Result, generator], ids=["list", "iterable", "generator"])
def test_the_status_is_known_when_the_call_returns(make):
    """Granian takes the status before it asks for an item: a generator would make it 200."""
    got = called(answering(b"no", make=make))

    assert "413 Content Too Large" == got.status
    assert not isinstance(got.result, types.GeneratorType)
    got.result.close()


def test_the_application_runs_in_the_call_and_not_in_the_iteration():
    ran = []

    def app(environ, start_response):
        ran.append(True)
        return answering(b"no")(environ, start_response)

    got = called(app)

    assert [True] == ran
    assert [] == got.chunks
    got.result.close()


@pytest.mark.parametrize("make", [Result, generator], ids=["iterable", "generator"])
def test_the_result_is_an_iterator_of_itself(make):
    got = called(answering(b"a", b"b", make=make))

    assert got.result is iter(got.result)
    assert [b"a", b"b"] == list(got.result)
    got.result.close()


@pytest.mark.parametrize("make", [None, lambda environ, chunks: chunks], ids=["list", "tuple"])
def test_a_server_may_ask_a_whole_answer_how_many_items_it_has(make):
    """PEP 3333: it may give an answer of one item the Content-Length that it lacks."""
    got = called(answering(b"a", b"b", make=make))

    assert (2, [b"a", b"b"]) == (len(got.result), list(got.result))
    got.result.close()

    assert Outcome.COMPLETE == got.outcome


def test_what_must_be_closed_is_no_list():
    """Granian joins a list, and closes none."""
    assert not isinstance(called(answering(b"a")).result, (list, tuple))


# --- rule 2: nothing to do ------------------------------------------------------------------------


NO_BODY = {
    "no length": {"length": None},
    "length 0": {"length": 0},
    "empty length": {"length": ""},
    "empty, and input_terminated": {"length": None, "wsgi.input_terminated": True},
}


@pytest.mark.parametrize("request_fields", NO_BODY.values(), ids=NO_BODY)
def test_without_a_body_nothing_is_wrapped_and_the_very_result_returned(request_fields):
    """Gunicorn sets wsgi.input_terminated on every GET too: the headers decide."""
    seen = {}

    def app(environ, start_response):
        seen.update(environ)
        start_response("200 OK", [])
        seen["result"] = result = Result(environ, [b"ok"])
        seen["start_response"] = start_response
        return result

    got = serve(app, b"", **request_fields)

    assert seen["result"] is got.result
    assert got.environ["wsgi.input"] is seen["wsgi.input"]
    assert "Body" == type(seen["wsgi.input"]).__name__
    assert CONTROL_KEY not in seen
    assert "serve." in seen["start_response"].__qualname__
    assert [] == got.reports
    assert [] == got.headers


def test_without_a_body_the_input_is_not_touched():
    assert ["start", "write 2", "end", "close", "inner close"] == serve(
        answering(b"no", make=Result), b"", length=0
    ).order


@pytest.mark.parametrize("protocol", ["HTTP/2", "HTTP/2.0", "HTTP/3"])
def test_http_2_needs_no_header_field_for_a_body(protocol):
    got = serve(
        answering(b"no"),
        length=None,
        **{"SERVER_PROTOCOL": protocol, "wsgi.input_terminated": True},
    )

    assert (Outcome.COMPLETE, 1000, protocol) == (
        got.outcome,
        got.report.bytes_discarded,
        got.report.protocol,
    )


def read_some(stream):
    while stream.read(300):
        pass


def read_lines(stream):
    while stream.readline():
        pass


READERS = {
    "read()": lambda stream: stream.read(),
    "read(-1)": lambda stream: stream.read(-1),
    "read(n) of the length": lambda stream: stream.read(1000),
    "read(n) of more": lambda stream: stream.read(5000),
    "read(n) in a loop": read_some,
    "readline() in a loop": read_lines,
    "readline(n) in a loop": lambda stream: list(iter(lambda: stream.readline(7), b"")),
    "readlines()": lambda stream: stream.readlines(),
    "iteration": list,
    "iter() and next()": lambda stream: [*iter(stream)],
}
CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True, "length": None}


# The end of a chunked body shows only behind its last byte.
TO_THE_END = [name for name in READERS if not name.startswith("read(n) of")]


@pytest.mark.parametrize(
    ("name", "request_fields"),
    [
        *(pytest.param(name, {}, id=f"{name}, length") for name in READERS),
        *(pytest.param(name, CHUNKED, id=f"{name}, chunked") for name in TO_THE_END),
    ],
)
def test_with_the_body_read_the_very_result_is_returned(name, request_fields):
    """wsgi.file_wrapper and what a server recognizes in a result survive."""
    read = READERS[name]
    seen = []

    def app(environ, start_response):
        read(environ["wsgi.input"])
        start_response("200 OK", [])
        seen.append(Result(environ, [b"ok"]))
        return seen[0]

    got = serve(app, [b"line\n" * 150, b"y" * 250], **request_fields)

    assert got.raised is None
    assert seen[0] is got.result
    assert [] == got.reports
    assert 1000 == got.source.given_bytes


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_the_application_gets_what_the_servers_stream_gives(read):
    script = [b"a\nbc\n", b"def\n\ng" * 50]
    given = []
    for wrap in (DrainMiddleware, None):

        def app(environ, start_response):
            given.append(read(environ["wsgi.input"]))
            start_response("200 OK", [])
            return []

        assert serve(app, list(script), wrap=wrap).raised is None

    assert given[1] == given[0]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("read", lambda stream: stream.read(400)),
        ("readline", lambda stream: stream.readline(400)),
        ("readlines", lambda stream: stream.readlines(1)),
        ("iteration", lambda stream: next(iter(stream))),
    ],
)
def test_what_the_application_left_is_discarded_whatever_it_read_with(name, read):
    def app(environ, start_response):
        read(environ["wsgi.input"])
        return answering(b"no")(environ, start_response)

    got = serve(app, [b"x" * 399 + b"\n", b"y" * 600])

    assert (Outcome.COMPLETE, 400, 600) == (
        got.outcome,
        got.report.bytes_read,
        got.report.bytes_discarded,
    )


def test_the_size_of_a_read_may_be_a_keyword():
    """PEP 3333 knows none, and gunicorn's and cheroot's streams take it."""

    def app(environ, start_response):
        stream = environ["wsgi.input"]
        return answering(stream.read(size=2), stream.readline(size=3))(environ, start_response)

    assert b"abcde" == serve(app, b"abcdefgh").body


def test_a_read_of_nothing_is_not_the_end_of_a_chunked_body():
    def app(environ, start_response):
        environ["wsgi.input"].read(0)
        environ["wsgi.input"].readline(0)
        return answering(b"no")(environ, start_response)

    assert 1000 == serve(app, **CHUNKED).report.bytes_discarded


class Buffered(io.BytesIO):
    """The input of wsgiref and werkzeug: a buffered reader with more ways to read than WSGI has."""


def test_ways_to_read_beyond_wsgi_are_counted_or_absent():
    """Werkzeug's LimitedStream, and with it Flask, reads with readinto() where there is one."""

    def app(environ, start_response):
        stream = environ["wsgi.input"]
        into = bytearray(1000)
        if hasattr(stream, "readinto"):
            stream.readinto(into)
        else:
            stream.read(1000)
        return answering(b"ok", status="200 OK")(environ, start_response)

    stream = Buffered(b"x" * 1000 + b"GET /next HTTP/1.1")
    got = serve(app, **{"wsgi.input": stream})

    assert [] == got.reports
    assert b"GET /next HTTP/1.1" == stream.read()


@pytest.mark.parametrize("name", ["read1", "readinto1", "peek", "readall"])
def test_no_other_way_to_read_goes_uncounted(name):
    """A byte read uncounted is a byte of the next request discarded."""

    def app(environ, start_response):
        method = getattr(environ["wsgi.input"], name, None)
        if method is not None:
            method(bytearray(100)) if name == "readinto1" else method(100)
        return answering(b"ok", status="200 OK")(environ, start_response)

    stream = io.BufferedReader(io.BytesIO(b"x" * 1000 + b"GET /next HTTP/1.1"))
    serve(app, **{"wsgi.input": stream})

    assert b"GET /next HTTP/1.1" == stream.read()


def test_what_else_a_servers_stream_has_is_still_there():
    seen = []

    def app(environ, start_response):
        seen.append(environ["wsgi.input"].extra)
        seen.append(hasattr(environ["wsgi.input"], "missing"))
        return answering(b"ok")(environ, start_response)

    class Extra(io.BytesIO):
        extra = "of this server"

    serve(app, **{"wsgi.input": Extra(b"x" * 1000)})

    assert ["of this server", False] == seen


# --- rule 5: sendfile -----------------------------------------------------------------------------


def serving_a_file(read=0):
    def app(environ, start_response):
        if read:
            environ["wsgi.input"].read(read)
        start_response("200 OK", [("Content-Length", "300000")])
        environ["test.file"] = environ["wsgi.file_wrapper"](io.BytesIO(b"f" * 300_000))
        return environ["test.file"]

    return app


@pytest.mark.parametrize("read", [0, 300], ids=["untouched", "touched"])
def test_a_wrapped_file_is_returned_untouched_and_the_body_discarded_before_it(read):
    """It is large as a rule, and a server recognizes it by its class."""
    got = serve(serving_a_file(read))

    assert got.environ["test.file"] is got.result
    assert isinstance(got.result, FileWrapper)
    assert "read" not in got.order[got.order.index("write 8192") :]
    assert (1000 - read, b"f" * 300_000) == (got.report.bytes_discarded, got.body)


def test_a_file_wrapper_that_is_a_function_is_no_reason_to_fail():
    got = serve(serving_a_file(), **{"wsgi.file_wrapper": lambda file: iter([file.read()])})

    assert (None, b"f" * 300_000) == (got.raised, got.body)
    assert Outcome.COMPLETE == got.outcome


def test_a_file_that_uwsgi_would_hand_to_sendfile_is_returned_untouched():
    """Its file_wrapper is a function that returns the file."""
    got = serve(serving_a_file(), **{"wsgi.file_wrapper": lambda file: file})

    assert got.environ["test.file"] is got.result
    assert (Outcome.COMPLETE, 1000) == (got.outcome, got.report.bytes_discarded)


# --- the middleware itself ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((None,), "app must be a WSGI application"),
        ((answering(), 5), "policy must be a DrainPolicy or None; got 5"),
        ((answering(), {"max_bytes": 5}), "policy must be a DrainPolicy"),
    ],
)
def test_a_middleware_made_wrongly_says_so_at_once(arguments, named):
    with pytest.raises(TypeError, match=named):
        DrainMiddleware(*arguments)


def test_fields_are_taken_as_keywords_too():
    middleware = DrainMiddleware(answering(), None, max_bytes=3)

    assert DrainPolicy(max_bytes=3) == middleware.policy


def test_on_report_must_be_callable():
    with pytest.raises(TypeError, match="on_report must be a callable or None; got 5"):
        DrainMiddleware(answering(), on_report=5)


def test_on_report_is_given_by_name_only():
    with pytest.raises(TypeError, match="positional"):
        DrainMiddleware(answering(), DrainPolicy(), print)


def test_the_report_says_whose_request_it_was_and_no_query():
    report = serve(answering(b"no"), b"x" * (2 * KIB), server="gunicorn").report

    expected = ("HTTP/1.1", "gunicorn", "POST", "/site/upload", 413, 2048, 2048)
    assert expected == (
        report.protocol,
        report.server,
        report.method,
        report.path,
        report.status,
        report.declared_bytes,
        report.bytes_discarded,
    )


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, [("X-A", "b")]),
        ("200 OK", [(1, "b")]),
        ("200 OK", [("X-A",)]),
        ("200 OK", [("Content-Length", 1)]),
        ("200 OK", [("Content-Length", "1" * 5000)]),
        ("200 OK", None),
    ],
)
@pytest.mark.parametrize("read", [True, False])
def test_a_start_that_is_no_such_thing_reaches_the_server_which_says_so(status, headers, read):
    """An error that is raised inside drainkit would send people the wrong way."""
    given = []
    reports = []

    def refuse(*arguments):
        given.append(arguments)
        raise AssertionError("so the server says")

    def app(environ, start_response):
        if read:
            environ["wsgi.input"].read()
        start_response(status, headers)
        return [b"x"]

    environ, _ = make_environ(b"x" * 1000, [], server="gunicorn")
    with pytest.raises(AssertionError, match="so the server says"):
        DrainMiddleware(app, on_report=reports.append)(environ, refuse)

    assert [(status, headers)] == given
    assert ([] if read else [Outcome.COMPLETE]) == [report.outcome for report in reports]


@pytest.mark.parametrize("body_bytes", [1000, 100_000])
def test_headers_that_can_be_read_once_reach_the_server(body_bytes):
    """PEP 3333 asks for a list, and gunicorn and werkzeug take an iterator, too."""
    given = []

    def app(environ, start_response):
        start_response("401 Unauthorized", iter([("X-A", "b"), ("Content-Length", "2")]))
        return [b"no"]

    environ, _ = make_environ(b"x" * body_bytes, [], server="gunicorn")
    result = DrainMiddleware(app)(environ, lambda status, headers: given.extend(headers))
    result.close()

    assert [("X-A", "b"), ("Content-Length", "2")] == given
