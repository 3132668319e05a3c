"""Rules 7 and 10 of the design's section 5: what must not be read, and who may say so."""

import contextlib
import functools
import io
import sys
import types

import pytest

from drainkit import CONTROL_KEY, DrainControl, DrainPolicy, Outcome, process_capacity
from drainkit.testing import Disconnect, ScriptedBody, Silence
from drainkit_wsgi import DrainMiddleware, Exchange
from tests.adapters.wsgi_server import (
    Result,
    answering,
    generator,
    input_class,
    reachable,
    serve,
)

NO = answering(b"no")


# --- rule 7: never past what is framed ------------------------------------------------------------


CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked", "length": None}


def test_a_chunked_body_is_discarded_where_the_server_ends_it():
    got = serve(NO, [b"x" * 700, b"y" * 300], **CHUNKED, **{"wsgi.input_terminated": True})

    assert (Outcome.COMPLETE, 1000, None) == (
        got.outcome,
        got.report.bytes_discarded,
        got.report.declared_bytes,
    )


@pytest.mark.parametrize("terminated", [{}, {"wsgi.input_terminated": False}], ids=["absent", "no"])
@pytest.mark.parametrize("make", [None, generator], ids=["list", "generator"])
def test_a_chunked_body_that_nobody_ends_is_not_read(make, terminated):
    """On such a server a read gives the raw connection, and with it the next request."""
    got = serve(answering(b"no", make=make), **CHUNKED, **terminated)

    assert (Outcome.UNFRAMED, b"no") == (got.outcome, got.body)
    assert "the server does not end chunked bodies" == got.report.detail
    assert "read" not in got.events


def test_content_length_is_never_exceeded():
    body = ScriptedBody([b"x" * 1000, b"GET /next HTTP/1.1"])
    got = serve(NO, body, length=1000)

    assert (Outcome.COMPLETE, 1000, 1000) == (
        got.outcome,
        got.report.bytes_discarded,
        body.given_bytes,
    )


@pytest.mark.parametrize(
    "length", ["abc", "-1", "1,2", "+5", "\uff11", "1" * 5000, "0x10", "1_000", " "], ids=ascii
)
@pytest.mark.parametrize("make", [None, Result, generator], ids=["list", "iterable", "generator"])
def test_a_bad_content_length_costs_nobody_the_answer_and_nothing_is_read(make, length):
    got = serve(answering(b"bad request", make=make), CONTENT_LENGTH=length)

    assert (None, b"bad request", Outcome.UNFRAMED) == (got.raised, got.body, got.outcome)
    assert "read" not in got.events
    assert "Content-Length" in got.report.detail


def test_transfer_encoding_in_http_1_0_is_not_read():
    got = serve(NO, **CHUNKED, **{"wsgi.input_terminated": True, "SERVER_PROTOCOL": "HTTP/1.0"})

    assert (Outcome.UNFRAMED, "read" in got.events) == (got.outcome, False)


@pytest.mark.parametrize("protocol", ["HTTP/1.0", "INCLUDED", ""])
def test_a_length_is_believed_in_every_protocol(protocol):
    assert Outcome.COMPLETE == serve(NO, SERVER_PROTOCOL=protocol).outcome


def test_a_request_without_input_is_passed_on():
    def without_input(app, policy, on_report):
        def call(environ, start_response):
            del environ["wsgi.input"]
            return DrainMiddleware(app, policy, on_report=on_report)(environ, start_response)

        return call

    got = serve(NO, wrap=without_input)

    assert (None, b"no") == (got.raised, got.body)


class Malformed:
    """A server's stream that finds the body malformed."""

    def __init__(self, error):
        self.error = error

    def read(self, size=-1):
        raise self.error


