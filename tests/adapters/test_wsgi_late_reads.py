"""Rule 4 of the design's section 5: what an application reads behind the beginning of its response.

It gets the body exactly, or an OSError that tells the cure; never a wrong byte, and never an end
that is not the body's.
"""

import contextlib
import gc
import io

import pytest

from drainkit import DrainPolicy, Kept, LateReadError, Outcome, process_budget
from drainkit_wsgi import DrainMiddleware
from tests.adapters.wsgi_server import KIB, answering, make_environ, reachable, serve

BIG = b"r" * (64 * KIB + 1)
BODY = bytes(range(256)) * 40  # 10,240 bytes
# The last 64 KiB of a body are read without a look at the connection.
LONG_BODY = BODY * 8


def late(read, *, before=BIG):
    """Return an application that reads only behind two chunks, the first a big one."""
    got = []

    def make(environ, chunks):
        yield before
        yield b"-"
        got.append(read(environ["wsgi.input"]))
        yield b"end"

    return answering(status="200 OK", make=make), got


def served(read, *, body=BODY, kept, **request):
    app, got = late(read)
    policy = DrainPolicy(late_read_bytes=kept)
    return serve(app, body, policy=policy, **request), got


READERS = {
    "read()": lambda stream: stream.read(),
    "read(n)": lambda stream: b"".join(iter(lambda: stream.read(100), b"")),
    "readline()": lambda stream: b"".join(iter(stream.readline, b"")),
    "readlines()": lambda stream: b"".join(stream.readlines()),
    "iteration": b"".join,
}


@pytest.mark.parametrize("kept", [len(BODY), len(BODY) + 1])
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_body_of_exactly_the_kept_bytes_is_read_late_in_every_way(read, kept):
    exchange, got = served(read, kept=kept)

    assert None is exchange.raised
    assert [BODY] == got
    assert BIG + b"-end" == exchange.body


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_one_byte_more_than_is_kept_is_an_error_and_not_the_end(read):
    exchange, got = served(read, kept=len(BODY) - 1)

    assert isinstance(exchange.raised, OSError)
    assert [] == got


def test_the_error_tells_both_numbers_and_the_cure():
    exchange, _ = served(lambda stream: stream.read(), kept=240)

    expected = (
        "drainkit discarded 10000 bytes of this request's body, because it was read only after "
        "the response had begun, and no more than late_read_bytes=240 are kept; read the body "
        "before responding, or raise DrainPolicy.late_read_bytes"
    )
    assert expected == str(exchange.raised)


def test_what_is_kept_is_exact_up_to_the_gap():
    got = []

    def read(stream):
        got.extend(iter(lambda: stream.read(1), b""))

    exchange, _ = served(read, kept=1000)

    assert isinstance(exchange.raised, OSError)
    assert BODY[:1000] == b"".join(got)


def test_with_nothing_kept_every_late_read_is_an_error():
    exchange, _ = served(lambda stream: stream.read(1), kept=0)

    assert isinstance(exchange.raised, OSError)


def test_an_error_that_the_application_handles_comes_again():
    errors = []

    def read(stream):
        for _ in range(2):
            with pytest.raises(OSError, match="late_read_bytes") as caught:
                stream.read()
            errors.append(str(caught.value))

    exchange, _ = served(read, kept=0)

    assert (None, errors[0]) == (exchange.raised, errors[1])


@pytest.mark.parametrize("name", ["readinto", "read1", "peek"])
def test_no_other_way_to_read_gets_past_what_was_read_ahead(name):
    """The server's own stream has more methods, and its bytes are not next in turn."""

    class Stream(io.BufferedReader):
        pass

    def read(stream):
        method = getattr(stream, name, None)
        if method is None:
            return None
        if name == "readinto":
            into = bytearray(5)
            return bytes(into[: method(into)])
        return bytes(method(5))[:5]

    app, got = late(read)
    serve(
        app,
        BODY,
        **{"wsgi.input": Stream(io.BytesIO(BODY + b"GET /next")), "CONTENT_LENGTH": "10240"},
    )

    assert got in ([None], [BODY[:5]])


