"""Where nothing counts references (PyPy), a slice of a memoryview lives until a collector runs.

A bytearray cannot change its size as long as a view of it lives. On such a Python the application
got a BufferError out of its late read. Here every view that drainkit takes lives on.
"""

import builtins
import sys

import pytest

from drainkit_wsgi import DrainMiddleware
from tests.adapters import wsgi_server

BODY = bytes(range(256)) * 1000
BIG = b"r" * (64 * 1024 + 1)


class View:
    """A memoryview whose slices nobody lets go."""

    alive = []  # noqa: RUF012  # that is its purpose

    def __init__(self, data):
        self._view = builtins.memoryview(data)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self._view.release()  # of its own, and not of what was taken from it

    def __getattr__(self, name):
        return getattr(self._view, name)

    def __len__(self):
        return len(self._view)

    def __getitem__(self, key):
        taken = self._view[key]
        if isinstance(taken, builtins.memoryview):
            self.alive.append(taken)
        return taken


@pytest.fixture
def views_live_on(monkeypatch):
    """Give every module of drainkit such a memoryview."""
    __import__("drainkit_asgi")
    for name, module in list(sys.modules.items()):
        if name.partition("_")[0].partition(".")[0] == "drainkit":
            monkeypatch.setattr(module, "memoryview", View, raising=False)
    yield
    View.alive.clear()


def test_a_view_that_lives_on_is_found_out():
    """What cannot fail shows nothing."""
    data = bytearray(BODY)
    with View(data) as view:
        assert BODY[:10] == bytes(view[:10])

    with pytest.raises(BufferError):
        del data[:10]
    View.alive.clear()


@pytest.mark.usefixtures("views_live_on")
@pytest.mark.parametrize("size", [-1, 1000])
def test_a_late_read_under_wsgi_lets_go_of_what_it_gives_away(size):
    got = []

    def make(environ, chunks):
        yield BIG
        yield b"-"
        got.extend(iter(lambda: environ["wsgi.input"].read(size), b""))
        yield b"end"

    app = wsgi_server.answering(status="200 OK", make=make)
    exchange = wsgi_server.serve(app, BODY, wrap=DrainMiddleware)

    assert (None, BODY) == (exchange.raised, b"".join(got))


@pytest.mark.anyio
@pytest.mark.usefixtures("views_live_on")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_late_receive_under_asgi_lets_go_of_what_it_gives_away(anyio_backend):
    from tests.adapters.asgi_server import body, serve, start

    got = []

    async def app(scope, receive, send):
        await send(start(200))
        await send(body(BIG, True))
        more = True
        while more:
            message = await receive()
            got.append(message["body"])
            more = message["more_body"]
        await send(body(b"end"))

    exchange = await serve(app, [BODY[:1000], BODY[1000:]], strict_client=True)

    assert (None, BODY) == (exchange.raised, b"".join(got))
