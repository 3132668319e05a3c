"""Rules 3, 4, 6 and 9 of the design's section 5: the response first, unless that would deadlock."""

import contextlib
import gc
import sys

import pytest

from drainkit import DrainPolicy, Outcome
from drainkit.testing import Disconnect
from drainkit_wsgi import DrainMiddleware
from tests.adapters.wsgi_server import KIB, MIB, Result, answering, generator, reachable, serve

SMALL = b"r" * (64 * KIB)
BIG = b"r" * (64 * KIB + 1)

# --- rule 3: respond first ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size", [1, 32 * KIB, 32 * KIB + 1, 40_000, 64 * KIB], ids=lambda size: f"{size} bytes"
)
@pytest.mark.parametrize("make", [None, Result, generator], ids=["list", "iterable", "generator"])
def test_a_response_that_fits_the_buffers_goes_first(make, size):
    """Eager clients have their answer in milliseconds instead of behind their whole upload."""
    got = serve(answering(b"r" * size, status="200 OK", make=make))

    inner = ["inner close"] if make is Result else []
    assert ["start", f"write {size}", "end", "close", *inner, "read"] == got.order
    assert Outcome.COMPLETE == got.outcome


def test_several_chunks_that_fit_the_buffers_go_first():
    chunks = [b"r" * (8 * KIB)] * 8
    got = serve(answering(*chunks, status="200 OK"))

    assert ["start", "write 8192", "end", "close", "read"] == got.order


@pytest.mark.parametrize("chunks", [(), (b"",)], ids=["no chunk", "an empty one"])
@pytest.mark.parametrize("make", [None, Result, generator], ids=["list", "iterable", "generator"])
def test_an_empty_response_goes_first(make, chunks):
    got = serve(answering(*chunks, status="200 OK", make=make))

    assert ["start", "end", "close"] == [
        event for event in got.order if event not in ("read", "inner close")
    ]
    assert "read" == got.order[-1]


def test_the_inner_iterable_is_closed_once_and_before_the_body_is_discarded():
    """What the application holds, it should not hold for as long as the client uploads."""
    results = []

    def make(environ, chunks):
        results.append(Result(environ, chunks))
        return results[0]

    got = serve(answering(b"no", status="200 OK", make=make))
    got.result.close()

    assert 1 == results[0].closed
    assert ["close", "inner close", "read"] == got.order[-3:]


def test_closing_twice_discards_once():
    got = serve(answering(b"no"))
    got.result.close()

    assert 1 == len(got.reports)


def test_a_response_that_the_server_gives_up_is_closed_and_the_body_discarded():
    """The client may have left, or the server does not send content to HEAD."""
    results = []

    def make(environ, chunks):
        results.append(Result(environ, chunks))
        return results[0]

    events = []
    got = serve(
        answering(b"a", b"b", status="200 OK", make=make),
        wrap=lambda app, policy, on_report: _closed_early(
            DrainMiddleware(app, policy, on_report=on_report), events
        ),
    )

    assert 1 == results[0].closed
    assert Outcome.COMPLETE == got.outcome


def _closed_early(app, events):
    def give_up(environ, start_response):
        result = app(environ, start_response)
        next(iter(result))
        result.close()
        return []

    return give_up


# --- rule 4: no big response before an unread body ------------------------------------------------


@pytest.mark.parametrize("chunks", [(BIG,), (b"r" * 40_000, b"r" * 40_000)], ids=["one", "two"])
def test_a_big_list_waits_for_the_body(chunks):
    got = serve(answering(*chunks))

    assert got.order.index("read") < got.order.index(f"write {len(chunks[0])}")
    assert "read" not in got.order[got.order.index(f"write {len(chunks[0])}") :]
    assert (Outcome.COMPLETE, b"".join(chunks)) == (got.outcome, got.body)


def test_a_big_tuple_waits_for_the_body():
    got = serve(answering(BIG, make=lambda environ, chunks: chunks))

    assert ["start", "read", f"write {len(BIG)}", "end"] == got.order[:4]


@pytest.mark.parametrize("make", [Result, generator], ids=["iterable", "generator"])
@pytest.mark.parametrize("behind", [(), (b"", b"")], ids=["last", "empty ones behind"])
def test_a_single_big_chunk_waits_for_a_body_that_was_not_touched(make, behind):
    got = serve(answering(BIG, *behind, status="200 OK", make=make))

    assert ["start", "read", f"write {len(BIG)}", "end", "close"] == [
        event for event in got.order if event != "inner close"
    ]
    assert (1000, BIG) == (got.report.bytes_discarded, got.body)


