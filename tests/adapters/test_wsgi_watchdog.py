"""Rule 8 of the design's section 5: deadlines for reads that block, on real pairs of sockets.

The waits in here are real and short; each bound is many times what it needs on a busy machine.
"""

import contextlib
import gc
import math
import os
import random
import socket
import subprocess
import sys
import threading
import time
import types
import warnings

import pytest

from drainkit import DrainPolicy, Outcome, process_capacity
from drainkit.testing import FakeClock
from drainkit_wsgi import DrainMiddleware
from drainkit_wsgi import _watchdog as watchdog_module
from drainkit_wsgi._watchdog import Deadline
from tests.adapters.wsgi_server import answering, generator, input_class, serve

LIMIT_SECONDS = 5.0
# How late a deadline may be noticed: 0.2 s behind the socket's own timeout, and as long as a busy
# machine stands still; before `pair` gives up.
LATE_SECONDS = 4.0
BIG = b"r" * 100_000


@pytest.fixture
def pair():
    """Two ends of a connection: the server's and the client's."""
    server, client = socket.socketpair()
    client.settimeout(LIMIT_SECONDS)

    def give_up():
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)

    # So that a deadline which does not come fails a test instead of blocking it.
    timer = threading.Timer(LIMIT_SECONDS, give_up)
    timer.start()
    with server, client:
        yield server, client
    timer.cancel()
    timer.join()


@pytest.fixture
def new_watchdog(monkeypatch):
    """A watchdog that has watched nothing yet."""
    new = watchdog_module._Watchdog()
    monkeypatch.setattr(watchdog_module, "_watchdog", new)
    return new


@pytest.fixture
def watchdog_time(monkeypatch):
    """Time for the watchdog that moves only when told to."""
    clock = FakeClock(1000.0)
    monkeypatch.setattr(watchdog_module, "time", types.SimpleNamespace(monotonic=clock))
    return clock


def let_look(watchdog):
    """Let a watchdog look at all deadlines once more, and wait until it has."""
    here, there = socket.socketpair()
    with here, there, Deadline(here.fileno()) as deadline:
        here.settimeout(LIMIT_SECONDS)
        deadline.allow(0.0)
        with watchdog._condition:
            watchdog._condition.notify()  # it sleeps in the time of this machine
        assert b"" == here.recv(1)
        with watchdog._condition:
            pass  # as long as it looks it has the lock


class FromConnection:
    """The body as gunicorn reads it: a read blocks until it has all that was asked for."""

    def __init__(self, connection):
        self.file = connection.makefile("rb", buffering=0)
        self.calls = 0

    def read(self, size):
        self.calls += 1
        data = b""
        while len(data) < size and (piece := self.file.read(size - len(data))):
            data += piece
        return data


def serve_on(server, app=None, *, policy, length=100_000, **fields):
    """Serve a request whose body comes over *server*; return what happened and how long it took."""
    body = FromConnection(server)
    fields.setdefault("gunicorn.socket", server)
    fields["wsgi.input"] = input_class("gunicorn.http.body")(body, [])
    started = time.monotonic()
    with contextlib.closing(body.file):
        got = serve(
            app or answering(b"no", status="200 OK"), length=length, policy=policy, **fields
        )
    return got, time.monotonic() - started


def readable(server, client):
    """Tell whether the read side of *server* is open: a byte sent arrives."""
    client.sendall(b"!")
    return server.recv(1) == b"!"


@contextlib.contextmanager
def dripping(client, *, every_seconds, start=b""):
    """Let a client send *start*, and then a byte every so often."""
    stop = threading.Event()
    client.sendall(start)

    def drip():
        with contextlib.suppress(OSError):
            while not stop.wait(every_seconds):
                client.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(LIMIT_SECONDS)


SILENT = DrainPolicy(idle_seconds=0.2)
WHOLE = DrainPolicy(max_seconds=0.3, min_bytes_per_second=0)
APPS = {
    "behind the response": answering(b"no", status="200 OK"),
    "before the response": answering(BIG, status="200 OK"),
    "read ahead": answering(BIG, b"end", status="200 OK", make=generator),
}


