"""The ordinary early answer: its body is small and has come, so that no drain is made for it.

It is counted, bounded, reported and logged as a drain's, and nobody but a clock can tell.
"""

import functools
import gc
import io
import logging
import socket
import threading
import types

import pytest

from drainkit import (
    CONTROL_KEY,
    DrainPolicy,
    LateReadError,
    Outcome,
    process_capacity,
)
from drainkit.testing import Disconnect, ScriptedBody, Silence
from drainkit_wsgi import DrainMiddleware, _upload
from drainkit_wsgi.servers._cheroot import CherootConnection
from drainkit_wsgi.servers._connection import Connection, chunked_bytes
from drainkit_wsgi.servers._gunicorn import GunicornConnection
from drainkit_wsgi.servers._rows import SERVERS
from tests.adapters.golden import wsgi as golden
from tests.adapters.wsgi_server import KIB, answering, generator, make_environ, serve

BODY = b"x" * KIB
NO = answering(b"no", headers=[("Content-Length", "2")])


class Reader(io.BytesIO):
    """gunicorn's body: one buffer of its own and one of its connection, as far as it is asked."""

    def __init__(self, body=BODY, *, buffered=None, fails=None):
        super().__init__(body)
        self.buf = io.BytesIO()
        self.reader = types.SimpleNamespace(unreader=types.SimpleNamespace(buf=io.BytesIO()))
        self.reader.unreader.buf.write(body if buffered is None else body[:buffered])
        self.fails = fails

    def read(self, *size):
        if self.fails is not None:
            error, self.fails = self.fails, None
            raise error
        return super().read(*size)


Reader.__module__ = "gunicorn.http.body"


@pytest.fixture
def no_drain(monkeypatch):
    """Let every request fail that makes a drain."""

    def made(*arguments, **more):
        raise AssertionError("a drain was made")

    monkeypatch.setattr("drainkit_wsgi._exchange.Upload", made)


@pytest.fixture
def drains(monkeypatch):
    """Take note of every drain that is made."""
    made = []

    class Upload(_upload.Upload):
        def __init__(self, *arguments):
            made.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr("drainkit_wsgi._exchange.Upload", Upload)
    return made


def come(app, stream=None, **request):
    """Serve a request on gunicorn whose body has come."""
    stream = Reader() if stream is None else stream
    fields = {"length": KIB, "server": "gunicorn", "wsgi.input": stream, **request}
    return serve(app, b"", **fields)


class Iterable:
    """An answer as frameworks return it: an iterable with a ``close()``."""

    def __init__(self, environ, chunks, closes=None):
        self._chunks = chunks
        self.close = closes or (lambda: environ["test.events"].append("inner close"))

    def __iter__(self):
        return iter(self._chunks)


# --- what is told ---------------------------------------------------------------------------------