@pytest.mark.parametrize("reads", [0, 5], ids=["untouched", "touched"])
@pytest.mark.parametrize("server", ["unknown", "gunicorn", "werkzeug", "cheroot", "wsgiref"])
def test_no_chunk_waits_for_the_next(reads, server):
    """PEP 3333: middleware must not block the iteration. Whoever looked behind a chunk would."""

    def make(environ, chunks):
        events = environ["test.events"]
        if reads:
            environ["wsgi.input"].read(reads)
        for number in range(3):
            events.append(f"made {number}")
            yield b"r" * 100_000

    for wrap in ({"wrap": None}, {}):
        got = serve(answering(status="200 OK", make=make), server=server, **wrap)
        told = [event for event in got.events if event[:5] in ("made ", "write")]

        assert [
            *("made 0", "write 100000"),
            *("made 1", "write 100000"),
            *("made 2", "write 100000"),
        ] == told


def test_a_transform_whose_client_waits_for_its_first_chunk_is_not_stuck():
    """It reads, gives a big chunk, and reads what the client sends only then."""

    def make(environ, chunks):
        first = environ["wsgi.input"].read(5)
        yield first * 20_000
        environ["test.events"].append("asks for the rest")
        second = environ["wsgi.input"].read(5)
        yield second * 20_000

    got = serve(answering(status="200 OK", make=make), b"1234567890")

    assert got.order.index("write 100000") < got.order.index("asks for the rest")
    assert b"12345" * 20_000 + b"67890" * 20_000 == got.body


@pytest.mark.parametrize("read", [0, 100], ids=["untouched", "touched"])
def test_content_length_tells_that_a_big_response_is_whole(read):
    chunks = (b"r" * 40_000, b"r" * 40_000)

    def app(environ, start_response):
        if read:
            environ["wsgi.input"].read(read)
        return answering(
            *chunks, status="200 OK", headers=[("Content-Length", "80000")], make=generator
        )(environ, start_response)

    with reachable() as gunicorn:
        got = serve(app, **gunicorn)

    assert b"".join(chunks) == got.body
    assert Outcome.COMPLETE == got.outcome
    reads = ["read"] if read else []
    assert [*reads, "start", "write 40000", "read", "write 40000", "end", "close"] == got.order


@pytest.mark.parametrize("connection", [reachable, contextlib.nullcontext])
def test_an_unfinished_big_response_reads_ahead_and_what_is_kept_is_the_applications(connection):
    """A generator that answers in big chunks and reads its input only then."""
    given = []

    def make(environ, chunks):
        yield BIG
        yield BIG
        given.append(environ["wsgi.input"].read())
        yield b"end"

    with connection() as fields:
        got = serve(
            answering(status="200 OK", make=make), [b"abc" * 300, b"d" * 100], **(fields or {})
        )

    assert [b"abc" * 300 + b"d" * 100] == given
    assert ["start", "read", f"write {len(BIG)}", "write 3", "end", "close"] == got.order
    assert BIG + BIG + b"end" == got.body


def test_an_unfinished_big_response_with_a_touched_body_streams_on():
    """A transform that reads a piece and writes a piece must not lose its input."""

    def make(environ, chunks):
        while piece := environ["wsgi.input"].read(100_000):
            yield piece.upper()

    body = b"abcdefghij" * 50_000
    got = serve(answering(status="200 OK", make=make), body)

    writes = [at for at, event in enumerate(got.events) if event == "write 100000"]
    assert [1, 2, 3, 4, 5] == [got.events[:at].count("read") for at in writes]
    assert body.upper() == got.body
    assert [] == got.reports


def test_a_touched_body_under_an_endless_big_response_is_discarded_only_at_its_end():
    def make(environ, chunks):
        environ["wsgi.input"].read(10)
        for _ in range(5):
            yield BIG

    got = serve(answering(status="200 OK", make=make))

    assert ["start", "read", f"write {len(BIG)}", "end", "close", "read"] == got.order


