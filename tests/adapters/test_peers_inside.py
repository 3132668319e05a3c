"""What is put around the applications of other projects' tests: drainkit, bodies and counts."""

import io
from collections import Counter

import anyio
import pytest

import drainkit
from drainkit import CONTROL_KEY
from drainkit_asgi.servers import server_of
from tests.peers.inside.peers_inside.bodies import Upload, give_to_asgi, give_to_wsgi
from tests.peers.inside.peers_inside.outside import Outside, after_init
from tests.peers.inside.peers_inside.setting import OUTERMOST, Place, Setting

NBYTES = 3000


@pytest.fixture(autouse=True)
def _drain_as_it_is(monkeypatch):
    """Undo what counting changes."""
    monkeypatch.setattr(drainkit.Drain, "begin", drainkit.Drain.begin)


def outside(place, body_bytes=0):
    setting = Setting(framework="none", place=place, body_bytes=body_bytes, results="")
    return Outside(setting, Counter())


def environ(**more):
    return {
        "REQUEST_METHOD": "GET",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": io.BytesIO(),
        **more,
    }


def scope(*headers):
    return {"type": "http", "http_version": "1.1", "method": "GET", "headers": iter(headers)}


@pytest.mark.parametrize("length", [None, "", "0", 0], ids=repr)
def test_a_wsgi_request_without_a_body_is_given_one(length):
    more = {} if length is None else {"CONTENT_LENGTH": length}
    given = environ(**more)
    give_to_wsgi(given, NBYTES)

    assert (str(NBYTES), b"x" * NBYTES) == (given["CONTENT_LENGTH"], given["wsgi.input"].read())


def test_a_body_in_memory_comes_as_from_a_connection():
    given = environ(CONTENT_LENGTH="5", **{"wsgi.input": io.BytesIO(b"hello")})
    give_to_wsgi(given, NBYTES)
    stream = given["wsgi.input"]

    assert not isinstance(stream, io.BytesIO)
    assert ("5", b"hello") == (given["CONTENT_LENGTH"], stream.read())


def test_an_upload_is_read_as_pep_3333_says():
    stream = Upload(b"a\nb\nc\nd")

    assert b"a\n" == stream.readline()
    assert [b"b\n"] == stream.readlines(1)
    assert [b"c\n", b"d"] == list(stream)


def receive_all(headers, messages):
    """Give a request a body; return its headers, and what its application receives."""
    given = scope(*headers)
    left = list(messages)

    async def receive():
        return left.pop(0)

    async def run():
        outer = give_to_asgi(given, receive, NBYTES)
        return [await outer() for _ in range(2 if left[0]["type"] == "http.request" else 1)]

    received = anyio.run(run)
    return given["headers"], received


@pytest.mark.parametrize("headers", [[], [(b"Content-Length", b"0")], [(b"host", b"here")]])
def test_an_asgi_request_without_a_body_is_given_one_in_two_messages(headers):
    fields, got = receive_all(headers, [{"type": "http.request", "body": b""}])

    assert [True, False] == [message["more_body"] for message in got]
    assert b"x" * NBYTES == b"".join(message["body"] for message in got)
    lengths = [value for name, value in fields if name.lower() == b"content-length"]
    assert [str(NBYTES).encode()] == lengths


@pytest.mark.parametrize(
    "header", [(b"content-length", b"5"), (b"Transfer-Encoding", b"chunked")], ids=str
)
def test_an_asgi_request_with_a_body_keeps_it(header):
    own = [
        {"type": "http.request", "body": b"he", "more_body": True},
        {"type": "http.request", "body": b"llo"},
    ]
    fields, got = receive_all([header], own)

    assert [header] == fields
    assert own == got


def test_a_client_that_left_before_its_body_has_left():
    _, got = receive_all([], [{"type": "http.disconnect"}])

    assert [{"type": "http.disconnect"}] == got


@pytest.mark.parametrize("place", Place)
def test_drainkit_stands_outermost_around_wsgi_where_it_shall(place):
    seen = []

    def app(environ, start_response):
        seen.append(CONTROL_KEY in environ)
        start_response("404 Not Found", [])
        return [b"no"]

    one = outside(place, NBYTES)
    result = one.wsgi(app)(environ(), lambda status, headers, exc_info=None: None)
    content = b"".join(result)
    getattr(result, "close", lambda: None)()

    assert b"no" == content
    assert [place in OUTERMOST] == seen
    assert {"requests": 1, "drains": int(place in OUTERMOST)} == {"drains": 0, **one.counts}


def seen_under(place):
    """Return the name of the server that drainkit takes a test client for."""
    seen = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        seen.append(message["type"])

    one = outside(place, NBYTES)
    original = one.asgi

    async def look(scope, receive, send):
        seen.append(server_of(receive, send).name)
        await app(scope, receive, send)

    one.drains_here = False
    anyio.run(original(look), scope(), receive, send)
    return seen[0]


@pytest.mark.parametrize(
    ("place", "name"),
    [(Place.OUTERMOST_BETWEEN, "gunicorn"), (Place.OUTERMOST_BEHIND, "granian")],
)
def test_a_test_client_is_taken_for_a_server_with_another_order(place, name):
    assert name == seen_under(place)


@pytest.mark.parametrize("place", Place)
def test_drainkit_stands_outermost_around_asgi_where_it_shall(place):
    sent, seen = [], []

    async def app(scope, receive, send):
        seen.append(CONTROL_KEY in scope)
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    one = outside(place, NBYTES)
    anyio.run(one.asgi(app), scope(), receive, send)

    assert b"no" == b"".join(message.get("body", b"") for message in sent)
    assert [place in OUTERMOST] == seen
    assert {"requests": 1, "drains": int(place in OUTERMOST)} == {"drains": 0, **one.counts}


def test_every_call_of_a_class_passes_through():
    class App:
        def __call__(self, environ, start_response):
            return [environ["REQUEST_METHOD"].encode()]

    one = outside(Place.OUTERMOST, NBYTES)
    one.replace_wsgi_call(App)

    assert [b"GET"] == list(App()(environ(), lambda status, headers, exc_info=None: None))
    assert 1 == one.counts["requests"]


def test_what_follows_init_sees_the_whole_object():
    class App:
        def __init__(self, name):
            self.name = name

    seen = []
    after_init(App, lambda app: seen.append(app.name))
    App("one")

    assert ["one"] == seen