ANSWERS = {
    "a list": NO,
    "a list without a length": answering(b"no"),
    "a tuple": answering(b"no", make=lambda environ, chunks: tuple(chunks)),
    "two pieces": answering(b"n", b"o", headers=[("Content-Length", "2")], make=generator),
    "two pieces without a length": answering(b"n", b"o", make=generator),
    "an iterable with a close()": answering(b"no", make=Iterable),
    "a large answer": answering(b"n" * 100 * KIB, b"o", make=generator),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_early_answer_to_a_body_that_has_come_makes_no_drain(answer, no_drain):
    got = come(ANSWERS[answer])

    assert (Outcome.COMPLETE, KIB, 0, KIB) == (
        got.outcome,
        got.report.bytes_discarded,
        got.report.bytes_read,
        got.report.declared_bytes,
    )
    assert ("HTTP/1.1", "gunicorn", "POST", "/site/upload", 413) == (
        got.report.protocol,
        got.report.server,
        got.report.method,
        got.report.path,
        got.report.status,
    )
    assert (b"", None) == (got.environ["wsgi.input"]._stream._stream.read(), got.raised)


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_answer_is_what_it_is_with_a_drain(answer, monkeypatch):
    quick = come(ANSWERS[answer])
    monkeypatch.setattr(GunicornConnection, "has_come", staticmethod(lambda *asked: False))
    slow = come(ANSWERS[answer])

    assert (slow.status, slow.headers, slow.body) == (quick.status, quick.headers, quick.body)


def test_what_the_application_has_read_is_counted(no_drain):
    def app(environ, start_response):
        environ["wsgi.input"].read(100)
        return NO(environ, start_response)

    report = come(app).report

    assert (100, KIB - 100) == (report.bytes_read, report.bytes_discarded)


def test_it_is_logged_as_a_drain_is(caplog, clock):
    caplog.set_level(logging.DEBUG, logger="drainkit")
    app = DrainMiddleware(NO)
    environ, _ = make_environ(b"", [], length=KIB, server="gunicorn", **{"wsgi.input": Reader()})
    app(environ, lambda *start: None).close()

    (record,) = caplog.records
    assert record.getMessage().startswith(
        "drain of POST /site/upload ended: complete (1024 bytes discarded in 0.00 s, status 413"
    )


def test_a_report_that_raises_costs_nobody_anything(no_drain):
    def fails(report):
        raise ValueError(report)

    def wrap(app, policy, on_report):
        return DrainMiddleware(app, policy, on_report=fails)

    got = come(NO, wrap=wrap)

    assert (b"no", None) == (got.body, got.raised)


def test_a_reporter_is_asked_while_the_application_answers(no_drain):
    told = []

    class Reporter:
        def answered(self):
            told.append("answered")
            return told.append

        def __call__(self, report):
            raise AssertionError("another is to be told")

    come(NO, wrap=lambda app, policy, on_report: DrainMiddleware(app, on_report=Reporter()))

    assert ["answered", Outcome.COMPLETE] == [told[0], told[1].outcome]


# --- what has come --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("buffered", "sent", "has_come"),
    [(KIB, 0, True), (24, 1000, True), (0, KIB, True), (0, KIB - 1, False), (24, 999, False)],
)
def test_gunicorns_buffers_and_the_socket_tell_what_has_come(buffered, sent, has_come):
    server, client = socket.socketpair()
    with server, client:
        client.sendall(b"x" * sent)
        environ = {"wsgi.url_scheme": "http", "gunicorn.socket": server}
        told = GunicornConnection.has_come(environ, Reader(buffered=buffered), KIB)

    assert has_come is told


def test_of_records_only_what_is_decrypted_has_come():
    server, client = socket.socketpair()
    with server, client:
        client.sendall(b"x" * 2 * KIB)
        environ = {"wsgi.url_scheme": "https", "gunicorn.socket": server}
        told = [
            GunicornConnection.has_come(environ, Reader(buffered=buffered), KIB)
            for buffered in (KIB - 1, KIB)
        ]

    assert [False, True] == told


def test_a_stream_of_another_shape_tells_nothing():
    environ = {"wsgi.url_scheme": "http"}

    assert not GunicornConnection.has_come(environ, io.BytesIO(BODY), KIB)
    assert not CherootConnection.has_come(environ, io.BytesIO(BODY), KIB)
    assert not Connection.has_come(environ, io.BytesIO(BODY), KIB)


def test_a_closed_connection_tells_nothing():
    server, client = socket.socketpair()
    client.close()
    environ = {"wsgi.url_scheme": "http", "gunicorn.socket": server}
    server.close()

    assert not GunicornConnection.has_come(environ, Reader(buffered=0), KIB)


@pytest.mark.parametrize(
    ("buffered", "sent", "has_come"), [(KIB, 0, True), (24, 1000, True), (0, KIB - 1, False)]
)
def test_cheroots_file_and_its_socket_tell_what_has_come(buffered, sent, has_come):
    makefile = pytest.importorskip("cheroot.makefile", reason="needs cheroot")
    server, client = socket.socketpair()
    with server, client:
        client.sendall(b"\n" + b"x" * buffered)
        file = makefile.StreamReader(server, "rb", 8 * KIB)
        try:
            file.readline()  # the head of a request, with what came behind it
            client.sendall(b"x" * sent)
            stream = types.SimpleNamespace(rfile=file)
            told = CherootConnection.has_come({"wsgi.url_scheme": "http"}, stream, KIB)
        finally:
            file.close()

    assert has_come is told