# --- a blocked read ends --------------------------------------------------------------------------


@pytest.mark.parametrize("app", ["behind the response", "before the response"])
def test_a_read_of_a_silent_client_ends_at_the_deadline(pair, app):
    server, _ = pair
    got, seconds = serve_on(server, APPS[app], policy=SILENT)

    assert (None, Outcome.IDLE) == (got.raised, got.outcome)
    assert 0.2 <= seconds < 0.2 + LATE_SECONDS


@pytest.mark.parametrize("error", [ConnectionResetError("left"), ValueError("bad chunk")], ids=repr)
def test_a_read_that_fails_because_the_deadline_ended_it_is_a_silence(pair, error, monkeypatch):
    """To one server the rest of a chunked body is malformed, to another the client has left."""

    class Fails(FromConnection):
        def read(self, size):
            if len(data := super().read(size)) < size:
                raise error
            return data

    monkeypatch.setitem(globals(), "FromConnection", Fails)
    server, _ = pair
    policy = DrainPolicy(idle_seconds=0.2)
    fields = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    got, _ = serve_on(server, policy=policy, length=None, **fields)

    assert Outcome.IDLE is got.outcome


@pytest.mark.parametrize("app", ["behind the response", "before the response", "read ahead"])
def test_one_byte_at_a_time_passes_no_deadline(pair, app):
    """It passes every timeout of the socket; the watchdog shuts it all the same."""
    server, client = pair
    # No more than a first read asks for: between two of them the deadline may pass.
    with dripping(client, every_seconds=0.02, start=b"x" * 500):
        got, seconds = serve_on(server, APPS[app], policy=WHOLE)

    assert (None, Outcome.TIME_LIMIT) == (got.raised, got.outcome)
    assert 0.3 <= seconds < 0.3 + LATE_SECONDS
    assert 500 <= got.report.bytes_discarded < 2000


def test_bytes_gathered_by_a_read_that_was_ended_are_counted(pair):
    server, client = pair
    client.sendall(b"x" * 700)
    got, _ = serve_on(server, policy=DrainPolicy(idle_seconds=0.2, min_bytes_per_second=0))

    assert (Outcome.IDLE, 700) == (got.outcome, got.report.bytes_discarded)


@pytest.mark.parametrize("app", ["before the response", "read ahead"])
def test_the_answer_can_be_sent_behind_a_deadline_that_ended_a_read(pair, app):
    server, client = pair
    got, _ = serve_on(server, APPS[app], policy=SILENT)
    server.sendall(b"the answer")

    assert Outcome.COMPLETE is not got.outcome if got.reports else True
    assert got.body.startswith(BIG)
    assert b"the answer" == client.recv(100)


@pytest.mark.parametrize("timeout", [None, 7.5, 0.0], ids=repr)
def test_a_socket_keeps_its_own_timeout(pair, timeout):
    """Gunicorn's gevent worker and a site's setdefaulttimeout have theirs."""
    server, client = pair
    client.sendall(b"x" * 1000)
    server.settimeout(timeout)
    got, _ = serve_on(server, APPS["before the response"], policy=SILENT, length=1000)

    assert (Outcome.COMPLETE, timeout) == (got.outcome, server.gettimeout())


def test_the_rest_of_a_body_that_ended_in_time_is_complete(pair):
    server, client = pair
    with dripping(client, every_seconds=0.005):
        got, _ = serve_on(
            server, policy=DrainPolicy(idle_seconds=5, min_bytes_per_second=1), length=20
        )

    assert (Outcome.COMPLETE, 20) == (got.outcome, got.report.bytes_discarded)


def test_a_server_must_not_go_on_where_the_bounds_said_to_stop(pair):
    """Behind the response the read side is shut; what the server still sends is not touched."""
    server, client = pair
    client.sendall(b"x" * 5000)
    got, _ = serve_on(server, policy=DrainPolicy(max_bytes=1000, idle_seconds=0.2))
    server.sendall(b"still sending")

    assert Outcome.BYTE_LIMIT == got.outcome
    while left := server.recv(65536):
        assert b"x" in left
    assert b"still sending" == client.recv(100)


