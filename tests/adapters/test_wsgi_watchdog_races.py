"""Many drains at once whose deadlines come as they end: each is one or the other, never both.

What holds of one drain in `test_wsgi_watchdog.py` must hold of ten thousand.
"""

import contextlib
import random
import socket
import threading
import time

import pytest

from drainkit import DrainPolicy, Outcome, process_capacity
from drainkit_wsgi import _watchdog as watchdog_module
from drainkit_wsgi._watchdog import Deadline
from tests.adapters.wsgi_server import answering, input_class, serve

THREADS = 4
DRAINS = 10_000
LIMIT_SECONDS = 60.0
PIECE = b"x" * 100


class Ran:
    """What several threads did, and the first thing that went wrong in one."""

    def __init__(self, work, times):
        self.complete = self.ended = 0
        self.errors = []
        self._lock = threading.Lock()
        self._work = work
        self._times = times
        threads = [threading.Thread(target=self._run, args=(seed,)) for seed in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_SECONDS)
        assert not any(thread.is_alive() for thread in threads), "a read was never ended"

    def _run(self, seed):
        complete = ended = 0
        try:
            with Peers() as peers:
                chance = random.Random(seed)
                for _ in range(self._times // THREADS):
                    if self._work(peers, chance):
                        complete += 1
                    else:
                        ended += 1
                        peers.replace()
        except BaseException as error:
            self.errors.append(error)
        with self._lock:
            self.complete += complete
            self.ended += ended


class Peers:
    """Two ends of a connection that is kept as long as it can be read, then closed.

    Its descriptor's number is then at once another thread's.
    """

    def __enter__(self):
        self.server, self.client = socket.socketpair()
        return self

    def __exit__(self, *exc_info):
        self.server.close()
        self.client.close()

    def replace(self):
        self.__exit__()
        self.__enter__()

    def send(self, data):
        """Send, unless the server's read side is shut: between Unix sockets one can tell."""
        try:
            return self.client.send(data) == len(data)
        except BrokenPipeError:
            return False

    def still_read(self):
        """Tell whether the server's read side is open: a byte sent arrives."""
        return self.send(b"!") and self.server.recv(1) == b"!"


@pytest.fixture
def new_watchdog(monkeypatch):
    """A watchdog that has watched nothing yet."""
    new = watchdog_module._Watchdog()
    monkeypatch.setattr(watchdog_module, "_watchdog", new)
    return new


def test_ten_thousand_deadlines_that_come_with_the_last_byte_are_one_or_the_other(new_watchdog):
    """A connection whose drain was not ended serves the next one, and must never be shut late."""

    def work(peers, chance):
        deadline = Deadline(peers.server.fileno())
        with deadline:
            for _ in range(3):
                deadline.allow(chance.uniform(0, 0.0002))
                if chance.random() < 0.03:
                    # A quick machine seldom lets the watchdog come between: let it.
                    time.sleep(chance.uniform(0, 0.0004))
                sent = peers.send(PIECE)
                data = peers.server.recv(100) if sent else b""
                assert data == PIECE or deadline.fired
        if deadline.fired:
            while peers.server.recv(1000):  # what came before is still there, then the end
                pass
            return False
        assert peers.still_read()
        return True

    ran = Ran(work, DRAINS)

    assert [] == ran.errors
    assert DRAINS == ran.complete + ran.ended
    # Else there was no race.
    assert ran.complete > DRAINS // 500
    assert ran.ended > DRAINS // 500
    assert not new_watchdog._watches


class Connected:
    """gunicorn's body: it reads the connection, and can be told that it cannot be trusted."""

    def __init__(self, connection, length):
        self._connection = connection
        self._left = length
        self.failed = False

    def read(self, size):
        data = b""
        while len(data) < size and (piece := self._connection.recv(size - len(data))):
            data += piece
        return data


Connected.__module__ = input_class("gunicorn.http.body").__module__


def test_a_request_that_was_read_to_its_end_leaves_its_connection_open(new_watchdog):
    """By the whole adapter: a complete drain, and the next request is read; else it is refused."""

    def work(peers, chance):
        stream = Connected(peers.server, 300)
        seconds = chance.uniform(0.00005, 0.0008)
        policy = DrainPolicy(
            max_seconds=seconds, idle_seconds=seconds, min_bytes_per_second=0, max_concurrent=1000
        )
        peers.client.send(PIECE * chance.choice([2, 3, 3, 3]))
        got = serve(
            answering(b"no"),
            policy=policy,
            length=300,
            **{"wsgi.input": stream, "gunicorn.socket": peers.server},
        )
        assert None is got.raised
        assert 300 >= got.report.bytes_discarded
        assert (300 == got.report.bytes_discarded) or got.outcome is not Outcome.COMPLETE
        if got.outcome is Outcome.COMPLETE and not stream.failed:
            assert peers.still_read()
            return True
        assert stream.failed
        return False

    ran = Ran(work, DRAINS)

    assert [] == ran.errors
    assert DRAINS == ran.complete + ran.ended
    assert ran.complete > DRAINS // 500
    assert ran.ended > DRAINS // 500
    assert (0, set()) == (process_capacity.active, new_watchdog._watches)


def test_a_deadline_behind_the_last_read_refuses_the_connection(new_watchdog, monkeypatch):
    """The body is complete, but its connection has been shut and must not be used again."""
    server, client = socket.socketpair()
    with server, client:

        class Slow(Connected):
            def read(self, size):
                data = super().read(size)
                with new_watchdog._condition:
                    for watch in new_watchdog._watches:
                        watch.shut()
                return data

        Slow.__module__ = Connected.__module__
        client.send(b"x" * 300)
        stream = Slow(server, 300)
        got = serve(
            answering(b"no"), length=300, **{"wsgi.input": stream, "gunicorn.socket": server}
        )

    assert (Outcome.COMPLETE, True) == (got.outcome, stream.failed)


def test_every_deadline_is_exact_to_a_quarter_of_a_second(new_watchdog):
    """Many at once, near and far; a machine that is late for everybody is not counted."""
    count = 40
    seconds = [0.05 + 0.01 * number for number in range(count)]
    random.Random(3).shuffle(seconds)
    late, late_anyway = [], []
    start = threading.Barrier(count + 1)

    def wait(allowed):
        with contextlib.ExitStack() as stack:
            server, client = socket.socketpair()
            stack.enter_context(server)
            stack.enter_context(client)
            deadline = stack.enter_context(Deadline(server.fileno()))
            start.wait(LIMIT_SECONDS)
            began = time.monotonic()
            deadline.allow(allowed)
            data = server.recv(1)
            late.append(time.monotonic() - began - allowed)
            assert (b"", True) == (data, deadline.fired)

    def control():
        start.wait(LIMIT_SECONDS)
        for _ in range(10):
            began = time.monotonic()
            threading.Event().wait(0.05)
            late_anyway.append(time.monotonic() - began - 0.05)

    threads = [threading.Thread(target=wait, args=(one,)) for one in seconds]
    threads.append(threading.Thread(target=control))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_SECONDS)

    assert count == len(late)
    assert 0 <= min(late)
    assert max(late) < 0.25 + max(late_anyway)