# --- what is bounded ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "outcome", "nbytes"),
    [
        (DrainPolicy(max_bytes=KIB), Outcome.COMPLETE, KIB),
        (DrainPolicy(max_bytes=KIB - 1), Outcome.BYTE_LIMIT, KIB - 1),
        (DrainPolicy(max_bytes=0), Outcome.DECLINED, 0),
    ],
)
def test_the_bounds_are_those_of_a_drain(policy, outcome, nbytes):
    report = come(NO, policy=policy).report

    assert (outcome, nbytes) == (report.outcome, report.bytes_discarded)


def test_an_application_may_decline():
    def app(environ, start_response):
        environ[CONTROL_KEY].policy = None
        return NO(environ, start_response)

    assert Outcome.DECLINED is come(app).outcome


def test_what_has_come_needs_no_place(no_drain):
    """It holds nobody up, however many drains are under way."""
    assert process_capacity.acquire(1)
    try:
        got = come(NO, policy=DrainPolicy(max_concurrent=1))
    finally:
        process_capacity.release()

    assert Outcome.COMPLETE is got.outcome


def test_a_body_that_is_not_small_has_a_drain(drains):
    stream = Reader(b"x" * 100 * KIB)

    assert 100 * KIB == come(NO, stream, length=100 * KIB).report.bytes_discarded
    assert 1 == len(drains)


def test_a_chunked_body_has_a_drain(drains):
    got = come(NO, length=None, HTTP_TRANSFER_ENCODING="chunked", **{"wsgi.input_terminated": True})

    assert (Outcome.COMPLETE, KIB) == (got.outcome, got.report.bytes_discarded)
    assert 1 == len(drains)


# --- where it is not known whether it has come ----------------------------------------------------


def test_where_nothing_could_end_a_read_it_is_done_in_a_place(no_drain):
    taken = []

    class Watched(ScriptedBody):
        def read(self, size=-1):
            taken.append(process_capacity.active)
            return super().read(size)

    got = serve(NO, Watched([BODY]), server="granian")

    assert ([1], 0) == (taken, process_capacity.active)
    assert (Outcome.COMPLETE, KIB) == (got.outcome, got.report.bytes_discarded)
    assert ["start", "write 2", "end", "close", "read"] == got.order


def test_where_there_is_no_place_nothing_is_read():
    assert process_capacity.acquire(1)
    try:
        got = serve(NO, BODY, server="granian", policy=DrainPolicy(max_concurrent=1))
    finally:
        process_capacity.release()

    assert Outcome.AT_CAPACITY is got.outcome
    assert "read" not in got.events


def test_a_client_that_leaves_in_the_middle_is_told_of_as_by_a_drain():
    for script in ([b"x" * 100, Disconnect()], [Disconnect()]):
        got = serve(NO, ScriptedBody(script), length=KIB, server="granian")

        assert Outcome.DISCONNECTED is got.outcome
        assert 0 == process_capacity.active


def test_what_a_short_read_gave_is_counted_once():
    """A server whose stream gives less than it is asked for."""

    class Short(ScriptedBody):
        def read(self, size=-1):
            return super().read(min(size, 400))

    got = serve(NO, Short([BODY]), server="granian")

    assert (Outcome.COMPLETE, KIB) == (got.outcome, got.report.bytes_discarded)


def test_more_than_a_first_read_asks_for_has_a_drain(drains):
    serve(NO, b"x" * 1200, server="granian")
    small = len(drains)
    serve(NO, b"x" * 1201, server="granian")

    assert (0, 1) == (small, len(drains))


