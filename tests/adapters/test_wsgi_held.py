"""What a drain holds under WSGI, and what follows from it where a policy leaves it open."""

import contextlib
import math
import os
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from drainkit import DrainPolicy, Outcome, Resource, process_capacity
from drainkit.testing import ScriptedBody, Silence
from drainkit_wsgi import _reading as reading_module
from drainkit_wsgi import _threads as threads_module
from drainkit_wsgi._threads import Place, resource_of, threads_seen
from drainkit_wsgi.servers import server_of
from tests.adapters.test_wsgi_watchdog import FromConnection
from tests.adapters.wsgi_server import answering, input_class, serve

NO = answering(b"no")
LIMIT_SECONDS = 5.0
# A silence of five seconds ends every drain.
LATE_SECONDS = 4.0


@pytest.fixture(autouse=True)
def new_process(monkeypatch):
    """Begin as a process in which no thread has been seen."""
    monkeypatch.setattr(threads_module, "_threads", threads_module._Threads())


def in_threads(count, call):
    """Call so often, in threads that all live at once."""
    barrier = threading.Barrier(count)

    def one():
        call()
        barrier.wait(LIMIT_SECONDS)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_SECONDS)


# --- what is held ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"wsgi.multithread": True}, Resource.THREAD),
        ({"wsgi.multithread": False}, Resource.PROCESS),
        ({}, Resource.THREAD),
    ],
)
def test_the_environ_says_whether_a_drain_holds_a_thread_or_a_process(environ, expected):
    assert expected is resource_of(environ, None)


def test_what_is_known_of_a_server_comes_first():
    """gevent.pywsgi says wsgi.multithread: False, and serves many at once."""
    assert Resource.GREENLET is resource_of({"wsgi.multithread": False}, Resource.GREENLET)