@pytest.mark.parametrize("size", [2, 100_000], ids=["small", "big"])
@pytest.mark.parametrize("make", [None, generator], ids=["list", "generator"])
@pytest.mark.parametrize(
    ("error", "outcome", "detail"),
    [
        (ValueError("bad chunk"), Outcome.ERROR, "ValueError: bad chunk"),
        (ConnectionResetError("gone"), Outcome.DISCONNECTED, "gone"),
        (OSError("invalid chunk"), Outcome.DISCONNECTED, "invalid chunk"),
        (TimeoutError("timed out"), Outcome.IDLE, "timed out"),
    ],
    ids=["malformed", "reset", "OSError", "timeout"],
)
def test_a_body_that_cannot_be_read_costs_nobody_the_answer(make, size, error, outcome, detail):
    got = serve(
        answering(b"r" * size, status="200 OK", make=make), **{"wsgi.input": Malformed(error)}
    )

    assert (None, size) == (got.raised, len(got.body))
    assert (outcome, detail) == (got.outcome, got.report.detail)


def test_a_client_that_leaves_is_reported_as_such():
    got = serve(NO, [b"x" * 400, Disconnect()], length=1000)

    assert Outcome.DISCONNECTED == got.outcome


def test_a_stream_that_ends_too_early_is_a_client_that_left():
    got = serve(NO, b"x" * 400, length=1000)

    assert (Outcome.DISCONNECTED, 400) == (got.outcome, got.report.bytes_discarded)


# --- Expect ---------------------------------------------------------------------------------------


EXPECT = {"HTTP_EXPECT": "100-continue"}


@pytest.mark.parametrize("server", ["unknown", "granian"])
@pytest.mark.parametrize("size", [2, 100_000], ids=["small", "big"])
@pytest.mark.parametrize("make", [None, generator], ids=["list", "generator"])
def test_where_a_read_might_invite_the_body_it_is_not_read(make, size, server):
    """PEP 3333 lets a server send 100 Continue at the first read: that would ask for the upload."""
    got = serve(answering(b"r" * size, make=make), server=server, **EXPECT)

    assert (Outcome.EXPECT_PENDING, size) == (got.outcome, len(got.body))
    assert "read" not in got.events


@pytest.mark.parametrize("status", ["200 OK", "413 Content Too Large"])
@pytest.mark.parametrize("size", [2, 100_000], ids=["small", "big"])
@pytest.mark.parametrize("server", ["unknown", "granian"])
def test_an_application_that_reads_late_invites_the_body_and_has_it(server, size, status):
    """It was not to be read ahead, but that does not say that nobody will read it."""

    def app(environ, start_response):
        start_response(status, [])
        return items(environ["wsgi.input"])

    def items(stream):
        yield b"r" * size
        yield b"r"
        yield stream.read()

    got = serve(app, server=server, **EXPECT)

    assert (None, b"r" * (size + 1) + b"x" * 1000) == (got.raised, got.body)
    assert [] == got.reports


@pytest.mark.parametrize("server", ["gunicorn", "cheroot", "werkzeug"])
def test_where_the_invitation_has_gone_out_the_body_comes_like_any_other(server):
    got = serve(NO, server=server, **EXPECT)

    assert (Outcome.COMPLETE, 1000) == (got.outcome, got.report.bytes_discarded)


def test_a_body_that_the_application_has_begun_to_read_was_invited():
    def app(environ, start_response):
        environ["wsgi.input"].read(10)
        return NO(environ, start_response)

    assert (Outcome.COMPLETE, 990) == (
        (report := serve(app, **EXPECT).report).outcome,
        report.bytes_discarded,
    )


def test_an_expectation_in_http_1_0_is_ignored():
    assert Outcome.COMPLETE == serve(NO, SERVER_PROTOCOL="HTTP/1.0", **EXPECT).outcome


# --- the application's word -----------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 100_000], ids=["small", "big"])
@pytest.mark.parametrize("make", [None, generator], ids=["list", "generator"])
def test_the_application_may_decline(make, size):
    def app(environ, start_response):
        environ[CONTROL_KEY].policy = None
        return answering(b"r" * size, make=make)(environ, start_response)

    got = serve(app)

    assert (Outcome.DECLINED, size) == (got.outcome, len(got.body))
    assert "read" not in got.events


def test_the_application_may_set_other_bounds():
    def app(environ, start_response):
        environ[CONTROL_KEY].policy = DrainPolicy(max_bytes=2000)
        return NO(environ, start_response)

    got = serve(app, b"x" * 2000, policy=DrainPolicy(max_bytes=0))

    assert (Outcome.COMPLETE, 2000) == (got.outcome, got.report.bytes_discarded)