def test_how_long_it_took_is_told(clock):
    report = serve(
        NO, ScriptedBody([BODY[:9], Silence(2), BODY[9:]], clock), server="granian"
    ).report

    assert (Outcome.COMPLETE, 2.0) == (report.outcome, report.seconds)


# --- chunks ---------------------------------------------------------------------------------------

ONE_CHUNK = b"400\r\n" + BODY + b"\r\n0\r\n\r\n"
TWO_CHUNKS = b"300\r\n" + BODY[:768] + b"\r\n100\r\n" + BODY[768:] + b"\r\n0\r\n\r\n"
NEXT = b"GET / HTTP/1.1\r\n"


def chunks_on_gunicorn(raw):
    """Return its ``wsgi.input`` of a chunked body of which so much has come, and its buffer."""
    body = pytest.importorskip("gunicorn.http.body", reason="needs gunicorn")
    unreader = pytest.importorskip("gunicorn.http.unreader").IterUnreader(iter(()))
    unreader.unread(raw)
    request = types.SimpleNamespace(unreader=unreader)
    return body.Body(body.ChunkedReader(request, unreader)), unreader.take_buffered


def chunks_on_cheroot(raw):
    server = pytest.importorskip("cheroot.server", reason="needs cheroot")
    here, there = socket.socketpair()
    with here, there:
        there.sendall(b"\n" + raw)
        file = pytest.importorskip("cheroot.makefile").StreamReader(here, "rb", 8 * KIB)
        file.readline()  # the head of a request, with what came behind it
    return server.ChunkedRFile(file, None), lambda: file.peek(0)


CHUNKS = {"gunicorn": chunks_on_gunicorn, "cheroot": chunks_on_cheroot}


