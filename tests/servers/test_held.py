"""What a drain may cost follows from what it holds: each scenario bare and with drainkit, at once.

The policy is the default one. A client here either sends steadily or stands still.
"""

import contextlib
import dataclasses
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from drainkit_clients import Upload, strict
from tests.servers.cases import MIB
from tests.servers.harness import ALL_SERVERS, Running, Server, running

pytestmark = pytest.mark.server

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
# Whoever waits for an upload that stands still waits for 5 seconds.
AT_ONCE_SECONDS = 2.5
# Whoever finds a thread that was left waits for none of them, or until the first is let go.
LEFT_SECONDS = 1.0
TRIES = 3

# A drain holds a task there, or a greenlet.
EVENTED = (
    "uvicorn-httptools",
    "uvicorn-h11",
    "hypercorn-asyncio",
    "hypercorn-trio",
    "granian-asgi",
    "gunicorn-asgi",
    "gunicorn-gevent",
    "gevent-pywsgi",
)
# The longest that a drain of a process or a thread lasts is 20 seconds.
SLOW_SECONDS = 22.0
SLOW_PIECES = 110
SLOW_PIECE_BYTES = 20_000


def _with(name: str, *arguments: str, **env: str) -> Server:
    row = ALL_SERVERS[name]
    added = {f"DRAINKIT_TEST_{key}": value for key, value in env.items()}
    return dataclasses.replace(
        row, arguments=(*row.arguments, *arguments), env=(*row.env, *added.items())
    )


def _paste() -> Server:
    row = ALL_SERVERS["werkzeug"]
    script = row.arguments[1].replace("run_werkzeug", "run_paste")
    arguments = (row.arguments[0], script, *row.arguments[2:])
    return Server("paste", "wsgi", arguments, ("paste",))


@contextlib.contextmanager
def both(server: Server) -> Iterator[tuple[Running, Running]]:
    """Run a server bare and with drainkit."""
    if absent := server.missing():
        pytest.skip(f"needs {absent}")
    with running(server, wrap=False) as bare, running(server, wrap=True) as drained:
        yield bare, drained


def at_once(count: int, server: Running, interval_seconds: float) -> list[str]:
    """Upload 500 KB so many times at once; return what became of each."""
    with ThreadPoolExecutor(count) as pool:
        futures = [
            pool.submit(steady, server, pieces=10, piece_bytes=50_000, seconds=interval_seconds)
            for _ in range(count)
        ]
        return [future.result() for future in futures]


def steady(server: Running, *, pieces: int, piece_bytes: int, seconds: float) -> str:
    """Upload in pieces, as a strict client does, and return the status, or what went wrong."""
    upload = Upload(path="/413", size_bytes=pieces * piece_bytes)
    with socket.create_connection(server.address, CONNECT_SECONDS) as connection:
        connection.settimeout(ANSWER_SECONDS)
        try:
            connection.sendall(upload.head("test"))
            for piece in range(pieces):
                connection.sendall(upload.slice(piece * piece_bytes, piece_bytes))
                time.sleep(seconds)
            return connection.recv(12)[9:].decode("ascii") or "closed"
        except OSError as error:
            return type(error).__name__


@contextlib.contextmanager
def standing_still(server: Running, count: int) -> Iterator[None]:
    """Begin so many uploads of which no more comes, and keep them."""
    upload = Upload(path="/413", size_bytes=5 * MIB)
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = socket.create_connection(server.address, CONNECT_SECONDS)
            stack.enter_context(connection)
            connection.sendall(upload.head("test") + upload.slice(0, 1000))
        yield


def seconds_of_a_get(server: Running) -> float:
    """Return how long an ordinary request takes; it must be answered."""
    get = Upload(path="/ready", method="GET", connection="close")
    began = time.monotonic()
    assert 200 == strict(server.address, get, timeout_seconds=ANSWER_SECONDS).status
    return time.monotonic() - began


def test_an_upload_longer_than_any_thread_may_be_held_has_its_answer_on_every_event_loop() -> None:
    """All servers at once: each upload takes 22 seconds, and most of them are waiting."""
    servers = [ALL_SERVERS[name] for name in EVENTED if ALL_SERVERS[name].missing() is None]

    def play(server: Server) -> tuple[str, str, str]:
        with both(server) as runs, ThreadPoolExecutor(2) as pool:
            bare, drained = pool.map(
                lambda one: steady(
                    one,
                    pieces=SLOW_PIECES,
                    piece_bytes=SLOW_PIECE_BYTES,
                    seconds=SLOW_SECONDS / SLOW_PIECES,
                ),
                runs,
            )
            return server.name, bare, drained

    with ThreadPoolExecutor(len(servers)) as pool:
        seen = list(pool.map(play, servers))

    assert [(name, "413") for name, _, _ in seen] == [(name, drained) for name, _, drained in seen]
    assert "413" in {bare for _, bare, _ in seen}, "some of them deliver it without drainkit"