def test_a_server_must_not_go_on_with_a_body_for_which_there_was_no_room(pair):
    """Gunicorn's gthread worker would hold a thread for 5 s, and all of accepting for 2 s."""
    server, client = pair
    assert process_capacity.acquire(1)
    try:
        got, _ = serve_on(server, policy=DrainPolicy(max_concurrent=1))
    finally:
        process_capacity.release()
    server.sendall(b"still sending")
    server.settimeout(LIMIT_SECONDS / 2)

    assert Outcome.AT_CAPACITY == got.outcome
    assert b"" == server.recv(1)
    assert b"still sending" == client.recv(100)


def test_a_server_must_not_go_on_with_a_body_that_it_found_malformed(pair):
    """Werkzeug would read all that comes, without a bound."""
    server, _ = pair

    class Malformed:
        def read(self, size):
            raise OSError("Invalid chunk header")

    stream = input_class("gunicorn.http.body")(Malformed(), [])
    got = serve(answering(b"no"), length=1000, **{"wsgi.input": stream, "gunicorn.socket": server})

    assert Outcome.DISCONNECTED == got.outcome
    assert b"" == server.recv(1)


def test_where_threads_are_greenlets_others_get_a_turn(pair, monkeypatch):
    """A client that is faster than it is read would keep gevent from everybody else."""
    slept = []

    def sleep(seconds):
        """As gevent's: a function in the place of the built-in one."""
        slept.append(seconds)

    monkeypatch.setattr(time, "sleep", sleep)

    class Slow:
        """A parser that takes 2 ms of the clock for each read."""

        def read(self, size):
            until = time.monotonic() + 0.002
            while time.monotonic() < until:
                pass
            return b"x" * min(size, 512)

    stream = input_class("gunicorn.http.body")(Slow(), [])
    policy = DrainPolicy(max_seconds=0.5)
    got = serve(answering(b"no"), length=10**9, policy=policy, **{"wsgi.input": stream})

    assert Outcome.TIME_LIMIT == got.outcome
    assert 5 <= len(slept) <= 50  # a turn is 10 ms
    assert {0.001} == set(slept)


@pytest.mark.parametrize(("scheme", "start"), [("http", 5000), ("https", 1)])
@pytest.mark.parametrize("interval_seconds", [0.03, 10.0])
def test_where_shutting_would_cost_the_answer_nothing_is_shut_before_it(
    pair, new_watchdog, watchdog_time, scheme, start, interval_seconds
):
    """On a Unix socket the peer's writes fail at once, and nginx answers 502; nor over TLS.

    No watchdog is needed: here it is never woken.
    """
    server, client = pair
    policy = DrainPolicy(max_seconds=0.6, idle_seconds=0.4)
    body = FromConnection(server)
    fields = {
        "SERVER_SOFTWARE": "Werkzeug/3.1",
        "werkzeug.socket": server,
        "wsgi.input": input_class("_io")(body, []),
        "wsgi.url_scheme": scheme,
    }
    with contextlib.closing(body.file):
        with dripping(client, every_seconds=interval_seconds, start=b"x" * start):
            got = serve(answering(BIG), length=100_000, policy=policy, **fields)

        assert Outcome.COMPLETE != got.outcome
        assert (None, BIG) == (got.raised, got.body)
        assert start <= got.report.bytes_discarded
        assert readable_behind(server, client)


