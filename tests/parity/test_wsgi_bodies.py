"""What a WSGI application reads of its body, late or to the end: all of it, or an error."""

import contextlib
import threading
from collections.abc import Iterator

import pytest

from tests.parity.harness import WSGI, Seen, new_run, notes_once, scenario
from tests.parity.peer import Peer
from tests.servers.harness import Running

pytestmark = pytest.mark.server

_LATE_BYTES = 800_000
_LAST_SECONDS = 2.0


def _repeated(nbytes: int) -> bytes:
    return (b"abcdefghijklmnopqrstuvwxyz" * (nbytes // 26 + 1))[:nbytes]


@contextlib.contextmanager
def _writing(peer: Peer, data: bytes) -> Iterator[None]:
    """Write beside what the block does."""
    thread = threading.Thread(target=peer.write, args=(data, _LAST_SECONDS))
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _late(server: Running) -> Seen:
    """Upload and read at once; see what the application has read behind 120 KB of its answer."""
    run = new_run()
    with Peer(server.address) as peer:
        peer.request(f"/late?run={run}", length=_LATE_BYTES, headers=["Connection: close"])
        with _writing(peer, _repeated(_LATE_BYTES)):
            peer.wait_for_end(_LAST_SECONDS)
        seen = notes_once(server, run, lambda seen: "late" in seen, 5.0).get("late", {})
    is_end = seen.get("how") == "end"
    return Seen(
        {
            "status": peer.status,
            "read": seen.get("bytes") if is_end else seen.get("how"),
            "in_order": seen.get("in_order"),
            "false_end": is_end and seen["bytes"] != _LATE_BYTES,
        },
        {"head": peer.head_seconds, "whole": peer.whole_seconds},
    )


@scenario(
    "parity_wsgi",
    right={"status": 200, "read": _LATE_BYTES, "in_order": True, "false_end": False},
    servers=WSGI,
    margin_seconds=1.0,
)
def test_a_late_read_has_the_whole_body(server: Running) -> Seen:
    return _late(server)


_NEVER_FALSE = {"status": 200, "in_order": True, "false_end": False}


@scenario(
    "parity_wsgi",
    right=_NEVER_FALSE,
    better=("read",),
    policy={"max_bytes": 100_000},
    causes=("LateReadError",),
    servers=WSGI,
    margin_seconds=1.0,
)
def test_a_late_read_behind_max_bytes_has_all_or_an_error(server: Running) -> Seen:
    return _late(server)


@scenario(
    "parity_wsgi",
    right=_NEVER_FALSE,
    better=("read",),
    policy={"max_concurrent": 1, "idle_seconds": 3.0},
    causes=("LateReadError",),
    # A process that holds the drain holds everything.
    servers=[name for name in WSGI if name != "gunicorn-sync"],
    margin_seconds=1.0,
)
def test_a_late_read_at_capacity_has_all_or_an_error(server: Running) -> Seen:
    """A stranger who has fallen silent holds the only place."""
    with Peer(server.address) as stranger:
        stranger.request("/early", length=5_000_000, body=b"x" * 1000)
        stranger.wait_for_end(2.0)
        return _late(server)


_INPUT_BYTES = 300_000


@scenario(
    "parity_wsgi",
    right={"answer": (200, b"%d" % _INPUT_BYTES)},
    better=("answer",),
    within={"answer": 1.0},
    servers=WSGI,
)
@pytest.mark.parametrize("how", ["pieces", "whole", "list"])
def test_the_body_ends_where_content_length_says(server: Running, how: str) -> Seen:
    """Whatever follows on the connection: nothing beyond the end is asked for, nor waited for."""
    return _to_the_end(server, how)


@scenario(
    "parity_wsgi",
    right={"answer": (200, b"%d" % _INPUT_BYTES)},
    better=("answer",),
    within={"answer": 1.0},
    servers=WSGI,
    unable={"granian-wsgi": "its readline() gives one line without its end, and then none"},
)
@pytest.mark.parametrize("how", ["lines", "iteration"])
def test_the_lines_of_the_body_end_where_content_length_says(server: Running, how: str) -> Seen:
    return _to_the_end(server, how)


def _to_the_end(server: Running, how: str) -> Seen:
    body = (b"line " * 19 + b"end \n") * (_INPUT_BYTES // 100)
    with Peer(server.address) as peer:
        peer.request(f"/input/{how}", length=len(body), body=body + b"GET /hello HTTP/1.1\r\n")
        peer.wait_for_end(1.0)
        return Seen({"answer": (peer.status, bytes(peer.body))}, {"answer": peer.whole_seconds})


@scenario("parity_wsgi", right={"answer": (200, b"20")}, servers=WSGI)
@pytest.mark.parametrize("path", ["/length/read", "/length/unread"])
def test_content_length_may_be_a_number(server: Running, path: str) -> Seen:
    with Peer(server.address) as peer:
        peer.request(path, length=20, body=b"x" * 20)
        peer.wait_for_end()
        return Seen({"answer": (peer.status, bytes(peer.body))}, {"answer": peer.whole_seconds})


@scenario(
    "parity_wsgi",
    right={"status": 200, "read": "hello"},
    better=("read",),
    servers=WSGI,
)
@pytest.mark.parametrize("answer_bytes", [2, 70_000])
@pytest.mark.parametrize("headers", [[], ["X-Forwarded-Host: example.org"]], ids=["", "proxied"])
def test_a_read_behind_the_last_byte_of_the_answer_has_the_body(
    server: Running, headers: list[str], answer_bytes: int
) -> Seen:
    run = new_run()
    with Peer(server.address) as peer:
        peer.request(f"/behind/{answer_bytes}?run={run}", length=5, headers=headers, body=b"hello")
        peer.wait_for_end()
    seen = notes_once(server, run, lambda seen: "read" in seen, 5.0)
    return Seen({"status": peer.status, "read": seen.get("read")}, {"answer": peer.whole_seconds})


_THREAD_BYTES = 200_000


@scenario(
    "parity_wsgi",
    right={"status": 202, "is_false": False},
    better=("is_false", "thread"),
    causes=("LateReadError",),
    servers=WSGI,
    unable={"gevent-pywsgi-unpatched": "a socket of gevent belongs to one thread"},
)
def test_a_thread_that_reads_while_the_body_is_discarded_has_no_hole(server: Running) -> Seen:
    """It has the body or an error that says what to do, and never an end where bytes are missing.

    Bare it may: the server itself reads the body away, or closes.
    """
    run = new_run()
    body = _repeated(_THREAD_BYTES)
    with Peer(server.address) as peer:
        peer.request(f"/threaded?run={run}", length=len(body), body=body[:100_000])
        peer.wait_for_head(2.0)
        peer.upload(0, seconds=0.1)
        peer.write(body[100_000:])
        peer.wait_for_end(2.0)
        seen = notes_once(server, run, lambda seen: "thread" in seen, 3.0).get("thread", {})
    return Seen(
        {"status": peer.status, "is_false": seen.get("is_false"), "thread": seen.get("how")},
        {"answer": peer.whole_seconds},
    )


@scenario(
    "parity_wsgi",
    right={"beside": (200, b"hello")},
    within={"beside": 0.5},
    servers=["gevent-pywsgi", "gevent-pywsgi-unpatched", "gunicorn-gevent"],
    takes_turns=False,
)
@pytest.mark.parametrize("path", ["/late", "/early", "/page"])
def test_nobody_waits_for_greenlets_whose_clients_are_silent(server: Running, path: str) -> Seen:
    """Twenty clients ask for a page and send nothing of their bodies; somebody asks beside."""
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stranger = stack.enter_context(Peer(server.address))
            stranger.request(path, length=200_000)
        with Peer(server.address) as peer:
            peer.request("/hello", "GET", headers=["Connection: close"])
            peer.wait_for_end(15.0)
            return Seen({"beside": (peer.status, bytes(peer.body))}, {"beside": peer.whole_seconds})