def test_where_threads_are_greenlets_a_drain_holds_a_greenlet(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    assert Resource.GREENLET is resource_of({"wsgi.multithread": True}, None)


# --- places to wait -------------------------------------------------------------------------------


def test_half_of_the_threads_may_wait_for_long():
    places = [Place(8) for _ in range(5)]

    assert [True] * 4 + [False] == [place.take() for place in places]
    places[0].give_back()
    assert places[4].take()
    assert places[4].take(), "once it has it, it has it"


def test_a_server_with_one_thread_has_none_to_leave():
    assert 1 == Place(1).most


def test_threads_that_nobody_tells_of_count_when_they_have_been_seen():
    """A server that says it has several has two, or nothing could be drained at first."""
    assert 1 == Place(threads_seen()).most
    in_threads(8, threads_seen)
    assert 4 == Place(threads_seen()).most


def test_what_was_never_taken_cannot_be_given_back():
    first, second = Place(2), Place(2)
    first.take()
    second.give_back()

    assert not second.take()


FORKING = """
import os
from drainkit_wsgi._threads import Place

assert Place(2).take()
assert not Place(2).take()
child = os.fork()
if child == 0:
    os._exit(0 if Place(2).take() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_begins_with_places_of_its_own():
    # In a process without other threads: newer Pythons warn of a fork beside them.
    done = subprocess.run(
        [sys.executable, "-c", FORKING],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert ("0\n", "") == (done.stdout, done.stderr)


# --- where no deadline can end a read -------------------------------------------------------------


def test_a_server_with_one_thread_is_never_held():
    got = serve(NO, **{"wsgi.multithread": False})

    assert (Outcome.AT_CAPACITY, b"no") == (got.outcome, got.body)
    assert "read" not in got.events
    assert 0 == got.report.max_concurrent


@pytest.mark.parametrize(
    "fields",
    [{"wsgi.multithread": True}, {"wsgi.multithread": False, "wsgi.run_once": True}],
    ids=["others can be served", "nobody else is served"],
)
def test_a_server_is_held_where_that_keeps_nobody_waiting(fields):
    assert Outcome.COMPLETE is serve(NO, **fields).outcome


def test_a_site_may_hold_its_only_thread():
    policy = DrainPolicy(max_concurrent=1)

    assert Outcome.COMPLETE is serve(NO, policy=policy, **{"wsgi.multithread": False}).outcome


def test_a_server_that_tells_of_one_thread_is_never_held(monkeypatch):
    """Granian says wsgi.multithread: True whatever --blocking-threads says."""
    monkeypatch.setattr("drainkit_wsgi.servers._granian.main_thread_local", lambda *names: 1)
    got = serve(NO, server="granian")

    assert (Outcome.AT_CAPACITY, 0) == (got.outcome, got.report.max_concurrent)


def test_drains_that_nothing_can_end_take_half_of_the_threads():
    taken = 0
    in_threads(8, threads_seen)
    try:
        while process_capacity.acquire(4):
            taken += 1
        got = serve(NO)
    finally:
        for _ in range(taken):
            process_capacity.release()

    assert (4, Outcome.AT_CAPACITY, 4) == (taken, got.outcome, got.report.max_concurrent)
    assert Outcome.COMPLETE is serve(NO).outcome


def full(count):
    """Let so many drains be under way."""
    for _ in range(count):
        assert process_capacity.acquire(1000)


def test_one_drain_too_many_waits_a_moment_for_one_that_moves(monkeypatch):
    monkeypatch.setattr(threads_module, "_ROOM_SECONDS", LIMIT_SECONDS)
    in_threads(4, threads_seen)
    full(2)
    threads_module.moved(time.monotonic() + LIMIT_SECONDS)  # and goes on moving
    timer = threading.Timer(0.1, process_capacity.release)
    timer.start()
    got = serve(NO)
    timer.join(LIMIT_SECONDS)
    process_capacity.release()

    assert Outcome.COMPLETE is got.outcome


def test_it_waits_for_none_that_stand_still(monkeypatch):
    """Whoever has to wait behind this thread is not kept by those that hold the others."""
    monkeypatch.setattr(threads_module, "_ROOM_SECONDS", LIMIT_SECONDS)
    in_threads(4, threads_seen)
    full(2)
    threads_module.moved(time.monotonic() - 1.0)
    began = time.monotonic()
    got = serve(NO)
    seconds = time.monotonic() - began
    for _ in range(2):
        process_capacity.release()

    assert Outcome.AT_CAPACITY is got.outcome
    assert seconds < LIMIT_SECONDS  # as long it would wait for one that moves


# --- where a deadline can -------------------------------------------------------------------------


@pytest.fixture
def pair():
    server, client = socket.socketpair()
    client.settimeout(LIMIT_SECONDS)
    with server, client:
        yield server, client


def serve_on(server, *, policy=None, length=100_000):
    """Serve a request whose body comes over *server*, on a Paste with two threads."""
    body = FromConnection(server)
    source = input_class("paste.httpserver")(body, [])
    source.file = body.file
    pool = SimpleNamespace(nworkers=2)
    fields = {"wsgi.input": source, "paste.httpserver.thread_pool": pool}
    started = time.monotonic()
    with contextlib.closing(body.file):
        got = serve(NO, length=length, policy=policy, **fields)
    return got, time.monotonic() - started


@contextlib.contextmanager
def one_place_taken():
    place = Place(2)
    assert place.take()
    try:
        yield
    finally:
        place.give_back()


def test_who_stands_still_is_let_go_at_once_while_others_hold_half_of_the_threads(pair):
    server, _ = pair
    with one_place_taken():
        got, seconds = serve_on(server)

    assert Outcome.AT_CAPACITY is got.outcome
    assert seconds < LATE_SECONDS


def test_the_same_ends_a_read_of_what_the_server_may_have_in_a_buffer(pair):
    """So little is left that it may have come, where the connection does not show it."""
    server, client = pair
    client.sendall(b"x" * 100)
    with one_place_taken():
        got, seconds = serve_on(server, length=1000)

    assert Outcome.AT_CAPACITY is got.outcome
    assert seconds < LATE_SECONDS


def test_who_moves_has_a_thread_although_others_hold_half_of_them(pair, monkeypatch):
    monkeypatch.setattr(reading_module, "_HURRY_SECONDS", LIMIT_SECONDS)
    server, client = pair

    def upload():
        for _ in range(20):
            client.sendall(b"x" * 5000)
            time.sleep(0.02)

    sender = threading.Thread(target=upload)
    sender.start()
    with one_place_taken():
        got, _ = serve_on(server)
    sender.join(LIMIT_SECONDS)

    assert Outcome.COMPLETE is got.outcome


def test_a_drip_is_not_moving(pair):
    """A byte now and then would hold a thread for as long as the whole drain may last."""
    server, client = pair
    stop = threading.Event()

    def drip():
        with contextlib.suppress(OSError):
            while not stop.wait(0.05):
                client.sendall(b"x" * 20)

    sender = threading.Thread(target=drip)
    sender.start()
    try:
        with one_place_taken():
            got, seconds = serve_on(server)
    finally:
        stop.set()
        sender.join(LIMIT_SECONDS)

    assert Outcome.AT_CAPACITY is got.outcome
    assert seconds < LATE_SECONDS


def test_the_size_of_a_pool_of_greenlets_is_no_matter_of_threads(pair):
    """The gthread worker of gunicorn has --worker-connections, too."""
    server, client = pair
    client.sendall(b"x" * 1000)
    fields = {"gunicorn.socket": server, "SERVER_SOFTWARE": "gunicorn/27"}
    got = serve(NO, **fields)

    assert (Outcome.COMPLETE, 1000) == (got.outcome, got.report.max_concurrent)


def test_a_site_that_says_how_many_there_may_be_has_them(pair):
    server, _ = pair
    policy = DrainPolicy(max_concurrent=64, idle_seconds=1.0)
    with one_place_taken():
        got, seconds = serve_on(server, policy=policy)

    assert Outcome.IDLE is got.outcome
    assert seconds > 0.9


def test_a_place_is_given_back_whatever_ends_the_drain(pair):
    server, _ = pair
    got, _ = serve_on(server, policy=DrainPolicy(idle_seconds=0.2))

    assert Outcome.IDLE is got.outcome
    assert Place(2).take()


# --- what servers tell ----------------------------------------------------------------------------


def connection_of(start_response=None, **environ):
    environ = {"wsgi.input": None, "SERVER_SOFTWARE": "", **environ}
    row = server_of(environ)
    return row.connection(environ, environ["wsgi.input"], start_response)


def gunicorn(multithread=False, **configuration):
    class Response:
        cfg = SimpleNamespace(**configuration)

        def start_response(self):
            """Stand for gunicorn's own."""

    return connection_of(
        Response().start_response if configuration else None,
        SERVER_SOFTWARE="gunicorn/27",
        **{"wsgi.multithread": multithread},
    )


@pytest.mark.parametrize(
    ("connection", "seconds"),
    [
        (gunicorn(timeout=12), 12),
        (gunicorn(timeout=0), math.inf),
        (gunicorn(), 30),
        (gunicorn(timeout=12, multithread=True), math.inf),
        (connection_of(SERVER_SOFTWARE="Werkzeug/3"), math.inf),
    ],
    ids=["its timeout", "none", "out of reach", "with threads", "another server"],
)
def test_a_sync_worker_of_gunicorn_must_answer_within_its_timeout(connection, seconds):
    assert seconds == connection.request_seconds


@pytest.mark.parametrize(
    ("options", "seconds"),
    [({"harakiri": b"20"}, 20), ({}, math.inf), ({"harakiri": b"0"}, math.inf)],
)
def test_a_worker_of_uwsgi_must_answer_within_its_harakiri(monkeypatch, options, seconds):
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(opt=options))
    connection = connection_of(**{"wsgi.input": input_class("uwsgi")(ScriptedBody([]), [])})

    assert seconds == connection.request_seconds