@pytest.mark.parametrize("start", [0, 300, 5000])
@pytest.mark.parametrize("interval_seconds", [0.03, 10.0])
def test_nor_where_gunicorn_gathers_a_kibibyte_for_each_read(
    pair, new_watchdog, watchdog_time, start, interval_seconds
):
    body = pytest.importorskip("gunicorn.http.body", reason="needs gunicorn")
    from gunicorn.http.unreader import SocketUnreader

    server, client = pair
    unreader = SocketUnreader(server)
    unreader.buf.write(b"x" * start)  # what came with the headers
    stream = body.Body(body.LengthReader(unreader, 100_000))
    policy = DrainPolicy(max_seconds=0.6, idle_seconds=0.4)
    fields = {"gunicorn.socket": server, "wsgi.input": stream}
    with dripping(client, every_seconds=interval_seconds):
        got = serve(answering(BIG), length=100_000, policy=policy, **fields)

    assert Outcome.COMPLETE != got.outcome
    assert (None, BIG) == (got.raised, got.body)
    assert start // 1024 * 1024 <= got.report.bytes_discarded
    assert readable_behind(server, client)


def test_before_the_answer_the_sockets_own_timeout_comes_first(pair, new_watchdog, watchdog_time):
    server, _ = pair
    with Deadline(server.fileno(), server) as deadline:
        deadline.allow(3.0)
        own_seconds = server.gettimeout()
        watchdog_time.advance(own_seconds)
        let_look(new_watchdog)
        before = deadline.fired
        watchdog_time.advance(1.0)
        let_look(new_watchdog)

    assert (3.0, False, True) == (own_seconds, before, deadline.fired)


def test_a_body_that_gunicorn_has_already_is_not_waited_for(pair):
    body = pytest.importorskip("gunicorn.http.body", reason="needs gunicorn")
    from gunicorn.http.unreader import SocketUnreader

    server, _ = pair
    unreader = SocketUnreader(server)
    unreader.buf.write(b"x" * 500)
    stream = body.Body(body.LengthReader(unreader, 500))
    fields = {"gunicorn.socket": server, "wsgi.input": stream}
    started = time.monotonic()
    got = serve(answering(BIG), length=500, **fields)

    assert (Outcome.COMPLETE, 500) == (got.outcome, got.report.bytes_discarded)
    assert time.monotonic() - started < LATE_SECONDS


# --- as long as it gets on ------------------------------------------------------------------------