def test_many_small_chunks_that_add_up_wait_for_the_body_too():
    got = serve(answering(*[b"r" * KIB] * 100, status="200 OK", make=generator))

    writes_before = got.events.index("read") - 1
    assert 64 == writes_before
    assert 100 * KIB == len(got.body)


@pytest.mark.parametrize("size", [64 * KIB, 64 * KIB + 1])
def test_write_counts_as_response(size):
    def app(environ, start_response):
        write = start_response("200 OK", [])
        for _ in range(2):
            write(b"r" * (size // 2))
        write(b"r" * (size % 2))
        return []

    got = serve(app)

    first = got.order.index("read") < len(got.order) - 1
    assert (size > 64 * KIB) == first
    assert (size, Outcome.COMPLETE) == (len(got.body), got.outcome)


def test_what_was_written_and_what_is_returned_add_up():
    def app(environ, start_response):
        start_response("200 OK", [])(b"r" * 40_000)
        return [b"r" * 40_000]

    got = serve(app)

    assert ["start", "write 40000", "read", "write 40000", "end"] == got.order


@pytest.mark.parametrize("make", [Result, generator], ids=["iterable", "generator"])
def test_where_no_read_can_be_interrupted_an_error_page_in_pieces_waits_for_the_body(make):
    """Curl stops sending at a status of 400 or more, and would wait for the second piece."""
    got = serve(answering(b"a", b"b", status="413 Content Too Large", make=make))

    assert ["start", "read", "write 1"] == got.order[:3]


# --- cheroot: reads away before its headers, without a bound --------------------------------------


@pytest.mark.parametrize("make", [None, generator], ids=["list", "generator"])
def test_cheroot_is_spared_reading_without_a_bound_before_its_headers(make):
    got = serve(answering(b"no", status="401 Unauthorized", make=make), server="cheroot")

    assert ["start", "read", "write 2"] == got.order[:3]


def test_cheroot_leaves_a_413_alone_so_that_it_goes_first():
    got = serve(answering(b"no"), server="cheroot")

    assert ["start", "write 2", "end", "close", "read"] == got.order


def test_cheroot_leaves_a_chunked_body_alone_so_that_its_answer_goes_first():
    got = serve(
        answering(b"no", status="401 Unauthorized"),
        server="cheroot",
        length=None,
        HTTP_TRANSFER_ENCODING="chunked",
        **{"wsgi.input_terminated": True},
    )

    assert ["start", "write 2", "end", "close", "read"] == got.order


def test_on_cheroot_an_unfinished_big_response_reads_ahead_as_elsewhere():
    """A strict client does not read while it writes: both sides would wait for ever."""

    def make(environ, chunks):
        yield BIG
        yield b"end"

    got = serve(answering(status="200 OK", make=make), server="cheroot")

    assert ["start", "read", f"write {len(BIG)}"] == got.order[:3]


def test_werkzeug_is_spared_reading_without_a_deadline_before_close():
    got = serve(answering(b"no"), server="werkzeug")

    assert ["start", "write 2", "read", "end", "close"] == got.order


@pytest.mark.parametrize("server", ["waitress"])
def test_a_server_that_has_the_whole_body_needs_nothing(server):
    got = serve(answering(b"no", make=Result), server=server)

    assert Result is type(got.result)
    assert "read" not in got.order


# --- rule 6: exceptions ---------------------------------------------------------------------------


class RefusedError(Exception):
    pass


class Killed(BaseException):
    """What gevent.Timeout and greenlet.GreenletExit are."""


def raising(error, *, where, read=0):
    """Return an application that raises before, in or behind its iteration."""

    def app(environ, start_response):
        environ["wsgi.input"].read(read)
        if where == "the call":
            raise error
        start_response("200 OK", [])
        if where == "the call, started":
            raise error

        def chunks():
            if where == "the first item":
                raise error
            yield b"a"
            if where == "the second item":
                raise error

        environ["test.result"] = Result(
            environ, chunks(), raises_in_close=error if where == "close" else None
        )
        if where == "iter":
            environ["test.result"].__class__ = RaisesInIter
            environ["test.result"].error = error
        return environ["test.result"]

    return app


class RaisesInIter(Result):
    error = None

    def __iter__(self):
        raise self.error


WHERE = [
    "the call",
    "the call, started",
    "iter",
    "the first item",
    "the second item",
    "close",
]


@pytest.mark.parametrize("where", WHERE)
def test_what_the_application_raises_comes_out_behind_the_discarding(where):
    """The server's own 500 must arrive, too."""
    error = RefusedError()
    got = serve(raising(error, where=where))

    assert error is got.raised
    assert "read" in got.events
    if where in ("iter", "the first item", "the second item"):
        # Servers answer 500 first and call close() then.
        assert got.events.index("read", 1) < got.events.index("close")
    assert (Outcome.COMPLETE, 1000) == (got.outcome, got.report.bytes_discarded)


@pytest.mark.parametrize("where", WHERE[2:])
def test_the_inner_iterable_is_closed_once_whatever_it_raises(where):
    got = serve(raising(RefusedError(), where=where))

    assert 1 == got.environ["test.result"].closed


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, Killed], ids=lambda k: k.__name__)
def test_what_ends_the_worker_is_not_kept_waiting_for_an_upload(kind, where):
    """Gunicorn's worker timeout is a SystemExit; 20 seconds would outlast its patience."""
    error = kind()
    got = serve(raising(error, where=where))

    assert error is got.raised
    assert "read" not in got.events[1:]
    if where not in WHERE[:2]:
        assert 1 == got.environ["test.result"].closed


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, Killed], ids=lambda k: k.__name__)
def test_what_ends_the_worker_during_the_discarding_comes_out_and_is_reported(kind):
    error = kind()

    class Interrupted:
        def read(self, size):
            raise error

    got = serve(answering(b"no"), **{"wsgi.input": Interrupted()})

    assert error is got.raised
    assert (Outcome.ERROR, kind.__name__) == (got.outcome, got.report.detail)