def test_a_chunked_body_is_read_late_as_well():
    exchange, got = served(
        lambda stream: stream.read(),
        kept=len(BODY),
        length=None,
        **{"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
    )

    assert (None, [BODY]) == (exchange.raised, got)


def test_a_body_read_late_was_read_ahead_once_and_reported_once():
    exchange, _ = served(lambda stream: stream.read(), kept=len(BODY))

    assert Outcome.COMPLETE == exchange.outcome
    assert "read" not in exchange.order[exchange.order.index(f"write {len(BIG)}") :]


def test_what_the_application_does_not_read_late_is_thrown_away_without_an_error():
    exchange, got = served(lambda stream: stream.read(5), kept=len(BODY))

    assert (None, [BODY[:5]]) == (exchange.raised, got)


def test_a_client_that_pauses_lets_the_response_go_on():
    """Curl stops sending at an error status, and others wait for what they asked: no deadlock."""

    def make(environ, chunks):
        yield BIG
        yield b"-"
        yield environ["wsgi.input"].read()

    with reachable(sends=b"") as gunicorn:
        got = serve(answering(status="413 Content Too Large", make=make), LONG_BODY, **gunicorn)

    assert ["start", f"write {len(BIG)}"] == got.order[:2]
    assert (None, BIG + b"-" + LONG_BODY) == (got.raised, got.body)


def test_behind_a_pause_first_what_was_kept_then_the_rest():
    """The first piece comes at once, then the client is quiet until it sees the response."""
    with reachable() as gunicorn:
        connection = gunicorn["gunicorn.socket"]

        reads = []

        class QuietAfterTheFirst:
            def __init__(self):
                self.given = 0

            def read(self, size):
                if self.given == 0:
                    connection.recv(1)  # nothing more is waiting on the connection
                reads.append(size)
                piece = LONG_BODY[self.given : self.given + size]
                self.given += len(piece)
                return piece

        app, got = late(lambda stream: stream.read())
        gunicorn["wsgi.input"] = QuietAfterTheFirst()
        exchange = serve(app, LONG_BODY, SERVER_SOFTWARE="gunicorn/27", **gunicorn)

    assert (None, [LONG_BODY], []) == (exchange.raised, got, exchange.reports)
    assert 1 == reads[0]


@pytest.mark.parametrize("policy", [DrainPolicy(max_bytes=0), None], ids=["max_bytes=0", "None"])
def test_a_declined_body_is_read_late_from_the_server_itself(policy):
    """Nothing is read ahead; a client that can do both gets its answer as without drainkit."""
    got = []

    def app(environ, start_response):
        environ["drainkit.control"].policy = policy
        start_response("200 OK", [])
        yield BIG
        yield b"-"
        got.append(environ["wsgi.input"].read())

    exchange = serve(app, BODY)

    assert (None, [BODY]) == (exchange.raised, got)


def test_an_unframed_body_is_read_late_from_the_server_itself():
    exchange, got = served(
        lambda stream: stream.read(5), kept=0, length=None, HTTP_TRANSFER_ENCODING="chunked"
    )

    assert (None, [BODY[:5]]) == (exchange.raised, got)
    assert Outcome.UNFRAMED == exchange.outcome


def test_a_read_behind_the_discarding_is_an_error_and_not_the_end():
    """An application that goes on in a thread, or in its close()."""
    got = []

    def app(environ, start_response):
        got.append(environ["wsgi.input"])
        return answering(b"no")(environ, start_response)

    serve(app, BODY)

    with pytest.raises(OSError, match="discarded 10240 bytes"):
        got[0].read()


def test_a_byte_limit_in_the_read_ahead_leaves_no_wrong_end():
    """The body goes on behind the limit, so a late reader must not take it for the whole."""
    app, got = late(lambda stream: stream.read())
    exchange = serve(app, BODY, policy=DrainPolicy(max_bytes=2000, late_read_bytes=5000))

    assert Outcome.BYTE_LIMIT == exchange.outcome
    assert [BODY] == got or isinstance(exchange.raised, OSError)


def test_a_client_that_left_in_the_read_ahead_leaves_no_wrong_end():
    app, got = late(lambda stream: stream.read())
    exchange = serve(app, BODY, length=len(BODY) + 5)

    assert Outcome.DISCONNECTED == exchange.outcome
    # Without drainkit the server's stream would end early just so: Content-Length tells.
    assert [BODY] == got


def test_nothing_is_kept_behind_a_gap():
    """Also not when there is room again, because the application has taken what was kept."""
    kept = Kept(5)
    kept.add(b"abcdefg")
    taken = kept.take(5)
    kept.add(b"hi")

    assert (b"abcde", b"", 4) == (taken, kept.take(5), kept.lost_bytes)


# --- as much as was asked for, and as much memory as was allowed ----------------------------------


class Asked:
    """A server's stream that writes down what it was asked for."""

    def __init__(self, body, quiet=lambda: None):
        self._body = io.BytesIO(body)
        self._quiet = quiet
        self.asked = []

    def read(self, *size):
        self._quiet()
        self.asked.append(("read", *size))
        return self._body.read(*size)

    def readline(self, *size):
        self.asked.append(("readline", *size))
        return self._body.readline(*size)


LINES = b"abcdefghi\n" * 10_000


def interactive(read, *, waiting, body=LINES):
    """Serve a client that stops sending until it is answered; return stream and what was read.

    Args:
        read: What the application does with ``wsgi.input`` behind its first two chunks.
        waiting: Whether something is on the connection before, so that a byte is read ahead.
        body: The whole body.
    """
    app, got = late(read)
    with reachable(sends=b"x" if waiting else b"") as gunicorn:
        connection = gunicorn["gunicorn.socket"]
        connection.setblocking(False)

        def quiet():
            with contextlib.suppress(BlockingIOError):
                connection.recv(1)

        stream = Asked(body, quiet)
        gunicorn["wsgi.input"] = stream
        exchange = serve(
            app, body, SERVER_SOFTWARE="gunicorn/27", policy=DrainPolicy(max_seconds=3), **gunicorn
        )

    assert None is exchange.raised
    return stream, got[0]


@pytest.mark.parametrize("waiting", [False, True])
def test_the_server_is_never_asked_for_more_than_the_application_asked_for(waiting):
    """The client may wait for an answer to the ten bytes; a buffer would wait for 8 KiB."""

    def read(stream):
        return [stream.read(10), stream.readline(20), stream.readline(3), stream.read(7)]

    stream, got = interactive(read, waiting=waiting)

    line = b"abcdefghi\n"
    assert [line, line, b"abc", b"defghi\n"] == got
    first = [("read", 1), ("read", 9)] if waiting else [("read", 10)]
    rest = [("readline", 20), ("readline", 3), ("read", 7)]
    assert first + rest == stream.asked[: len(first + rest)]


def test_a_read_to_the_end_asks_the_server_for_what_is_left_of_the_body():
    """Some servers' streams know no end of the body (wsgiref)."""
    stream, got = interactive(lambda stream: stream.read(), waiting=True)

    assert LINES == got
    assert [("read", 1), ("read", len(LINES) - 1)] == stream.asked


def test_lines_that_are_partly_kept_are_whole():
    _, got = interactive(lambda stream: stream.readlines(25), waiting=True)

    assert [b"abcdefghi\n"] * 3 == got


def test_a_read_that_would_cross_the_gap_takes_nothing():
    """So that what is kept can still be read in smaller pieces."""

    def read(stream):
        with pytest.raises(OSError, match="late_read_bytes"):
            stream.read(1001)
        return stream.read(1000) + stream.read(0)

    exchange, got = served(read, kept=1000)

    assert (None, [BODY[:1000]]) == (exchange.raised, got)


@pytest.mark.parametrize("limit", [0, 1, 5000, 300_000])
def test_what_is_kept_takes_no_more_memory_than_it_has_bytes(limit):
    """And a bytearray's eighth, which it allocates in advance."""
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy has none")
    allocated = []

    def make(environ, chunks):
        tracemalloc.start()
        try:
            yield BIG
            yield b"-"
            snapshot = tracemalloc.take_snapshot()
        finally:
            tracemalloc.stop()
        ours = [
            tracemalloc.Filter(True, name)
            for name in ("*_kept.py", "*drainkit_wsgi*", "*testing.py")
        ]
        allocated.append(sum(trace.size for trace in snapshot.filter_traces(ours).traces))
        assert b"x" * limit == environ["wsgi.input"].read(limit)
        with pytest.raises(OSError, match=f"discarded {500_000 - limit} bytes"):
            environ["wsgi.input"].read(1)

    got = serve(
        answering(status="200 OK", make=make),
        b"x" * 500_000,
        policy=DrainPolicy(late_read_bytes=limit),
    )

    assert None is got.raised
    assert limit <= allocated[0] < 1.125 * limit + 3000


class Broken:
    """A server's stream as gunicorn's: what a read had gathered is lost when it raises."""

    def __init__(self, pieces):
        self._pieces = list(pieces)

    def read(self, size):
        data = b""
        while self._pieces and len(data) < size:
            piece = self._pieces.pop(0)
            if isinstance(piece, Exception):
                raise piece
            data += piece
        return data


@pytest.mark.parametrize("error", [TimeoutError("timed out"), ConnectionResetError("gone")])
def test_behind_a_read_that_was_ended_half_way_is_an_error_and_never_a_hole(error):
    """The client was silent while its body was read ahead, and then went on."""
    app, got = late(lambda stream: [stream.read(1), stream.read(5000)])
    stream = Broken([b"a" * 2000, b"b" * 1000, error, b"c" * 7000])
    exchange = serve(app, length=10_000, **{"wsgi.input": stream})

    assert isinstance(exchange.raised, OSError)
    assert [] == got


def test_what_was_kept_before_a_read_was_ended_can_be_read():
    app, got = late(lambda stream: stream.read(1200))
    stream = Broken([b"a" * 1200, TimeoutError("timed out")])
    exchange = serve(app, length=10_000, **{"wsgi.input": stream})

    assert (None, [b"a" * 1200]) == (exchange.raised, got)


@pytest.mark.parametrize("read", ["read", "readline"])
@pytest.mark.parametrize("before", [b"a", BIG], ids=["nothing kept", "kept"])
def test_to_ask_for_nothing_is_no_end(read, before):
    app, got = late(
        lambda stream: (getattr(stream, read)(0), stream.read(), stream.read(0)), before=before
    )
    exchange = serve(app, BODY)

    assert (None, [(b"", BODY, b"")]) == (exchange.raised, got)


# --- the process's budget -------------------------------------------------------------------------


@pytest.fixture
def crowded():
    """Leave no room to keep anything in."""
    limit = 1 << 60
    nbytes = limit - process_budget.taken_bytes
    assert process_budget.take(nbytes, limit)
    yield
    process_budget.give(nbytes)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_where_the_process_keeps_too_much_a_late_read_is_an_error_and_not_the_end(crowded, read):
    exchange, got = served(read, kept=len(BODY))

    assert isinstance(exchange.raised, LateReadError)
    assert "this process keeps 16 times late_read_bytes=10240" in str(exchange.raised)
    assert [] == got


def test_where_the_process_keeps_too_much_the_answer_of_who_reads_nothing_arrives(crowded):
    app, _ = late(lambda stream: b"")
    exchange = serve(app, BODY)

    assert (None, BIG + b"-end") == (exchange.raised, exchange.body)
    assert Outcome.COMPLETE is exchange.outcome


@pytest.mark.parametrize(
    "ending",
    [lambda result: result.close(), lambda result: None],
    ids=["closed", "given up"],
)
@pytest.mark.parametrize("pieces", [1, 2, 4])
def test_what_is_kept_is_given_back_with_the_answer(ending, pieces):
    """Whether all of it was read, some, or nothing; and whether somebody closed the iterable."""
    before = process_budget.taken_bytes
    app, _ = late(lambda stream: stream.read(10))
    environ, _ = make_environ(BODY, [])
    environ["test.events"] = []
    result = DrainMiddleware(app)(environ, lambda *start: lambda data: None)
    items = iter(result)
    held = [len(next(items)) for _ in range(min(pieces, 3))]

    assert len(held) == min(pieces, 3)
    if pieces < 3:
        assert process_budget.taken_bytes == before + len(BODY)
    ending(result)
    del result, items, environ, app, _
    gc.collect()
    assert before == process_budget.taken_bytes


def test_an_application_that_raises_gives_back_what_was_kept_for_it():
    before = process_budget.taken_bytes

    def read(stream):
        raise LookupError

    exchange, _ = served(read, kept=len(BODY))

    assert isinstance(exchange.raised, LookupError)
    assert before == process_budget.taken_bytes


def test_a_request_that_keeps_nothing_takes_no_lock(monkeypatch):
    class NoLock:
        def __enter__(self):
            raise AssertionError("the budget was asked")

    monkeypatch.setattr(process_budget, "_lock", NoLock())
    exchange = serve(answering(b"no"), BODY)

    assert Outcome.COMPLETE is exchange.outcome