def test_a_drain_ends_within_two_thirds_of_what_the_server_allows(clock):
    """12 seconds of application, and an upload that never ends: 30 are never passed."""
    body = ScriptedBody([b"x" * 1000, Silence(0.1)] * 1000, clock)

    def app(environ, start_response):
        clock.advance(12.0)
        start_response("413 Content Too Large", [])
        return [b"no"]

    began = clock.now
    with socket.socket() as connection:
        fields = {"wsgi.multithread": False, "gunicorn.socket": connection}
        got = serve(app, body, SERVER_SOFTWARE="gunicorn/27", **fields)

    assert Outcome.TIME_LIMIT is got.outcome
    assert 20.0 <= clock.now - began <= 21.5


def test_each_server_tells_its_threads_in_its_own_way():
    pool = SimpleNamespace(nworkers=10)
    fields = {"paste.httpserver.thread_pool": pool}
    paste = connection_of(SERVER_SOFTWARE="PasteWSGIServer/0.5", **fields)

    assert 10 == paste.threads
    assert 4 == gunicorn(threads=4).threads
    assert None is gunicorn().threads
    assert None is connection_of(SERVER_SOFTWARE="Granian").threads, "no worker of granian's"


def test_a_pool_of_greenlets_is_never_filled_with_drains(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    report = serve(NO, SERVER_SOFTWARE="gunicorn/27").report

    assert 1000 == gunicorn(multithread=True).most_requests
    assert 20 == gunicorn(worker_connections=20).most_requests
    assert 500 == report.max_concurrent


@pytest.mark.parametrize("software", ["WSGIServer/0.2 CPython/3.11.7", "WSGIServer"])
def test_wsgiref_is_known_with_its_version_and_without(software):
    """Python 3.15 does not tell it; unknown, a server with one thread would be left alone."""
    assert "wsgiref" == server_of({"wsgi.input": None, "SERVER_SOFTWARE": software}).name
