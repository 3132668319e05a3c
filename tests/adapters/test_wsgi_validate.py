"""The standard library's referee of PEP 3333, around drainkit and inside it."""

import io
import sys
import wsgiref.validate

import pytest

from drainkit import Outcome
from drainkit_wsgi import DrainMiddleware
from tests.adapters.wsgi_server import KIB, Result, answering, generator, serve

READS = {
    "nothing": lambda stream: None,
    "read(n)": lambda stream: stream.read(100),
    "read to the end": lambda stream: stream.read(1000),
    "readline": lambda stream: stream.readline(),
    "readlines": lambda stream: stream.readlines(),
    "iteration": list,
}


@pytest.mark.parametrize("size", [2, 70 * KIB], ids=["small", "big"])
@pytest.mark.parametrize("make", [None, Result, generator], ids=["list", "iterable", "generator"])
@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("inside", [False, True], ids=["around", "around and inside"])
def test_the_validator_finds_nothing(inside, read, make, size):
    """Inside it sees drainkit as its server, around as its application; its input only iterates."""

    def app(environ, start_response):
        read(environ["wsgi.input"])
        return answering(
            b"r" * size,
            status="200 OK",
            headers=[("Content-Type", "text/plain")],
            make=make or (lambda environ, chunks: list(chunks)),
        )(environ, start_response)

    def wrap(app, policy, on_report):
        if inside:
            app = wsgiref.validate.validator(app)
        return wsgiref.validate.validator(DrainMiddleware(app, policy, on_report=on_report))

    got = serve(
        app,
        [b"line\n" * 100, b"x" * 500],
        wrap=wrap,
        **{"wsgi.errors": io.StringIO(), "SCRIPT_NAME": ""},
    )

    assert got.raised is None
    assert size == len(got.body)
    assert [Outcome.COMPLETE] * len(got.reports) == [report.outcome for report in got.reports]
    assert 1000 == got.source.given_bytes


# --- what is not quite PEP 3333 is the server's to take or to refuse ------------------------------


def start_response_by_keyword(environ, start_response):
    start_response("200 OK", [("X-First", "1")])
    try:
        raise RuntimeError("late")
    except RuntimeError:
        start_response("500 Oops", [("X-Second", "2")], exc_info=sys.exc_info())
    return [b"sorry"]


def all_by_keyword(environ, start_response):
    start_response(status="404 Not Found", headers=[("X-First", "1")])
    return [b"nothing"]


@pytest.mark.parametrize("app", [start_response_by_keyword, all_by_keyword])
@pytest.mark.parametrize("reads", [False, True])
def test_start_response_may_be_called_by_keyword_as_servers_allow(app, reads):
    def reading(environ, start_response):
        if reads:
            environ["wsgi.input"].read()
        return app(environ, start_response)

    bare = serve(reading, wrap=None)
    got = serve(reading)

    assert None is bare.raised
    assert (bare.raised, bare.status, bare.body) == (got.raised, got.status, got.body)
    assert bare.headers == [one for one in got.headers if one[0] != "Content-Length"]


@pytest.mark.parametrize("length", [1000, 0])
def test_a_content_length_may_be_a_number_as_in_the_environs_of_test_clients(length):
    app = answering(b"no")
    got = serve(app, b"x" * length, CONTENT_LENGTH=length)

    assert (None, b"no", length) == (got.raised, got.body, got.source.given_bytes)
    assert [length] * bool(length) == [report.declared_bytes for report in got.reports]


@pytest.mark.parametrize("wrong", [None, "text", 5], ids=repr)
@pytest.mark.parametrize("make", [None, generator], ids=["list", "generator"])
@pytest.mark.parametrize("before", [(), (b"begin",), (b"r" * 70_000,)], ids=["0", "1", "big"])
def test_an_item_that_is_no_bytes_is_the_servers_to_refuse(wrong, make, before):
    """It is not the end of the answer, and nothing behind it is lost without a word."""
    app = answering(*before, wrong, b"end", status="200 OK", make=make)
    bare = serve(app, wrap=None)
    got = serve(app)

    assert AssertionError is type(bare.raised) is type(got.raised)
    assert bare.body == got.body


@pytest.mark.parametrize("wrong", [None, "text", 5], ids=repr)
def test_so_is_what_is_given_to_write(wrong):
    def app(environ, start_response):
        write = start_response("200 OK", [])
        write(b"begin")
        write(wrong)
        return [b"end"]

    bare = serve(app, wrap=None)
    got = serve(app)

    assert AssertionError is type(bare.raised) is type(got.raised)
    assert bare.body == got.body