def test_the_handle_works_through_a_copied_environ():
    def copying(environ, start_response):
        def inner(environ, start_response):
            environ[CONTROL_KEY].policy = None
            return NO(environ, start_response)

        return inner(dict(environ), start_response)

    assert Outcome.DECLINED == serve(copying).outcome


def test_the_handle_shows_the_middlewares_policy():
    seen = []
    policy = DrainPolicy(max_bytes=5)

    def app(environ, start_response):
        seen.append(environ[CONTROL_KEY].policy)
        return NO(environ, start_response)

    serve(app, policy=policy)

    assert seen[0] is policy


def test_nested_middlewares_discard_once():
    inner_reports = []
    got = serve(DrainMiddleware(NO, DrainPolicy(max_bytes=0), on_report=inner_reports.append))

    assert ([], Outcome.COMPLETE) == (inner_reports, got.outcome)
    assert ["start", "write 2", "end", "close", "read"] == got.order


# --- bounds ---------------------------------------------------------------------------------------


def test_a_chunked_body_is_read_up_to_the_byte_limit_and_not_a_byte_further():
    got = serve(
        NO,
        b"x" * 100_000,
        policy=DrainPolicy(max_bytes=12_345),
        **CHUNKED,
        **{"wsgi.input_terminated": True},
    )

    assert (Outcome.BYTE_LIMIT, 12_345, 12_345) == (
        got.outcome,
        got.report.bytes_discarded,
        got.source.given_bytes,
    )


def test_a_silence_that_nothing_can_end_is_judged_when_the_read_returns(clock):
    """Where no connection can be reached, a read cannot be ended."""
    body = ScriptedBody([b"x" * 1200, Silence(25), b"y" * 100_000], clock)
    got = serve(NO, body)

    assert (Outcome.TIME_LIMIT, 25.0) == (got.outcome, got.report.seconds)
    assert got.source.given_bytes < 10_000


def test_a_read_that_nothing_could_end_is_a_silence_if_it_gave_next_to_nothing(clock):
    """Bytes that come behind it are no progress."""
    body = ScriptedBody([b"x" * 1200, Silence(11), b"y" * 300_000], clock)
    got = serve(NO, body)

    assert (Outcome.IDLE, 11.0) == (got.outcome, got.report.seconds)
    assert got.source.given_bytes < 10_000


def test_one_that_took_long_because_its_client_became_slow(clock):
    """A tenth of the rate, and a read that was right for the whole: ten times its time."""
    quick = [b"x" * 4096, Silence(0.1)] * 20
    slow = [b"x" * 4096, Silence(1)] * 10
    got = serve(NO, ScriptedBody(quick + slow, clock))

    assert Outcome.COMPLETE is got.outcome
    assert 120 * 1024 == got.report.bytes_discarded


def test_a_slow_drip_is_ended_by_the_rate(clock):
    drip = ScriptedBody([b"x" * 100, Silence(1)] * 100, clock)
    got = serve(NO, drip)

    assert Outcome.TOO_SLOW == got.outcome
    assert got.report.seconds <= 12  # one blocking read behind the 5 seconds of grace


def test_a_steady_client_is_ended_by_the_time_limit(clock):
    steady = ScriptedBody([b"x" * 10_000, Silence(1)] * 100, clock)
    got = serve(NO, steady)

    assert Outcome.TIME_LIMIT == got.outcome
    assert 20 <= got.report.seconds <= 25


def test_the_time_of_the_application_is_not_the_drains(clock):
    def app(environ, start_response):
        clock.advance(1000)
        return NO(environ, start_response)

    got = serve(app, ScriptedBody([b"x" * 500, Silence(1), b"x" * 500], clock))

    assert (Outcome.COMPLETE, 1.0) == (got.outcome, got.report.seconds)


def test_a_full_process_answers_and_reads_nothing():
    assert process_capacity.acquire(1)
    try:
        got = serve(NO, policy=DrainPolicy(max_concurrent=1))
    finally:
        process_capacity.release()

    assert (Outcome.AT_CAPACITY, b"no") == (got.outcome, got.body)
    assert "read" not in got.events


