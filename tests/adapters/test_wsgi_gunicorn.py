"""gunicorn's own reader, in process: how much it receives at once, for a drain and otherwise."""

import pytest

pytest.importorskip("gunicorn", reason="needs gunicorn")

from gunicorn.http.body import Body, LengthReader
from gunicorn.http.unreader import SocketUnreader

from drainkit import Outcome
from drainkit_wsgi import DrainMiddleware
from tests.adapters.wsgi_server import KIB, MIB, answering, make_environ


class Socket:
    """A connection on which as much has come as anybody asks for."""

    def __init__(self):
        self.asked_bytes = []

    def recv(self, size):
        self.asked_bytes.append(size)
        return b"x" * size


def served(app):
    """Serve an upload of 8 MiB; return how much was received at once, and the outcomes."""
    connection, reports = Socket(), []
    stream = Body(LengthReader(SocketUnreader(connection), 8 * MIB))
    environ, _ = make_environ(b"", [], length=8 * MIB, SERVER_SOFTWARE="gunicorn/27.0.1")
    environ |= {"wsgi.input": stream, "test.events": []}
    result = DrainMiddleware(app, on_report=reports.append)(environ, lambda *start: None)
    list(result)
    getattr(result, "close", lambda: None)()
    return connection.asked_bytes, [report.outcome for report in reports]


def test_an_application_receives_as_much_at_once_as_without_drainkit():
    def app(environ, start_response):
        environ["wsgi.input"].read()
        return answering(b"yes")(environ, start_response)

    asked_bytes, outcomes = served(app)

    assert (MIB, 8 * MIB, []) == (max(asked_bytes), sum(asked_bytes), outcomes)


def test_a_drain_receives_no_more_at_once_than_a_thread_is_to_hold():
    asked_bytes, outcomes = served(answering(b"no"))

    assert (128 * KIB, 8 * MIB) == (max(asked_bytes), sum(asked_bytes))
    assert [Outcome.COMPLETE] == outcomes