def chunked(stream, app=NO, **request):
    fields = {"length": None, "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    return come(app, stream, **{**fields, **request})


@pytest.mark.parametrize("raw", [ONE_CHUNK, TWO_CHUNKS, b"0\r\n\r\n"], ids=["one", "two", "empty"])
@pytest.mark.parametrize("server", CHUNKS)
def test_chunks_that_have_come_make_no_drain(server, raw, no_drain):
    stream, _ = CHUNKS[server](raw)
    report = chunked(stream, server=server).report
    content = KIB if raw[:1] != b"0" else 0

    assert (Outcome.COMPLETE, content, 0, None) == (
        report.outcome,
        report.bytes_discarded,
        report.bytes_read,
        report.declared_bytes,
    )
    assert b"" == stream.read(1)


def test_what_comes_behind_the_last_chunk_is_the_next_request(no_drain):
    stream, left = chunks_on_gunicorn(ONE_CHUNK + NEXT)
    chunked(stream)

    assert NEXT == left()


@pytest.mark.parametrize(
    ("raw", "nbytes"),
    [
        (ONE_CHUNK, KIB),
        (TWO_CHUNKS + NEXT, KIB),
        (b"0\r\n\r\n", 0),
        (b"00003\r\nabc\r\n0\r\n\r\n", 3),
        (ONE_CHUNK[:-1], None),
        (b"5\r\n0\r\n\r\n", None),
        (b"3;name=value\r\nabc\r\n0\r\n\r\n", None),
        (b"3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n", None),
        (b"3\nabc\n0\n\n", None),
        (b"3\r\nabcde0\r\n\r\n", None),
        (b"-3\r\nabc\r\n0\r\n\r\n", None),
        (b"0x3\r\nabc\r\n0\r\n\r\n", None),
        (b"000003\r\nabc\r\n0\r\n\r\n", None),
        (b"", None),
    ],
)
def test_only_plain_chunks_with_their_end_have_come(raw, nbytes):
    """Whatever else they are, the server reads them, in a drain with its deadlines."""
    assert nbytes == chunked_bytes(raw)


def test_chunks_that_have_not_come_have_a_drain(drains):
    stream, _ = chunks_on_gunicorn(ONE_CHUNK[:100])

    assert Outcome.DISCONNECTED is chunked(stream).outcome or 1 == len(drains)
    assert 1 == len(drains)


def test_more_chunks_than_the_policy_allows_have_a_drain(drains):
    stream, _ = chunks_on_gunicorn(ONE_CHUNK)
    report = chunked(stream, policy=DrainPolicy(max_bytes=KIB - 1)).report

    assert (Outcome.BYTE_LIMIT, KIB - 1) == (report.outcome, report.bytes_discarded)
    assert 1 == len(drains)


def test_chunks_of_which_the_application_has_read_have_a_drain(drains):
    def app(environ, start_response):
        environ["wsgi.input"].read(100)
        return NO(environ, start_response)

    report = chunked(chunks_on_gunicorn(TWO_CHUNKS)[0], app).report

    assert (Outcome.COMPLETE, 100, KIB - 100) == (
        report.outcome,
        report.bytes_read,
        report.bytes_discarded,
    )
    assert 1 == len(drains)


def test_who_reads_chunks_between_two_pieces_has_them(no_drain):
    read = []

    def make(environ, chunks):
        yield b"n"
        read.append(environ["wsgi.input"].read(2 * KIB))
        yield b"o"

    got = chunked(
        chunks_on_gunicorn(ONE_CHUNK)[0],
        answering(make=make, headers=[("Content-Length", "2")]),
        policy=DrainPolicy(max_bytes=KIB),
    )

    assert ([BODY], b"no") == (read, got.body)


@pytest.mark.parametrize(("nbytes", "made"), [(1199, 0), (1200, 1), (5000, 1)])
def test_of_chunks_out_of_reach_no_more_is_read_than_by_a_drain_first(nbytes, made, drains):
    fields = {"length": None, "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    report = serve(NO, b"x" * nbytes, server="granian", **fields).report

    assert (Outcome.COMPLETE, nbytes, 0) == (
        report.outcome,
        report.bytes_discarded,
        report.bytes_read,
    )
    assert made == len(drains)


def test_chunks_that_nobody_has_asked_for_are_not_read():
    """A read of granian's would ask for them, and wait for a client that may never send them."""
    fields = {"length": None, "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    got = serve(NO, BODY, server="granian", HTTP_EXPECT="100-continue", **fields)

    assert (Outcome.EXPECT_PENDING, b"no") == (got.outcome, got.body)
    assert "read" not in got.order


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunks"])
def test_a_drain_lets_gunicorn_receive_less_at_once(is_chunked):
    """It would hold and copy up to 1 MiB, as large as a chunk is."""
    stream, _ = chunks_on_gunicorn(b"")
    unreader = stream.reader.req.unreader
    unreader.max_body_chunk = 1024 * KIB
    if not is_chunked:
        stream = types.SimpleNamespace(reader=types.SimpleNamespace(unreader=unreader))
    GunicornConnection({}, stream, None)

    assert 128 * KIB == unreader.max_body_chunk


# --- what is about to come ------------------------------------------------------------------------


@pytest.fixture
def late(monkeypatch):
    """Return the environ of a body of which half has come, what sends the rest, and all waits."""
    server, client = socket.socketpair()
    waits = []

    def sends(descriptor, wait_seconds):
        waits.append((wait_seconds, process_capacity.active))
        client.sendall(BODY[512:])
        return True

    monkeypatch.setattr(GunicornConnection, "is_readable", staticmethod(sends))
    with server, client:
        yield {"wsgi.input": Reader(buffered=512), "gunicorn.socket": server}, waits


def came_late(late, app=NO, **more):
    fields, _ = late
    return serve(app, b"", length=KIB, server="gunicorn", **fields, **more)


def test_what_comes_a_moment_behind_the_answer_makes_no_drain(late, no_drain):
    """It is waited for without a read, and in a place like a drain's."""
    report = came_late(late).report

    assert (Outcome.COMPLETE, KIB) == (report.outcome, report.bytes_discarded)
    assert ([(0.05, 1)], 0) == (late[1], process_capacity.active)


def test_nobody_waits_where_the_body_may_be_in_a_buffer(late, monkeypatch):
    """Its connection would be silent, and the server's thread held for nothing."""
    monkeypatch.setattr(GunicornConnection, "has_come", staticmethod(lambda *asked: None))
    came_late(late)

    assert 0.05 not in [seconds for seconds, _ in late[1]]


def test_nobody_waits_for_a_record(late):
    """It may bring nothing of the body, or not all of it."""
    came_late(late, **{"wsgi.url_scheme": "https"})

    assert 0.05 not in [seconds for seconds, _ in late[1]]


@pytest.mark.parametrize("row", SERVERS, ids=[f"{n} {row.name}" for n, row in enumerate(SERVERS)])
def test_of_a_stream_whose_buffers_are_not_known_nobody_says_that_nothing_has_come(row):
    """Or its thread would wait on a connection that may be silent."""
    assert row.connection.has_come({}, io.BytesIO(BODY), KIB) is None


@pytest.mark.parametrize("field", ["max_seconds", "idle_seconds"])
def test_no_wait_is_longer_than_the_policy_allows(field, late, no_drain):
    came_late(late, policy=DrainPolicy(**{field: 0.01}))

    assert [(0.01, 1)] == late[1]


def test_nobody_waits_without_a_place(late, drains):
    assert process_capacity.acquire(1)
    try:
        got = came_late(late, policy=DrainPolicy(max_concurrent=1))
    finally:
        process_capacity.release()

    assert (Outcome.AT_CAPACITY, []) == (got.outcome, late[1])


def test_nobody_waits_before_the_answer(late):
    """As where the application raises, and the server is still to answer."""

    def app(environ, start_response):
        raise ValueError("its own")

    got = came_late(late, app)

    assert "its own" == str(got.raised)
    assert {0} >= {seconds for seconds, _ in late[1]}


def test_what_does_not_come_soon_has_a_drain(late, drains, monkeypatch):
    monkeypatch.setattr(GunicornConnection, "is_readable", staticmethod(lambda *asked: False))

    assert (Outcome.COMPLETE, 1) == (came_late(late).outcome, len(drains))


def test_a_look_that_fails_has_a_drain(late, drains, monkeypatch):
    def fails(descriptor, wait_seconds):
        raise OSError("no descriptor is left")

    monkeypatch.setattr(GunicornConnection, "is_readable", staticmethod(fails))

    assert (Outcome.COMPLETE, 1) == (came_late(late).outcome, len(drains))
    assert 0 == process_capacity.active


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConnectionResetError("gone"), Outcome.DISCONNECTED),
        (TimeoutError("slow"), Outcome.IDLE),
        (ValueError("malformed"), Outcome.ERROR),
    ],
    ids=lambda one: getattr(one, "name", type(one).__name__),
)
def test_a_read_that_fails_is_told_of_as_by_a_drain(error, outcome):
    got = come(NO, Reader(fails=error))

    assert (outcome, b"no", None) == (got.outcome, got.body, got.raised)
    assert 0 == process_capacity.active