@pytest.fixture
def tcp_pair():
    """Two ends of a TCP connection, of which Linux tells when something came: server and client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), LIMIT_SECONDS)
        server, _ = listener.accept()
    with server, client:
        yield server, client


on_linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux tells when data came"
)


@on_linux
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("app", ["behind the response", "before the response"])
def test_a_read_that_gets_on_is_not_ended_because_it_asked_for_much(tcp_pair, app, framing):
    """The client was quick, so that much is asked for, and is slow now."""
    server, client = tcp_pair
    length = 30_000
    fields = {"length": length}
    if framing == "chunked":
        fields = {
            "length": None,
            "HTTP_TRANSFER_ENCODING": "chunked",
            "wsgi.input_terminated": True,
        }

    def send():
        client.sendall(b"x" * 20_000)
        for _ in range(10):
            time.sleep(0.1)
            client.sendall(b"x" * 1000)
        client.shutdown(socket.SHUT_WR)  # where these chunks have no end of their own

    sender = threading.Thread(target=send)
    sender.start()
    got, _ = serve_on(server, APPS[app], policy=DrainPolicy(idle_seconds=0.8), **fields)
    sender.join(LIMIT_SECONDS)

    assert (None, Outcome.COMPLETE) == (got.raised, got.outcome)
    assert length == got.report.bytes_discarded


@on_linux
@pytest.mark.parametrize(
    ("outcome", "policy"),
    [
        (Outcome.TIME_LIMIT, {"max_seconds": 1.0}),
        (Outcome.TOO_SLOW, {"min_bytes_per_second": 1000, "grace_seconds": 1.0}),
        (Outcome.BYTE_LIMIT, {"max_bytes": 99_000}),
    ],
)
def test_bytes_that_come_move_no_bound_but_silence(tcp_pair, outcome, policy):
    """One now and then passes every limit on silence."""
    server, client = tcp_pair
    fields = {"min_bytes_per_second": 0, "idle_seconds": 0.6, **policy}
    with dripping(client, every_seconds=0.02):
        got, seconds = serve_on(server, policy=DrainPolicy(**fields))

    assert outcome is got.outcome
    assert 0.6 <= seconds < 1.0 + LATE_SECONDS
    assert got.report.bytes_discarded < 500


@on_linux
def test_silence_counts_from_the_last_byte_of_a_read_that_is_never_filled(tcp_pair):
    server, client = tcp_pair

    def send():
        for _ in range(5):
            time.sleep(0.1)
            client.sendall(b"x")

    sender = threading.Thread(target=send)
    began = time.monotonic()
    sender.start()
    policy = DrainPolicy(min_bytes_per_second=0, idle_seconds=0.8)
    got, _ = serve_on(server, policy=policy)
    seconds = time.monotonic() - began
    sender.join(LIMIT_SECONDS)

    assert (Outcome.IDLE, 5) == (got.outcome, got.report.bytes_discarded)
    assert 1.25 <= seconds < 1.3 + LATE_SECONDS


def looked(monkeypatch, told, *, most_seconds=100.0):
    """Return a watch's deadline behind each look; silence is 4 s, and *told* what the kernel says.

    Args:
        monkeypatch: pytest's.
        told: For each second: when data came last in its order, and how many segments came.
        most_seconds: The bound that no segment moves.
    """
    watch = watchdog_module.Watch(-1)
    watch.silent_seconds, watch.deadline, watch.latest = 4.0, 4.0, most_seconds
    deadlines = []
    for now, facts in enumerate(told, start=1):
        came = None if facts is None else watchdog_module.Arrivals(*facts)
        monkeypatch.setattr(watchdog_module, "arrivals", lambda descriptor, now, came=came: came)
        watch.look(float(now))
        deadlines.append(watch.deadline)
    return deadlines


@pytest.mark.parametrize(
    ("told", "deadlines"),
    [
        pytest.param([(-1.0, 9)] * 4, [4, 4, 4, 4], id="silent"),
        pytest.param([(0.5, 9), (1.5, 10), (1.5, 10)], [4.5, 5.5, 5.5], id="in order"),
        pytest.param([(-1.0, 9), (-1.0, 10), (-1.0, 11)], [4, 6, 7], id="out of order, or again"),
        pytest.param([(-1.0, 9), (-1.0, 10), (-1.0, 10)], [4, 6, 6], id="and then silent"),
        pytest.param([None, None], [4, 4], id="the kernel does not tell"),
    ],
)
def test_what_comes_moves_the_deadline_of_a_read(monkeypatch, told, deadlines):
    """A line that falls to a tenth brings for seconds what has come already, or too early."""
    assert deadlines == looked(monkeypatch, told)


def test_and_never_beyond_the_bound_that_no_segment_moves(monkeypatch):
    told = [(float(now), 9 + now) for now in range(8)]

    assert [4, 5, 5.5, 5.5, 5.5, 5.5, 5.5, 5.5] == looked(monkeypatch, told, most_seconds=5.5)


def test_who_sends_until_the_bound_is_seen_to_have_sent_until_then(monkeypatch):
    """Late by a moment, a drain whose client was last looked at long ago would call it silent."""
    watch = watchdog_module.Watch(-1)
    watch.deadline = watch.latest = 5.0
    monkeypatch.setattr(
        watchdog_module, "arrivals", lambda descriptor, now: watchdog_module.Arrivals(now - 0.1, 9)
    )
    watch.look(1.0)
    before_the_bound = watch.last_at
    watch.look(5.5)

    assert (-math.inf, 5.4, 5.0) == (before_the_bound, watch.last_at, watch.deadline)


def test_of_what_tells_nothing_the_whole_read_must_come_in_time(pair):
    """A Unix socket, and every socket of another system."""
    server, client = pair
    with dripping(client, every_seconds=0.02):
        got, _ = serve_on(server, policy=DrainPolicy(min_bytes_per_second=0, idle_seconds=0.3))

    assert Outcome.IDLE is got.outcome


def readable_behind(server, client):
    """Tell whether a byte that is sent now still arrives, behind those that were left."""
    client.sendall(b"!")
    server.settimeout(LIMIT_SECONDS)
    while (piece := server.recv(65_536)) and not piece.endswith(b"!"):
        pass
    return piece.endswith(b"!")


# --- and nothing else does ------------------------------------------------------------------------


def test_a_connection_whose_body_was_read_in_time_is_never_shut(pair, new_watchdog, watchdog_time):
    """Its deadline passes while the next request is served on it."""
    server, client = pair
    client.sendall(b"x" * 1000)
    got, _ = serve_on(server, length=1000, policy=DrainPolicy())
    watchdog_time.advance(60.0)
    let_look(new_watchdog)

    assert Outcome.COMPLETE == got.outcome
    assert readable(server, client)


def test_a_deadline_that_comes_as_the_watch_ends_is_one_or_the_other(pair):
    """Never a read side shut without the request knowing, and then the next request is."""
    random.seed(5)
    fired = 0
    for _ in range(150):
        server, client = socket.socketpair()
        with server, client:
            deadline = Deadline(server.fileno())
            with deadline:
                deadline.allow(0.003)
                time.sleep(random.uniform(0.002, 0.004))
            if deadline.fired:
                assert b"" == server.recv(1)
            else:
                assert readable(server, client)
            fired += deadline.fired

    assert 0 < fired < 150


def test_a_connection_that_got_the_number_of_a_closed_one_is_never_shut():
    server, client = socket.socketpair()
    number = server.fileno()
    deadline = Deadline(number)
    with client, deadline:
        deadline.allow(0.1)
        server.close()
        other, peer = socket.socketpair()
        with other, peer:
            assert number == other.fileno()
            ends = time.monotonic() + LIMIT_SECONDS
            while not deadline.fired and time.monotonic() < ends:
                time.sleep(0.01)

            assert deadline.fired
            assert readable(other, peer)


def test_a_deadline_may_be_moved_later(pair, new_watchdog, watchdog_time):
    server, client = pair
    with Deadline(server.fileno()) as deadline:
        for _ in range(8):
            deadline.allow(3.0)
            watchdog_time.advance(2.0)
            let_look(new_watchdog)
        before = deadline.fired, readable(server, client)
        watchdog_time.advance(2.0)
        let_look(new_watchdog)

        assert (False, True) == before
        assert deadline.fired


def test_the_nearest_of_several_deadlines_comes_first(pair, new_watchdog):
    """The thread sleeps towards a far one when a near one comes."""
    server, client = pair
    far, near = Deadline(server.fileno()), Deadline(client.fileno())
    with far, near:
        far.allow(60)
        time.sleep(0.05)
        started = time.monotonic()
        near.allow(0.1)
        assert b"" == client.recv(1)

        assert 0.1 <= time.monotonic() - started < LATE_SECONDS
        assert (True, False) == (near.fired, far.fired)


@pytest.mark.parametrize("default", [None, 5.0, 0.0], ids=repr)
def test_a_default_timeout_does_not_switch_the_connection_to_not_blocking(pair, default):
    """A socket object made of a descriptor would: the flag belongs to the shared description."""
    server, _ = pair
    deadline = Deadline(server.fileno())
    socket.setdefaulttimeout(default)
    try:
        with deadline:
            deadline.allow(0.05)
            assert b"" == server.recv(1)
    finally:
        socket.setdefaulttimeout(None)

    assert deadline.fired
    assert os.get_blocking(server.fileno())


def test_no_descriptor_is_left_open(pair):
    server, client = pair
    gc.collect()  # what other tests have left is not to be closed in between
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        client.sendall(b"x" * 1000)
        serve_on(server, policy=DrainPolicy(), length=1000)
    serve_on(server, policy=SILENT)

    assert before == len(os.listdir("/dev/fd"))


def test_a_connection_that_cannot_be_watched_is_not_read(pair, monkeypatch):
    """Without a deadline there is no bound."""
    server, client = pair
    client.sendall(b"x" * 1000)

    def none_left(descriptor):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("os.dup", none_left)
    got, _ = serve_on(server, policy=SILENT, length=1000)

    assert (None, Outcome.ERROR, 0, b"no") == (
        got.raised,
        got.outcome,
        got.report.bytes_discarded,
        got.body,
    )


# --- one thread, from the first need on -----------------------------------------------------------


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "drainkit"]


def test_one_thread_serves_all_and_starts_with_the_first(pair, new_watchdog):
    before = len(threads())
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(Deadline(pair[0].fileno()))
    serve_on(pair[0], policy=SILENT)

    assert before + 1 == len(threads())
    assert all(thread.daemon for thread in threads())


def test_many_threads_at_once_start_one(new_watchdog):
    before = len(threads())
    count = 16
    barrier = threading.Barrier(count)
    ended = []

    def work():
        server, client = socket.socketpair()
        with server, client:
            barrier.wait(LIMIT_SECONDS)
            with Deadline(server.fileno()) as deadline:
                deadline.allow(0.1)
                ended.append((server.recv(1), deadline.fired))

    workers = [threading.Thread(target=work) for _ in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(LIMIT_SECONDS)

    assert [(b"", True)] * count == ended
    assert before + 1 == len(threads())


def test_importing_and_serving_without_a_connection_starts_none(new_watchdog):
    before = len(threads())
    serve(answering(b"no"))

    assert before == len(threads())


def test_a_thread_that_could_not_start_is_started_by_the_next(pair, new_watchdog, monkeypatch):
    """Where threads run out, the one request goes unread; the process must not stay unbounded."""
    server, _ = pair
    first_server, first_client = socket.socketpair()

    def cannot(thread):
        raise RuntimeError("can't start new thread")

    with first_server, first_client, monkeypatch.context() as without_threads:
        without_threads.setattr(threading.Thread, "start", cannot)
        first, _ = serve_on(first_server, policy=SILENT)
    second, seconds = serve_on(server, policy=SILENT)

    assert (None, b"no") == (first.raised, first.body)
    assert (Outcome.IDLE, True) == (second.outcome, seconds < 0.2 + LATE_SECONDS)


@pytest.mark.parametrize("seconds", [1e10, 1e300], ids=repr)
def test_a_deadline_beyond_all_clocks_does_not_end_the_watchdog(pair, new_watchdog, seconds):
    """Who wants no time limit writes a large one; threading.TIMEOUT_MAX is 292 years."""
    server, _ = pair
    with Deadline(server.fileno()) as forever:
        forever.allow(seconds)
        time.sleep(0.1)
    with Deadline(server.fileno()) as deadline:
        deadline.allow(0.05)
        assert b"" == server.recv(1)

        assert (False, True) == (forever.fired, deadline.fired)


def test_a_socket_with_a_timeout_beyond_all_clocks_is_no_reason_to_fail(pair):
    """settimeout() raises OverflowError for what a policy allows."""
    server, client = pair
    client.sendall(b"x" * 1000)
    forever = DrainPolicy(max_seconds=1e12, idle_seconds=1e12, min_bytes_per_second=0)
    got, _ = serve_on(server, APPS["before the response"], policy=forever, length=1000)

    assert (None, Outcome.COMPLETE) == (got.raised, got.outcome)


def test_a_descriptor_that_is_no_socket_does_not_end_the_watchdog(pair, new_watchdog):
    """Wsgiref's connection is looked for in wsgi.input, which an application may replace."""
    server, _ = pair
    reader, writer = os.pipe()
    try:
        with Deadline(reader) as pipe:
            pipe.allow(0.05)
            time.sleep(0.2)
        with Deadline(server.fileno()) as deadline:
            deadline.allow(0.05)
            ends = time.monotonic() + LATE_SECONDS
            while not deadline.fired and time.monotonic() < ends:
                time.sleep(0.01)

        assert deadline.fired
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_child_has_its_own_thread_and_none_of_its_parents_connections(pair):
    """A child that held a duplicate would keep its parent's connection open for ever."""
    server, client = pair
    other, peer = socket.socketpair()
    with other, peer, Deadline(server.fileno()) as deadline:
        deadline.allow(60)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork
            child = os.fork()
        if child == 0:
            code = 1
            try:
                open_ones = len(watchdog_module._watchdog._watches)
                with Deadline(other.fileno()) as childs:
                    childs.allow(0.05)
                    other.settimeout(LIMIT_SECONDS)
                    data = other.recv(1)
                code = 0 if (open_ones, data, childs.fired) == (0, b"", True) else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)

        assert 0 == os.waitstatus_to_exitcode(status)
        assert not deadline.fired
    assert readable(server, client)