def test_a_doomed_body_is_not_read_for_longer_than_a_silence(clock):
    body = ScriptedBody([b"x" * 10_000, Silence(0.5)] * 100, clock)
    got = serve(NO, body, policy=DrainPolicy(max_bytes=900_000))

    assert Outcome.BYTE_LIMIT == got.outcome
    assert 5.0 <= got.report.seconds <= 8.0


# --- the report -----------------------------------------------------------------------------------


def test_what_on_report_raises_costs_nobody_the_answer(caplog):
    def on_report(report):
        raise LookupError

    got = serve(DrainMiddleware(NO, on_report=on_report), wrap=None)

    assert (None, b"no") == (got.raised, got.body)
    assert "on_report raised" in caplog.text


@pytest.mark.parametrize("read", [0, 10], ids=["untouched", "touched"])
def test_each_unread_body_is_reported_once(read):
    def app(environ, start_response):
        environ["wsgi.input"].read(read)
        return NO(environ, start_response)

    assert (Outcome.COMPLETE, read, 1000 - read) == (
        (report := serve(app).report).outcome,
        report.bytes_read,
        report.bytes_discarded,
    )


def test_without_a_status_the_report_has_none():
    def app(environ, start_response):
        raise LookupError

    assert serve(app).report.status is None


# --- the connection's fate ------------------------------------------------------------------------


class Gateway:
    """cheroot's: its start_response is a method, and it holds the request."""

    def __init__(self, start_response):
        self.start = start_response
        self.req = type("HTTPRequest", (), {"close_connection": False})()

    def start_response(self, status, headers, exc_info=None):
        return self.start(status, headers, exc_info)


def served_by_cheroot(app, **fields):
    gateways = []

    def gateway(app, policy, on_report):
        middleware = DrainMiddleware(app, policy, on_report=on_report)

        def call(environ, start_response):
            gateways.append(Gateway(start_response))
            return middleware(environ, gateways[0].start_response)

        return call

    got = serve(app, server="cheroot", wrap=gateway, **fields)
    return got, gateways[0].req.close_connection


@pytest.mark.parametrize(
    ("policy", "closes"), [(DrainPolicy(), False), (DrainPolicy(max_bytes=10), True)]
)
def test_cheroot_closes_the_connection_of_a_body_that_was_not_read_to_its_end(policy, closes):
    got, closed = served_by_cheroot(NO, policy=policy)

    assert closes == (got.outcome is not Outcome.COMPLETE) == closed


def test_cheroot_keeps_the_connection_of_a_declined_body_which_it_reads_away_by_itself():
    """Closing it would reset an answer that arrives without drainkit."""
    got, closed = served_by_cheroot(NO, policy=DrainPolicy(max_bytes=0))

    assert (Outcome.DECLINED, False) == (got.outcome, closed)


def test_cheroot_does_not_throw_away_what_the_application_still_wants_to_read():
    given = []

    def make(environ, chunks):
        yield b"a"
        yield b"-"
        given.append(environ["wsgi.input"].read())
        yield b"b"

    got, closed = served_by_cheroot(answering(status="200 OK", make=make))

    assert (True, [b"x" * 1000], b"a-b") == (closed, given, got.body)


class Response:
    """gunicorn's: its start_response is a method, and it can be told to close."""

    def __init__(self, start_response):
        self.start = start_response
        self.must_close = False

    def force_close(self):
        self.must_close = True

    def start_response(self, status, headers, exc_info=None):
        return self.start(status, headers, exc_info)


def served_by_gunicorn(policy, *, stands_between):
    """Return what happened, and whether the Response and the body were told."""
    told = []

    def worker(app, policy, on_report):
        middleware = DrainMiddleware(app, policy, on_report=on_report)

        def call(environ, start_response):
            response, body = Response(start_response), environ["wsgi.input"]
            body.failed = False  # gunicorn/http/body.py
            told.append(lambda: (response.must_close, body.failed))
            start = response.start_response
            # partial has no __self__: a middleware's function is no method of the Response.
            return middleware(environ, functools.partial(start) if stands_between else start)

        return call

    got = serve(NO, server="gunicorn", wrap=worker, policy=policy, **{"gunicorn.socket": None})
    return got, told[0]()