class WorkerEnds(BaseException):
    """Raised into a read by what ends its worker."""


def test_what_ends_the_worker_passes_and_is_told():
    got = come(NO, Reader(fails=WorkerEnds()))

    assert WorkerEnds is type(got.raised)
    assert (Outcome.ERROR, "WorkerEnds") == (got.outcome, got.report.detail)
    assert BODY == got.environ["wsgi.input"].read(), "nothing was thrown away"


def test_an_exception_of_the_application_is_raised_again(no_drain):
    def app(environ, start_response):
        raise ValueError("its own")

    got = come(app)

    assert "its own" == str(got.raised)
    assert (Outcome.COMPLETE, None) == (got.outcome, got.report.status)


def test_an_exception_behind_the_first_piece_is_raised_again(no_drain):
    def make(environ, chunks):
        yield b"n"
        raise ValueError("its own")

    got = come(answering(headers=[("Content-Length", "2")], make=make))

    assert ("its own", b"n") == (str(got.raised), got.body)
    assert (Outcome.COMPLETE, 413) == (got.outcome, got.report.status)


@pytest.mark.parametrize("error", [ValueError, WorkerEnds])
def test_an_exception_of_close_is_raised_again(error):
    def closes():
        raise error("its own")

    headers = [("Content-Length", "2")]
    got = come(answering(b"no", headers=headers, make=functools.partial(Iterable, closes=closes)))

    assert error is type(got.raised)
    assert (Outcome.COMPLETE if error is ValueError else Outcome.ERROR) is got.outcome


