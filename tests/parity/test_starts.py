"""When the client sees the answer's beginning: its headers, its first event, a line's echo.

Nothing of an answer is later than bare, whether the body comes or does not.
"""

import importlib.util
import time

import pytest

from tests.parity.harness import HTTP2, Seen, scenario
from tests.parity.peer import Peer, chunk
from tests.servers.harness import Running
from tests.servers.http2_client import Http2Connection

pytestmark = pytest.mark.server

_JSON = b'{"question": "when?"}'
_AS_JSON = ("Content-Type: application/json",)
# What the application works before the first event.
_WORK_SECONDS = 1.0

FRAMEWORKS = ("starlette", "sse_starlette", "fastapi", "litestar", "quart", "falcon")
# Quart and Falcon are made for asyncio.
_ASYNCIO_ONLY = ("quart", "falcon")


def _events(peer: Peer) -> Seen:
    peer.wait_for_end()
    return Seen(
        {"status": peer.status, "event": b"data: 1\n\n" in peer.body, "whole": peer.is_whole},
        {"head": peer.head_seconds, "event": peer.body_seconds, "whole": peer.whole_seconds},
    )


_EVENTS = {"status": 200, "event": True, "whole": True}


@scenario(
    "parity_plain",
    right={"status": 200, "body": b"GOT 10"},
    within={"head": 0.3, "whole": 1.0},
    unable={"gunicorn-asgi": "it sends the headers with the first of the body"},
)
@pytest.mark.parametrize("first", [b"", b"12345"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_client_that_waits_for_the_headers_before_it_sends_on_has_them(
    server: Running, first: bytes, framing: str
) -> Seen:
    with Peer(server.address) as peer:
        rest = b"1234567890"[len(first) :]
        if framing == "length":
            peer.request("/started", length=10, body=first)
        else:
            peer.request("/started", chunked=True, body=first)
            rest = chunk(rest) + chunk(b"")
        if peer.wait_for_head(4.0):
            peer.write(rest)
            peer.wait_for_end()
    return Seen(
        {"status": peer.status, "body": bytes(peer.body)},
        {"head": peer.head_seconds, "whole": peer.whole_seconds},
    )


@scenario("parity_plain", right=_EVENTS, within={"head": 0.3}, margin_seconds=0.1)
def test_the_headers_of_a_plain_application_do_not_wait_for_the_first_event(
    server: Running,
) -> Seen:
    with Peer(server.address) as peer:
        peer.request("/events", length=len(_JSON), headers=_AS_JSON, body=_JSON)
        return _events(peer)


@scenario("parity_plain", right=_EVENTS, within={"head": 0.3}, margin_seconds=0.1)
@pytest.mark.parametrize("sent_bytes", [0, 5])
def test_the_headers_do_not_wait_for_a_body_that_does_not_come(
    server: Running, sent_bytes: int
) -> Seen:
    """The rest of the body comes with the first event."""
    with Peer(server.address) as peer:
        peer.request("/events", length=len(_JSON), headers=_AS_JSON, body=_JSON[:sent_bytes])
        peer.wait(lambda: peer.body, 4.0)
        peer.write(_JSON[sent_bytes:])
        return _events(peer)


@scenario("parity_plain", right=_EVENTS, within={"head": 0.3}, margin_seconds=0.1)
def test_the_headers_do_not_wait_for_a_big_body(server: Running) -> Seen:
    with Peer(server.address) as peer:
        peer.request("/events", length=1_000_000)
        peer.upload(1_000_000, seconds=_WORK_SECONDS / 2)
        return _events(peer)


@scenario("parity_events", right=_EVENTS, within={"head": 0.3}, margin_seconds=0.1)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_headers_of_each_framework_do_not_wait_for_the_first_event(
    server: Running, framework: str
) -> Seen:
    if importlib.util.find_spec(framework) is None:
        pytest.skip(f"needs {framework}")
    if framework in _ASYNCIO_ONLY and "trio" in server.server.name:
        pytest.skip(f"{framework} is made for asyncio")
    with Peer(server.address) as peer:
        peer.request(f"/{framework}", length=len(_JSON), headers=_AS_JSON, body=_JSON)
        return _events(peer)


@scenario(
    "parity_plain",
    right={"status": 200, "body": b"data: 1\n\n", "whole": True},
    within={"head": 0.3},
    margin_seconds=0.1,
    servers=HTTP2,
)
@pytest.mark.parametrize("size_bytes", [0, 20, 300_000])
def test_the_headers_over_http2_do_not_wait_for_the_first_event(
    server: Running, size_bytes: int
) -> Seen:
    pytest.importorskip("h2")
    with Http2Connection(server.address) as connection:
        method = "POST" if size_bytes else "GET"
        stream = connection.request("/events", size_bytes, method=method)
        started = time.monotonic()
        times = {}
        for name, until in (
            ("head", lambda: stream.status is not None),
            ("event", lambda: stream.body),
            ("whole", lambda: stream.is_complete),
        ):
            connection.run(until, timeout_seconds=10.0)
            times[name] = time.monotonic() - started if until() else None
    return Seen({"status": stream.status, "body": stream.body, "whole": stream.is_complete}, times)


@scenario(
    "parity_plain",
    right={"status": 200, "echoes": 4, "mixed": False},
    within={"head": 0.3, "whole": 1.5},
)
@pytest.mark.parametrize("line_bytes", [10, 50_000])
@pytest.mark.parametrize("waits_for_head", [False, True])
def test_a_duplex_echo_gives_each_line_back_before_the_next_is_sent(
    server: Running, line_bytes: int, waits_for_head: bool
) -> Seen:
    lines = [b"%d" % number * (line_bytes - 1) + b"\n" for number in range(4)]
    sent = b""
    with Peer(server.address) as peer:
        peer.request("/echo", chunked=True)
        if waits_for_head:
            peer.wait_for_head(2.0)
        echoes = 0
        for line in lines:
            sent += line
            peer.write(chunk(line))
            if not peer.wait_for_body(len(sent), 2.0):
                break
            echoes += 1
        peer.write(chunk(b""))
        peer.wait_for_end(2.0)
    return Seen(
        {"status": peer.status, "echoes": echoes, "mixed": not sent.startswith(peer.body)},
        {"head": peer.head_seconds, "whole": peer.whole_seconds},
    )