def test_an_error_of_the_server_in_start_response_closes_the_applications_iterable():
    """start_response is held until the length is known, so the server may refuse it late."""
    results = []

    def make(environ, chunks):
        results.append(Result(environ, chunks))
        return results[0]

    got = serve(answering(b"no", headers=[("X", "a\nb")], make=make))

    assert AssertionError is type(got.raised)
    assert 1 == results[0].closed


def test_an_application_that_replaces_its_answer_with_an_error_page_is_understood():
    """PEP 3333: start_response may be called again, with exc_info."""

    def app(environ, start_response):
        start_response("200 OK", [("X", "first")])
        try:
            raise RefusedError
        except RefusedError:
            start_response("500 Oops", [("X", "second")], sys.exc_info())
        return [b"oops"]

    got = serve(app)

    assert ("500 Oops", ["second"], 500) == (got.status, got.header("x"), got.report.status)
    assert b"oops" == got.body


def test_an_error_behind_the_first_chunk_reaches_the_server_as_exc_info():
    error = RefusedError()

    def app(environ, start_response):
        start_response("200 OK", [])
        yield b"a"
        try:
            raise error
        except RefusedError:
            start_response("500 Oops", [], sys.exc_info())
        yield b"b"

    got = serve(app)

    assert error is got.raised
    assert [b"a"] == got.chunks


def test_start_response_twice_is_refused_as_the_server_would():
    """Held or not, an application's mistake is not to be hidden from it."""

    def app(environ, start_response):
        start_response("200 OK", [])
        start_response("201 Created", [])
        return []

    assert AssertionError is type(serve(app).raised)


def test_an_application_that_starts_in_its_first_item_is_understood():
    def app(environ, start_response):
        start_response("413 Content Too Large", [])
        yield b"no"

    got = serve(app)

    assert ("413 Content Too Large", b"no", 413) == (got.status, got.body, got.report.status)


# --- Content-Length, and no other header ----------------------------------------------------------


WHOLE = {
    "one chunk": [b"abc"],
    "several": [b"ab", b"", b"c"],
    "nothing": [],
}


@pytest.mark.parametrize("chunks", WHOLE.values(), ids=WHOLE)
def test_a_whole_response_gets_its_content_length(chunks):
    """So that a client sees its end while the body is discarded behind it."""
    got = serve(answering(*chunks, headers=[("X", "y")]))

    assert [("X", "y"), ("Content-Length", str(sum(map(len, chunks))))] == got.headers


@pytest.mark.parametrize(
    "request_or_response",
    [
        {"REQUEST_METHOD": "HEAD"},
        {"status": "204 No Content"},
        {"status": "304 Not Modified"},
        {"status": "103 Early Hints"},
        {"status": "what"},
    ],
    ids=str,
)
def test_a_response_without_content_gets_none(request_or_response):
    status = request_or_response.pop("status", "200 OK")
    got = serve(answering(status=status), **request_or_response)

    assert [] == got.headers


