"""``wsgi.input`` ends where Content-Length says, also where the stream of the server goes on."""

import io

import pytest

from drainkit import DrainPolicy, LateReadError
from drainkit_wsgi._input import NO_LENGTH, Input
from tests.adapters.wsgi_server import KIB, answering, generator, serve

BODY = b"".join(b"line %d\n" % number for number in range(500)) + b"the last one has no end"


class WaitsForEverError(Exception):
    """Raised where a server's stream would wait for what no client sends."""


class Endless:
    """A body on a connection that stays open: as wsgiref and werkzeug hand it over.

    Attributes:
        most_bytes: The most that one call asked for; ``inf`` for all there is.
    """

    def __init__(self, body=BODY, most_at_once=None):
        self._body = io.BytesIO(body)
        self._most_at_once = most_at_once
        self.most_bytes = 0

    def _left(self):
        return len(self._body.getbuffer()) - self._body.tell()

    def read(self, size=None):
        self.most_bytes = max(self.most_bytes, float("inf") if size is None else size)
        if self._most_at_once is not None and size is not None:
            size = min(size, self._most_at_once)
        elif size is None or not 0 <= size <= self._left():
            raise WaitsForEverError
        return self._body.read(size)

    def readline(self, size=None):
        line = self._body.readline() if size is None else self._body.readline(size)
        if not line.endswith(b"\n") and len(line) != size:
            raise WaitsForEverError
        return line

    def readlines(self, hint=None):
        raise WaitsForEverError

    def __iter__(self):
        return iter(self.readline, b"")


READS = {
    "read to nothing": lambda stream: b"".join(iter(lambda: stream.read(1000), b"")),
    "read": lambda stream: stream.read(),
    "read -1": lambda stream: stream.read(-1),
    "read None": lambda stream: stream.read(None),
    "read more": lambda stream: stream.read(10**6),
    "readline to nothing": lambda stream: b"".join(iter(stream.readline, b"")),
    "readline 7": lambda stream: b"".join(iter(lambda: stream.readline(7), b"")),
    "readlines": lambda stream: b"".join(stream.readlines()),
    "readlines hint": lambda stream: b"".join(map(b"".join, iter(lambda: stream.readlines(9), []))),
    "iteration": b"".join,
}


def reading(read):
    """Return an application that reads, and keeps what it got."""
    got = []

    def app(environ, start_response):
        got.append(read(environ["wsgi.input"]))
        return answering(b"ok", status="200 OK")(environ, start_response)

    return app, got


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_body_ends_where_content_length_says(read):
    app, got = reading(read)
    bare = serve(app, length=len(BODY), wrap=None, **{"wsgi.input": Endless()})

    assert WaitsForEverError is type(bare.raised)

    served = serve(app, length=len(BODY), **{"wsgi.input": Endless()})

    assert (None, [BODY], []) == (served.raised, got, served.reports)


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_body_that_is_read_late_ends_there_too(read):
    got = []

    def make(environ, chunks):
        yield b"a" * 10
        yield b"b" * 70 * KIB
        got.append(read(environ["wsgi.input"]))

    for kept_bytes in (0, 10, 10**6):
        got.clear()
        app = answering(status="200 OK", make=make)
        stream = Endless()
        served = serve(
            app,
            length=len(BODY),
            policy=DrainPolicy(max_bytes=100, late_read_bytes=kept_bytes),
            **{"wsgi.input": stream},
        )

        assert [BODY] == got or (LateReadError is type(served.raised) and [] == got)
        assert stream.most_bytes <= len(BODY)


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_behind_the_end_there_is_nothing_and_nobody_is_asked(read):
    app, got = reading(lambda stream: (stream.read(len(BODY)), read(stream)))
    served = serve(app, length=len(BODY), **{"wsgi.input": Endless()})

    assert (None, [(BODY, b"")]) == (served.raised, got)


def test_a_stream_that_returns_what_has_come_is_read_to_its_end():
    """Sized reads of some middlewares' streams return less than they are asked for."""
    app, got = reading(lambda stream: stream.read())
    serve(app, length=len(BODY), **{"wsgi.input": Endless(most_at_once=100)})

    assert [BODY] == got


def test_what_was_read_for_nothing_comes_first_when_all_of_a_chunked_body_is_asked_for():
    """A read that gave all that it asked for did not come to the end, and the body was left."""
    source = Input(io.BytesIO(b"beginning and end"), DrainPolicy(), NO_LENGTH)
    taken = source.take_all(9, None)

    assert (None, b"beginning and end", b"") == (taken, source.read(), source.read())


def test_a_read_that_failed_is_no_end():
    class Failing(Endless):
        def read(self, size=None):
            raise ConnectionResetError("the client left")

    def read_twice(stream):
        for _ in range(2):
            with pytest.raises(ConnectionResetError):
                stream.read()
        return b""

    app, got = reading(read_twice)
    served = serve(app, length=len(BODY), **{"wsgi.input": Failing()})

    assert (None, [b""]) == (served.raised, got)


# --- behind the last byte of an answer ------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 70_000])
@pytest.mark.parametrize(
    "proxy", [{}, {"HTTP_X_FORWARDED_HOST": "site.example"}], ids=["", "proxy"]
)
def test_an_application_may_read_behind_the_last_byte_of_its_answer(size, proxy):
    """It has given what its Content-Length says, and has not ended."""
    got = []

    def make(environ, chunks):
        yield b"k" * size
        got.append(environ["wsgi.input"].read())

    app = answering(status="200 OK", headers=[("Content-Length", str(size))], make=make)
    for wrap in ({"wrap": None}, {}):
        served = serve(app, b"hello", **proxy, **wrap)

        assert (None, size) == (served.raised, len(served.body))

    assert [b"hello", b"hello"] == got


def test_who_reads_there_what_was_not_kept_learns_of_the_setting_that_helps():
    def make(environ, chunks):
        yield b"k" * 70_000
        environ["wsgi.input"].read()

    app = answering(status="200 OK", headers=[("Content-Length", "70000")], make=make)
    served = serve(app, b"hello", policy=DrainPolicy(late_read_bytes=3))

    assert LateReadError is type(served.raised)
    assert "late_read_bytes=3 are kept" in str(served.raised)


def test_who_reads_behind_the_whole_answer_is_told_of_no_setting():
    streams = []

    def make(environ, chunks):
        streams.append(environ["wsgi.input"])
        return generator(environ, chunks)

    serve(answering(b"ok", status="200 OK", make=make))

    with pytest.raises(LateReadError, match="because the application had answered; read the body"):
        streams[0].read()