@pytest.mark.parametrize("length", [None, "4"])
def test_write_sends_at_once(length):
    def app(environ, start_response):
        headers = [] if length is None else [("Content-Length", length)]
        write = start_response("413 Content Too Large", headers)
        write(b"no")
        environ["test.events"].append("written")
        return [b"!!"]

    got = come(app)

    assert ["start", "write 2", "written", "write 2", "end", "close"] == got.order
    assert (b"no!!", Outcome.COMPLETE, 413) == (got.body, got.outcome, got.report.status)


def test_who_has_read_a_body_that_ends_too_early_may_still_write(no_drain):
    """A test of the whole length would wait for a rest that never comes."""

    def app(environ, start_response):
        write = start_response("200 OK", [])
        environ["test.read"] = environ["wsgi.input"].read()
        write(b"y")
        return [b"es"]

    got = come(app, Reader(BODY[:100], buffered=0))

    assert (BODY[:100], b"yes", []) == (got.environ["test.read"], got.body, got.reports)


@pytest.mark.parametrize("error", [None, ValueError("its own")], ids=["without", "with exc_info"])
@pytest.mark.parametrize("headers", [[], [("Content-Length", "2")]], ids=["no length", "length"])
def test_who_has_read_may_start_again_as_without_drainkit(headers, error, no_drain):
    def app(environ, start_response):
        start_response("200 OK", headers)
        environ["wsgi.input"].read()
        exc_info = () if error is None else ((ValueError, error, None),)
        start_response("500 Oh", headers, *exc_info)
        return [b"no"]

    bare, got = come(app, wrap=None), come(app)

    assert (bare.status, bare.body) == (got.status, got.body)
    assert type(bare.raised) is type(got.raised)


@pytest.mark.parametrize("headers", [[], [("Content-Length", "2")]])
def test_a_start_may_be_replaced_before_anything_is_sent(headers):
    def app(environ, start_response):
        start_response("200 OK", headers)
        try:
            raise ValueError
        except ValueError as error:
            start_response("500 Oh", headers, (ValueError, error, error.__traceback__))
        return [b"no"]

    got = come(app)

    assert ("500 Oh", b"no", 500) == (got.status, got.body, got.report.status)


def test_headers_that_are_none_are_the_servers_to_refuse():
    def app(environ, start_response):
        start_response("200 OK", None)
        return [b"no"]

    bare = come(app, wrap=None)
    got = come(app)

    assert type(bare.raised) is type(got.raised) is TypeError


# --- who reads late -------------------------------------------------------------------------------


def test_who_reads_between_two_pieces_has_the_body(no_drain):
    read = []

    def make(environ, chunks):
        yield b"n"
        read.append(environ["wsgi.input"].read())
        yield b"o"

    got = come(answering(make=make))

    assert ([BODY], b"no", []) == (read, got.body, got.reports)


@pytest.mark.parametrize("read", ["read", "readline", "readlines", "__next__"])
def test_who_reads_behind_the_answer_has_an_error_and_no_end(read):
    got = come(NO)
    stream = got.environ["wsgi.input"]

    with pytest.raises(LateReadError, match="drainkit discarded 1024 bytes"):
        getattr(stream, read)()
    assert b"" == stream.read(0)


def test_who_reads_in_close_has_the_body(no_drain):
    read = []

    def make(environ, chunks):
        return Iterable(environ, chunks, lambda: read.append(environ["wsgi.input"].read()))

    got = come(answering(b"no", headers=[("Content-Length", "2")], make=make))

    assert ([BODY], []) == (read, got.reports)


