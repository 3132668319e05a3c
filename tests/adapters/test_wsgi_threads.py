"""A thread of the application that reads the body beside its answer: two never read at once.

The server's stream stops within a read until the test lets it go on, so nothing is left to chance.
"""

import io
import threading

import pytest

from drainkit import DrainPolicy, LateReadError, Outcome
from drainkit_wsgi import DrainMiddleware

BODY = bytes(range(256)) * 400
PATIENCE_SECONDS = 5.0


class Stream:
    """A server's stream that stops within each read until it is let go.

    Attributes:
        reads: How many have begun.
        most_at_once: How many there were at the same time.
    """

    def __init__(self):
        self._body = io.BytesIO(BODY)
        self._begun = threading.Semaphore(0)
        self._let_go = threading.Semaphore(0)
        self._at_once = 0
        self.most_at_once = 0

    def read(self, size):
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        self._begun.release()
        assert self._let_go.acquire(timeout=PATIENCE_SECONDS)
        self._at_once -= 1
        return self._body.read(size)

    def wait_for_read(self):
        assert self._begun.acquire(timeout=PATIENCE_SECONDS)

    def let_go(self, times=1000):
        self._let_go.release(times)


class Thread(threading.Thread):
    """Reads to the end, in pieces.

    Attributes:
        data: What it has read.
        error: What it ended with; None at the end.
    """

    def __init__(self, stream):
        super().__init__(daemon=True)
        self.data = b""
        self.error = None
        self._stream = stream

    def run(self):
        try:
            while piece := self._stream.read(500):
                self.data += piece
        except OSError as error:
            self.error = error

    def ends(self):
        self.join(PATIENCE_SECONDS)
        return not self.is_alive()


@pytest.fixture
def stream():
    stream = Stream()
    yield stream
    stream.let_go()


def request(stream):
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(len(BODY)),
        "wsgi.input": stream,
        "wsgi.url_scheme": "http",
    }


def answering(environ, start_response):
    start_response("202 Accepted", [])
    return [b"later"]


def test_a_body_that_a_thread_is_reading_is_left_to_it(stream):
    threads, reports = [], []

    def app(environ, start_response):
        thread = Thread(environ["wsgi.input"])
        threads.append(thread)
        thread.start()
        stream.wait_for_read()
        return answering(environ, start_response)

    result = DrainMiddleware(app, on_report=reports.append)(request(stream), lambda *_: None)
    list(result)
    result.close()
    stream.let_go()

    assert threads[0].ends()
    assert (BODY, None) == (threads[0].data, threads[0].error)
    assert [Outcome.DECLINED] == [report.outcome for report in reports]
    assert "a thread" in reports[0].detail


def test_a_thread_that_begins_while_the_body_is_discarded_is_told_how_to_keep_it(stream):
    environ, reports = request(stream), []
    result = DrainMiddleware(answering, on_report=reports.append)(environ, lambda *_: None)
    list(result)
    closing = threading.Thread(target=result.close)
    closing.start()
    stream.wait_for_read()
    thread = Thread(environ["wsgi.input"])
    thread.start()
    has_ended = thread.ends()
    stream.let_go()
    closing.join(PATIENCE_SECONDS)

    assert has_ended
    assert b"" == thread.data
    assert isinstance(thread.error, LateReadError)
    assert "drainkit.control" in str(thread.error)
    assert [Outcome.COMPLETE] == [report.outcome for report in reports]


def test_what_is_said_there_helps(stream):
    """With the policy None the body is left to the thread, as without drainkit."""

    def app(environ, start_response):
        environ["drainkit.control"].policy = None
        return answering(environ, start_response)

    environ = request(stream)
    result = DrainMiddleware(app)(environ, lambda *_: None)
    list(result)
    result.close()
    stream.let_go()
    thread = Thread(environ["wsgi.input"])
    thread.start()

    assert thread.ends()
    assert (BODY, None) == (thread.data, thread.error)


@pytest.mark.parametrize("kept_bytes", [len(BODY), 1000])
def test_a_thread_that_begins_while_the_body_is_read_ahead_has_it_or_an_error(stream, kept_bytes):
    def app(environ, start_response):
        start_response("200 OK", [])
        return iter([b"x" * 100_000, b"end"])

    environ = request(stream)
    policy = DrainPolicy(late_read_bytes=kept_bytes)
    result = iter(DrainMiddleware(app, policy)(environ, lambda *_: None))
    first = threading.Thread(target=next, args=(result,))
    first.start()
    stream.wait_for_read()
    thread = Thread(environ["wsgi.input"])
    thread.start()
    stream.let_go()
    first.join(PATIENCE_SECONDS)

    assert thread.ends()
    assert 1 == stream.most_at_once
    assert BODY.startswith(thread.data)
    if kept_bytes == len(BODY):
        assert (BODY, None) == (thread.data, thread.error)
    else:
        assert (kept_bytes, LateReadError) == (len(thread.data), type(thread.error))
