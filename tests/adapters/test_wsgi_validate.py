"""The standard library's referee of PEP 3333, around drainkit and inside it."""

import io
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