@pytest.mark.parametrize(
    ("policy", "told"), [(DrainPolicy(), False), (DrainPolicy(max_bytes=10), True)]
)
@pytest.mark.parametrize("stands_between", [False, True])
def test_gunicorn_never_takes_the_rest_of_a_body_for_requests(policy, told, stands_between):
    """To its own discarding a shut read side is the body's end; what still comes is the rest."""
    got, (must_close, failed) = served_by_gunicorn(policy, stands_between=stands_between)

    assert told == (got.outcome is not Outcome.COMPLETE) == failed
    assert (told and not stands_between) == must_close


# --- an adapter inside an application -------------------------------------------------------------


def test_an_exchange_publishes_what_an_adapter_needs_and_no_more():
    """The reference lists every public name, and each is a promise."""
    published = {name for name in dir(Exchange) if not name.startswith("_")}

    assert {
        "discard",
        "open",
        "respond",
        "respond_whole",
        "settled",
        "starter",
        "status",
    } == published


def test_an_adapter_inside_opens_an_exchange_and_discards_behind_its_response():
    """As a framework's adapter does that cannot stand outside its application."""
    reports = []

    def app(environ, start_response):
        exchange = Exchange.open(environ, DrainPolicy(), reports.append)
        exchange.status = 413
        start_response("413 Content Too Large", [])
        return exchange.respond([b"no"])

    got = serve(app, wrap=None)

    assert ["start", "write 2", "end", "close", "read"] == got.order
    assert (Outcome.COMPLETE, 413) == (reports[0].outcome, reports[0].status)


def test_an_adapter_around_an_application_gives_it_a_start_response_and_takes_its_iterable():
    reports = []

    def app(environ, start_response):
        exchange = Exchange.open(environ, DrainPolicy(), reports.append)
        return exchange.respond(NO(environ, exchange.starter(start_response)))

    got, around = serve(app, wrap=None), serve(NO)

    assert around.order == got.order
    assert [Outcome.COMPLETE] == [report.outcome for report in reports]


def answering_by_itself(nbytes, *, status=413, length=None):
    """Return an application that sends its own start and whole answer, with an exchange beside it.

    It returns what it was told about the Content-Length, too.
    """
    reports, lengths = [], []

    def app(environ, start_response):
        exchange = Exchange.open(environ, DrainPolicy(), reports.append)
        exchange.status = status
        lengths.append(exchange.respond_whole(nbytes, length=length))
        environ["test.events"].append("settled" if exchange.settled else "left")
        start_response(f"{status} Of a Framework", [])
        return Closing([b"r" * nbytes], lambda: exchange.discard(is_answered=True))

    return app, reports, lengths


class Closing(list):
    """A whole answer with a ``close()``."""

    def __init__(self, items, close):
        super().__init__(items)
        self.close = close


@pytest.mark.parametrize(
    ("nbytes", "server", "order"),
    [
        (2, "unknown", ["left", "start", "write 2", "end", "close", "read"]),
        (65_537, "unknown", ["read", "settled", "start", "write 65537", "end", "close"]),
        (2, "werkzeug", ["read", "settled", "start", "write 2", "end", "close"]),
        (2, "cheroot", ["read", "settled", "start", "write 2", "end", "close"]),
    ],
)
def test_an_adapter_that_sends_a_whole_answer_by_itself_has_the_body_discarded_in_time(
    nbytes, server, order
):
    app, reports, _ = answering_by_itself(nbytes, status=401)
    got = serve(app, wrap=None, server=server)

    assert order == got.order
    assert [(Outcome.COMPLETE, 1000, 401)] == [
        (report.outcome, report.bytes_discarded, report.status) for report in reports
    ]


@pytest.mark.parametrize(
    ("status", "length", "fields", "to_add"),
    [
        (413, None, {}, 2),
        (413, 2, {}, None),
        (204, None, {}, None),
        (413, None, {"REQUEST_METHOD": "HEAD"}, None),
    ],
)
def test_an_adapter_that_sends_a_whole_answer_by_itself_is_told_the_length_that_it_lacks(
    status, length, fields, to_add
):
    app, _, lengths = answering_by_itself(2, status=status, length=length)
    serve(app, wrap=None, **fields)

    assert [to_add] == lengths