def test_a_response_of_unknown_length_gets_none():
    assert [] == serve(answering(b"abc", make=generator)).headers


def test_the_applications_own_content_length_stays():
    got = serve(answering(b"abc", headers=[("content-length", "3")]))

    assert [("content-length", "3")] == got.headers


def test_a_response_with_transfer_encoding_gets_no_content_length():
    """Both would be a smuggled request's dream; a server may allow what PEP 3333 does not."""
    passed = []

    def app(environ, start_response):
        start_response("200 OK", [("Transfer-Encoding", "chunked")])
        return [b"abc"]

    def lenient(app):
        def call(environ, start_response):
            return app(
                environ,
                lambda status, headers, exc_info=None: (
                    passed.extend(headers) or start_response(status, [])
                ),
            )

        return call

    got = serve(
        app,
        wrap=lambda app, policy, on_report: lenient(
            DrainMiddleware(app, policy, on_report=on_report)
        ),
    )

    assert (None, [("Transfer-Encoding", "chunked")]) == (got.raised, passed)


def test_a_list_of_headers_that_the_application_keeps_is_not_changed():
    headers = [("X", "y")]

    def app(environ, start_response):
        start_response("413 Content Too Large", headers)
        return [b"no"]

    serve(app)

    assert [("X", "y")] == headers


@pytest.mark.parametrize(
    ("server", "policy"),
    [
        ("unknown", DrainPolicy()),
        ("unknown", DrainPolicy(max_bytes=10)),
        ("unknown", DrainPolicy(max_bytes=0)),
        ("gunicorn", DrainPolicy(max_bytes=10)),
        ("cheroot", DrainPolicy(max_bytes=10)),
        ("wsgiref", DrainPolicy(max_bytes=10)),
        ("werkzeug", DrainPolicy(max_bytes=10)),
    ],
    ids=lambda value: value if isinstance(value, str) else f"max_bytes={value.max_bytes}",
)
@pytest.mark.parametrize("make", [None, generator], ids=["list", "generator"])
def test_no_connection_header_is_ever_sent(make, server, policy):
    """Rule 9: PEP 3333 forbids it; waitress and wsgiref answer 500 to it."""
    got = serve(answering(b"no", make=make), b"x" * MIB, server=server, policy=policy)

    assert got.raised is None
    assert [] == got.header("connection")


def test_an_error_behind_a_big_chunk_comes_behind_it():
    """As without drainkit: the chunk is on its way before the error is known."""

    def make(environ, chunks):
        yield b"r" * 100_000
        raise LookupError("behind the first")

    got = serve(answering(status="200 OK", make=make))

    assert ("200 OK", 100_000) == (got.status, len(got.body))
    assert isinstance(got.raised, LookupError)
    assert Outcome.COMPLETE == got.outcome


# --- memory ---------------------------------------------------------------------------------------


def failing(kind):
    """Return a stream whose reads fail."""

    class Failing:
        def read(self, size=-1):
            raise kind("no")

    return Failing()


@pytest.mark.parametrize(
    ("body", "more"),
    [
        pytest.param(b"x" * 1000, {}, id="complete"),
        pytest.param(b"x" * 2000, {}, id="byte limit"),
        pytest.param([b"x" * 10, Disconnect()], {"length": 1000}, id="disconnected"),
        *(
            pytest.param(b"", {"length": 1000, "wsgi.input": failing(kind)}, id=kind.__name__)
            for kind in (OSError, TimeoutError, ValueError)
        ),
    ],
)
@pytest.mark.parametrize("chunks", [[b"no"], [BIG, BIG]], ids=["small", "big"])
@pytest.mark.parametrize("make", [None, generator], ids=["list", "generator"])
def test_what_a_request_held_is_freed_with_it(make, chunks, body, more):
    """It does not wait for the garbage collector."""
    gc.disable()
    try:
        got = serve(answering(*chunks, make=make), body, policy=DrainPolicy(max_bytes=1500), **more)
        got.result = None
        held = [
            one
            for one in gc.get_referrers(got.environ)
            if type(one).__module__.startswith("drainkit")
        ]
    finally:
        gc.enable()

    assert 1 == len(got.reports)
    assert [] == held