def test_a_body_that_a_thread_is_reading_is_left_to_it():
    is_reading, may_go_on, read = threading.Event(), threading.Event(), []

    class Slow(Reader):
        def read(self, *size):
            is_reading.set()
            assert may_go_on.wait(10)
            return super().read(*size)

    Slow.__module__ = "gunicorn.http.body"
    threads = []

    def app(environ, start_response):
        stream = environ["wsgi.input"]
        threads.append(threading.Thread(target=lambda: read.append(stream.read())))
        threads[0].start()
        assert is_reading.wait(10)
        return NO(environ, start_response)

    got = come(app, Slow())
    may_go_on.set()
    threads[0].join(10)

    assert (Outcome.DECLINED, [BODY]) == (got.outcome, read)


# --- who else is there ----------------------------------------------------------------------------


def test_the_file_of_the_server_is_returned_as_it_is(no_drain):
    files = []

    def make(environ, chunks):
        files.append(environ["wsgi.file_wrapper"](io.BytesIO(b"no")))
        return files[0]

    got = come(answering(make=make))

    assert got.result is files[0]
    assert Outcome.COMPLETE is got.outcome


def test_where_the_body_goes_first_the_answer_is_returned_as_it_is(no_drain):
    """Behind a proxy that reads no further, and over HTTP/2."""
    result = [b"no"]
    for fields in ({"HTTP_X_FORWARDED_HOST": "site"}, {"SERVER_PROTOCOL": "HTTP/2"}):
        app = answering(make=lambda environ, chunks: result)
        got = come(app, **fields)

        assert got.result is result
        assert (Outcome.COMPLETE, b"no") == (got.outcome, got.body)


@pytest.mark.parametrize("make", [None, generator], ids=["list", "generator"])
def test_nothing_waits_for_the_garbage_collector(make):
    gc.disable()
    try:
        got = come(answering(b"no", headers=[("Content-Length", "2")], make=make))
        got.result = None
        held = [
            one
            for one in gc.get_referrers(got.environ)
            if type(one).__module__.startswith("drainkit")
        ]
    finally:
        gc.enable()

    assert [] == held


# --- every answer ---------------------------------------------------------------------------------

_LATE = ("late", "late part")


def _is_small(scenario):
    answer = golden.ANSWERS[scenario.answer]
    is_sized = answer.kind == "list" or answer.length
    return is_sized and len(answer.data) <= 64 * KIB and answer.kind != "file"


@pytest.mark.parametrize("row", ["gunicorn reachable", "cheroot reachable"])
def test_every_answer_is_what_it_is_with_a_drain(row, monkeypatch):
    """The order, too, but for answers that are larger than a socket's buffer, or may be.

    Those need not wait for a body that has come, and nothing of it is lost for who reads late.
    """
    chosen = [
        scenario
        for scenario in golden.scenarios()
        if (scenario.row, scenario.version) == (row, "1.1") and not scenario.is_quiet
    ]
    told = {}
    for has_come in (False, True):
        for connection in (GunicornConnection, CherootConnection):
            answer = staticmethod(lambda *asked, has_come=has_come: has_come)
            monkeypatch.setattr(connection, "has_come", answer)
        told[has_come] = golden.all_that_happens(chosen)

    for scenario in chosen:
        slow, quick = told[False][scenario], told[True][scenario]
        if _is_small(scenario):
            assert slow == quick, scenario.key
        else:
            assert _sent(slow) == _sent(quick) or scenario.use in _LATE, scenario.key
            assert "WRONG" not in quick, scenario.key
            assert "LateReadError" not in quick or "LateReadError" in slow, scenario.key
    assert any(told[False][scenario] != told[True][scenario] for scenario in chosen)


def _sent(told):
    events = told.split("; ")
    return [one for one in events if one.startswith(("start", "write", "reported", "raised"))]