@pytest.mark.parametrize("name", EVENTED)
def test_no_number_of_uploads_that_stand_still_takes_the_answer_of_another(name: str) -> None:
    with both(ALL_SERVERS[name]) as runs:
        seen = []
        for server in runs:
            with standing_still(server, 300):
                answer = strict(server.address, Upload(path="/413", size_bytes=20 * MIB))
                seen.append((answer.delivered, seconds_of_a_get(server)))

        (_, of_bare), (delivered, of_drained) = seen
        assert delivered
        # Bare it is as a rule at once; on a busy machine it has taken more than a second.
        assert of_drained < max(AT_ONCE_SECONDS, of_bare), seen


@pytest.mark.parametrize("name", EVENTED)
def test_eighty_uploads_at_once_have_their_answers(name: str) -> None:
    with both(ALL_SERVERS[name]) as (bare, drained):
        of_bare, of_drained = (at_once(80, one, 0.1) for one in (bare, drained))

        assert ["413"] * 80 == of_drained, of_bare


# The server, and how many uploads stand still: as many as there are threads, or more.
THREADS = {
    "gunicorn-gthread": (_with("gunicorn-gthread"), 4),
    "cheroot": (_with("cheroot"), 10),
    "werkzeug": (_with("werkzeug"), 20),
    "wsgiref": (_with("wsgiref"), 20),
    "runserver": (_with("runserver"), 20),
    "paste": (_paste(), 12),
    "granian, eight threads": (_with("granian-wsgi", "--blocking-threads", "8"), 40),
    "cheroot, not known": (_with("cheroot", UNKNOWN="1"), 10),
    "granian, not known": (_with("granian-wsgi", "--blocking-threads", "8", UNKNOWN="1"), 40),
    "granian, one thread": (_with("granian-wsgi", "--blocking-threads", "1"), 4),
    # A worker that has so many requests under way accepts nobody.
    "granian, 128 requests": (_with("granian-asgi", "--backlog", "128"), 160),
}


@pytest.mark.parametrize("name", THREADS)
def test_uploads_that_stand_still_leave_threads_to_answer(name: str) -> None:
    """Bare it is at once, but for gunicorn's gthread worker, which reads on for 5 seconds."""
    row, count = THREADS[name]
    with both(row) as (bare, drained):
        with standing_still(bare, count):
            of_bare = seconds_of_a_get(bare)
        of_drained: list[float] = []
        # A busy machine may be late by itself, but not each time.
        while len(of_drained) < TRIES and min(of_drained, default=LEFT_SECONDS) >= LEFT_SECONDS:
            with standing_still(drained, count):
                of_drained.append(seconds_of_a_get(drained))

        assert min(of_drained) < LEFT_SECONDS, (of_bare, of_drained)


@pytest.mark.parametrize("name", ["gunicorn-gthread", "cheroot", "paste"])
def test_uploads_that_move_may_have_every_thread(name: str) -> None:
    """More at once than there are threads, all steady; bare, most of them are lost."""
    row, _ = THREADS[name]
    # No more than that: these servers let 5 connections wait, and the kernel resets the next.
    count = 13
    with both(row) as (bare, drained):
        of_bare, of_drained = (at_once(count, one, 0.05) for one in (bare, drained))

        assert ["413"] * count == of_drained, (of_bare, drained.reports()[-4:])


def _hurried(server: Running) -> tuple[str, bool]:
    """Upload steadily for longer than the worker may take; read what has come by the end."""
    upload = Upload(path="/413-after-a-pause", size_bytes=20 * MIB)
    with socket.create_connection(server.address, CONNECT_SECONDS) as connection:
        connection.settimeout(ANSWER_SECONDS)
        with contextlib.suppress(OSError):
            connection.sendall(upload.head("test"))
            for piece in range(90):
                connection.sendall(upload.slice(piece * 10_000, 10_000))
                time.sleep(0.1)
        try:
            status = connection.recv(12)[9:].decode("ascii")
        except OSError as error:
            status = type(error).__name__
    return status, "WORKER TIMEOUT" in server.log()


def test_a_slow_application_and_its_drain_never_take_longer_than_the_worker_may() -> None:
    """--timeout 6, 3 seconds of application, 9 of upload: half of them are the drain's at most."""
    with both(_with("gunicorn-sync", "--timeout", "6", PAUSE_SECONDS="3")) as runs:
        with ThreadPoolExecutor(2) as pool:
            bare, drained = pool.map(_hurried, runs)

        assert ("413", False) == bare
        assert ("413", False) == drained
        assert seconds_of_a_get(runs[1]) < AT_ONCE_SECONDS
        (report,) = runs[1].wait_for_reports(1)
        assert "TIME_LIMIT" == report["outcome"]