@pytest.mark.parametrize(
    ("length", "order"),
    [
        (None, ["start", "write 1", "read", "end", "close"]),
        (2, ["start", "write 1", "read", "write 1", "end", "close"]),
    ],
)
def test_an_adapter_may_say_how_long_an_answer_in_pieces_is(length, order):
    """Behind a proxy that would read no further: only so is the last piece known to be the last."""
    reports = []

    def app(environ, start_response):
        exchange = Exchange.open(environ, DrainPolicy(), reports.append)
        exchange.status = 200
        start_response("200 OK", [])
        return exchange.respond(iter([b"n", b"o"]), length=length)

    got = serve(app, wrap=None, HTTP_X_FORWARDED_HOST="site.example")

    assert order == got.order
    assert [Outcome.COMPLETE] == [report.outcome for report in reports]


@pytest.mark.parametrize(
    "fields",
    [
        {"length": 0},
        {"length": None},
        {CONTROL_KEY: DrainControl(None)},
        {"server": "waitress"},
    ],
    ids=["no body", "no length", "nested", "buffered"],
)
def test_no_exchange_is_opened_where_there_is_nothing_to_do(fields):
    opened = []

    def app(environ, start_response):
        opened.append(Exchange.open(environ, DrainPolicy()))
        return NO(environ, start_response)

    serve(app, wrap=None, **fields)

    assert [None] == opened


# --- rule 10: a row a server ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gunicorn", "cheroot", "granian", "werkzeug", "wsgiref"])
def test_a_server_is_known_by_its_input_or_by_its_name(name):
    assert name == serve(NO, server=name).report.server


@pytest.mark.parametrize(
    ("software", "name"),
    [
        ("gunicorn/27.0.1", "gunicorn"),
        ("Cheroot/11.1", "cheroot"),
        ("Granian", "granian"),
        ("WSGIServer/0.2 CPython/3.11", "wsgiref"),
        ("My WSGIServer/0.2", "unknown"),
        ("", "unknown"),
    ],
)
def test_behind_middleware_that_replaced_the_input_a_server_is_known_by_its_name(software, name):
    assert name == serve(NO, SERVER_SOFTWARE=software).report.server


class Payload(io.BytesIO):
    """A body in memory, of a class of its own."""


@pytest.mark.parametrize("make", [io.BytesIO, Payload])
def test_a_body_in_memory_is_left_alone(make):
    """Test clients look at it behind the answer, and send it again behind a 307 or 308."""
    stream = make(b"x" * 1000)
    seen = []

    def app(environ, start_response):
        seen.append((environ["wsgi.input"], environ[CONTROL_KEY].policy))
        return NO(environ, start_response)

    policy = DrainPolicy()
    got = serve(app, policy=policy, **{"wsgi.input": stream})

    assert ([(stream, policy)], [], b"x" * 1000) == (seen, got.reports, stream.read())


def test_a_socket_that_is_closed_or_none_is_no_reason_to_fail():
    with reachable() as gunicorn:
        pass
    got = serve(NO, **gunicorn)

    assert (None, Outcome.COMPLETE) == (got.raised, got.outcome)


def test_the_table_of_known_servers_does_not_grow_with_its_requests():
    from drainkit_wsgi.servers import _rows

    for number in range(200):
        serve(NO, SERVER_SOFTWARE=f"forged/{number}")

    assert 64 >= _rows.row_of.cache_info().currsize


def test_an_application_that_replaces_the_input_does_not_redirect_the_discarding():
    def app(environ, start_response):
        environ["wsgi.input"] = None
        return NO(environ, start_response)

    got = serve(app)

    assert (None, Outcome.COMPLETE, 1000) == (got.raised, got.outcome, got.source.given_bytes)


def test_a_process_without_a_descriptor_left_still_answers(monkeypatch):
    """Where nobody can poll, a look at it needs one, and a flood of connections takes them all."""

    class NoneLeft:
        def __init__(self):
            raise OSError(24, "Too many open files")

    monkeypatch.delattr("select.poll")
    monkeypatch.setattr("selectors.DefaultSelector", NoneLeft)
    with reachable() as gunicorn:
        app = answering(b"r" * 100_000, b"end", status="200 OK", make=generator)
        got = serve(app, b"x" * 100_000, **gunicorn)

    assert (None, 100_003) == (got.raised, len(got.body))
    assert Outcome.ERROR == got.outcome