def test_a_first_deadline_is_not_missed_while_the_watchdog_looks_at_the_others(pair, new_watchdog):
    """It holds the lock then, and what it said last of when it wakes is of the past."""
    server, _ = pair
    watch = new_watchdog.watch(server.fileno())
    with contextlib.closing(watch):
        told = threading.Thread(target=new_watchdog.allow, args=(watch, 0.05))
        with new_watchdog._condition:
            # As when it has just been woken, has looked at this watch, and not gone to sleep yet.
            new_watchdog._wakes_at = 0.0
            told.start()
            told.join(0.2)
            new_watchdog._wakes_at = float("inf")
        told.join(LIMIT_SECONDS)

        assert b"" == server.recv(1)
        assert watch.fired


def test_a_forked_child_does_not_believe_when_its_parents_thread_would_wake(new_watchdog):
    new_watchdog._wakes_at = 0.0
    new_watchdog._forget()

    assert float("inf") == new_watchdog._wakes_at


def test_on_cheroot_a_deadline_before_the_response_leaves_the_connection_whole(
    pair, new_watchdog, watchdog_time
):
    """A read side that has been shut would end the write side of TLS, and with it the answer.

    So the socket's own timeout ends the read, and no watchdog: here that is never woken.
    """
    server, client = pair
    request = types.SimpleNamespace(
        close_connection=False, conn=types.SimpleNamespace(socket=server)
    )

    def gateway(app, policy, on_report):
        middleware = DrainMiddleware(app, policy, on_report=on_report)

        def call(environ, start_response):
            class Gateway:
                req = request

                def start_response(self, status, headers, exc_info=None):
                    return start_response(status, headers, exc_info)

            return middleware(environ, Gateway().start_response)

        return call

    with server.makefile("rb") as rfile:
        stream = input_class("cheroot.server")(rfile, [])
        stream.rfile = rfile
        app = answering(BIG, status="200 OK")
        got = serve(app, length=1000, policy=SILENT, wrap=gateway, **{"wsgi.input": stream})

    assert (Outcome.IDLE, BIG, True) == (got.outcome, got.body, request.close_connection)
    assert readable(server, client)


FLOOD = """
import socket, sys, time
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5)
deadline = time.monotonic() + 5
while time.monotonic() < deadline:
    client.send(bytes(1 << 20))
"""


@pytest.mark.parametrize("attempt", range(5))
def test_a_server_that_reads_on_behind_a_shut_read_side_soon_finds_nothing(attempt):
    # Linux gives out what arrives behind the shutdown; of a flood, that may have no end.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-c", FLOOD, str(listener.getsockname()[1])]
        client = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        listener.settimeout(LIMIT_SECONDS)
        server, _ = listener.accept()
    server.settimeout(LIMIT_SECONDS)
    with client, server:
        for _ in range(64):
            assert server.recv(65_536)
        watchdog_module.shut_read_side(server.fileno())
        read_bytes = 0
        while data := server.recv(10_000_000):  # as werkzeug reads on
            read_bytes += len(data)
            bytearray(4_000_000)  # and has to do with it, so that more arrives
        is_flooding = client.poll() is None
        client.kill()
    assert is_flooding
    # What the client had been given leave to send: at most the largest receive buffer of Linux.
    assert read_bytes < 33 << 20