class Handler(Gateway):
    """That of gevent.pywsgi or Paste: start_response is its method, and it says what follows."""

    close_connection = False


def of_another(start_response):
    """Return the start_response of a middleware in front, which hides the server's handler."""

    def started(status, headers, exc_info=None):
        return start_response(status, headers, exc_info)

    return started


def served_by_gevent(app, *, is_wrapped=False, **fields):
    handlers, streams = [], []

    def gateway(app, policy, on_report):
        middleware = DrainMiddleware(app, policy, on_report=on_report)

        def call(environ, start_response):
            stream = environ["wsgi.input"]
            stream.position, stream.content_length, stream.chunked_input = 0, 1000, False
            stream.rfile = io.BytesIO()
            streams.append(stream)
            handlers.append(Handler(start_response))
            started = handlers[0].start_response
            return middleware(environ, of_another(started) if is_wrapped else started)

        return call

    got = serve(app, server="gevent", wrap=gateway, **fields)
    left_bytes = streams[0].content_length - streams[0].position
    closed = handlers[0].close_connection or streams[0].rfile.closed
    return got, closed, left_bytes


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["", "behind a middleware"])
@pytest.mark.parametrize(
    ("policy", "closes"), [(DrainPolicy(), False), (DrainPolicy(max_bytes=10), True)]
)
def test_gevent_neither_keeps_a_connection_nor_reads_on_behind_a_bound(policy, closes, is_wrapped):
    """Or it would take the rest of the body for requests of its client.

    Where another middleware has a start_response of its own, the handler is out of reach. gevent
    then closes the connection because its file is closed.
    """
    got, closed, left_bytes = served_by_gevent(NO, policy=policy, is_wrapped=is_wrapped)

    assert closes == (got.outcome is not Outcome.COMPLETE) == closed
    assert closes == (left_bytes == 0)


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["", "behind a middleware"])
@pytest.mark.parametrize(
    ("policy", "closes"), [(DrainPolicy(), False), (DrainPolicy(max_bytes=10), True)]
)
def test_paste_takes_nothing_of_a_body_for_a_request(policy, closes, is_wrapped):
    """It keeps a connection behind an answer with a Content-Length, and that drainkit adds."""
    file, handlers = io.BytesIO(), []

    def gateway(app, policy, on_report):
        middleware = DrainMiddleware(app, policy, on_report=on_report)

        def call(environ, start_response):
            environ["wsgi.input"].file = file
            handlers.append(Handler(start_response))
            started = handlers[0].start_response
            return middleware(environ, of_another(started) if is_wrapped else started)

        return call

    got = serve(NO, server="paste", wrap=gateway, policy=policy)

    assert closes == (got.outcome is not Outcome.COMPLETE)
    assert (closes and not is_wrapped, closes and is_wrapped) == (
        handlers[0].close_connection, file.closed
    )  # fmt: skip


@pytest.mark.parametrize("is_full", [False, True], ids=["", "at capacity"])
@pytest.mark.parametrize("max_bytes", [None, 100_000, 10], ids=str)
@pytest.mark.parametrize("kept_bytes", [0, 10**6])
def test_a_late_read_on_gevent_meets_no_false_end(monkeypatch, max_bytes, is_full, kept_bytes):
    """That the connection is to close, and that nobody reads on, are two messages."""
    pywsgi = pytest.importorskip("gevent.pywsgi", reason="needs gevent")
    monkeypatch.setattr(process_capacity, "active", 10 if is_full else 0)
    body = bytes(range(256)) * 3125
    policy = DrainPolicy(max_bytes=max_bytes, max_concurrent=10, late_read_bytes=kept_bytes)
    late, streams = [], []

    def make(environ, chunks):
        yield from (b"r" * 40_000,) * 3
        stream = environ["wsgi.input"]
        with contextlib.suppress(OSError):
            late.append(b"".join(iter(lambda: stream.read(65_536), b"")))

    def served(**wrap):
        late.clear()
        streams.append(pywsgi.Input(io.BytesIO(body), len(body)))
        app = answering(status="200 OK", make=make)
        return serve(app, length=len(body), **{"wsgi.input": streams[-1]}, **wrap)

    served(wrap=None)

    assert [body] == late

    got = served(policy=policy)

    assert late in ([], [body])
    if got.reports and got.outcome.closes and not late:
        assert streams[-1].position == streams[-1].content_length  # the server reads no further
    monkeypatch.setattr(process_capacity, "active", 0)


# --- uWSGI: a chunked body is read by a function of its own ---------------------------------------


@pytest.fixture
def uwsgi(monkeypatch):
    """Return the module that exists in a process of uWSGI; its chunks are a list."""
    module = types.ModuleType("uwsgi")
    module.chunks = [b"x" * 700, b"y" * 300]
    module.chunked_read = lambda: module.chunks.pop(0) if module.chunks else b""
    monkeypatch.setitem(sys.modules, "uwsgi", module)
    monkeypatch.setattr(input_class("uwsgi"), "fileno", lambda self: -1, raising=False)
    return module


def test_a_chunked_body_is_discarded_where_uwsgi_has_it(uwsgi):
    got = serve(NO, server="uwsgi", **CHUNKED)

    assert (Outcome.COMPLETE, 1000, []) == (got.outcome, got.report.bytes_discarded, uwsgi.chunks)
    assert "read" not in got.events


def test_an_application_on_uwsgi_may_read_its_chunks_late_and_gets_each(uwsgi):
    given = []

    def make(environ, chunks):
        yield b"a" * 100_000
        given.extend(iter(uwsgi.chunked_read, b""))
        yield b"b"

    got = serve(answering(status="200 OK", make=make), server="uwsgi", **CHUNKED)

    assert [b"x" * 700, b"y" * 300] == given
    assert (Outcome.COMPLETE, 0) == (got.outcome, got.report.bytes_discarded)


def test_a_body_that_nginx_has_decoded_for_uwsgi_is_as_long_as_it_says(uwsgi):
    got = serve(NO, server="uwsgi", HTTP_TRANSFER_ENCODING="chunked")

    assert (Outcome.COMPLETE, 1000, 1000) == (
        got.outcome,
        got.report.declared_bytes,
        got.report.bytes_discarded,
    )
    assert [b"x" * 700, b"y" * 300] == uwsgi.chunks


def test_a_chunked_body_stays_alone_where_uwsgi_has_no_means(monkeypatch):
    monkeypatch.delitem(sys.modules, "uwsgi", raising=False)

    assert Outcome.UNFRAMED == serve(NO, server="uwsgi", **CHUNKED).outcome


@pytest.mark.parametrize("make", [None, generator], ids=["list", "generator"])
@pytest.mark.parametrize("headers", [(), [("Content-Length", "2")]], ids=["", "length"])
def test_that_uwsgi_closes_behind_an_early_answer_is_said(uwsgi, make, headers):
    """It always does, and never says so: a client would send its next request into the close."""
    early = serve(answering(b"no", make=make, headers=headers), server="uwsgi")

    def read_first(environ, start_response):
        environ["wsgi.input"].read()
        return answering(b"ok", make=make, headers=headers)(environ, start_response)

    assert ["close"] == early.header("connection")
    assert [] == serve(read_first, server="uwsgi").header("connection")
    assert [] == serve(NO, server="uwsgi", length=0).header("connection")


# --- behind a proxy -------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [(b"no",), (), (b"n", b"o")], ids=["one", "none", "two"])
@pytest.mark.parametrize("make", [None, generator], ids=["list", "generator"])
@pytest.mark.parametrize("headers", [(), [("Content-Length", "2")]], ids=["", "length"])
def test_the_body_goes_before_the_end_where_a_proxy_would_not_read_it_afterwards(
    make, chunks, headers
):
    """Go's net/http closes with what is left of an upload unread."""
    headers = headers if chunks else ()
    app = answering(*chunks, make=make, headers=headers)
    got = serve(app, HTTP_X_FORWARDED_HOST="site.example")
    # What tells the proxy that it has everything: the last byte that was announced, or the end.
    is_announced = make is None or headers
    last = f"write {len(chunks[-1])}" if chunks and is_announced else "end"

    assert Outcome.COMPLETE == got.outcome
    assert got.events.index("read") < len(got.events) - got.events[::-1].index(last) - 1
