"""Servers that are told to stop or to reload while drains are under way."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from drainkit_clients import Answer, Upload, strict
from tests.attacks.attacks import ATTACKS, HELD_SECONDS, KIB, POLICY
from tests.attacks.runner import ATTACKED_ASGI, ATTACKED_WSGI, roomy, wait_for_room
from tests.attacks.wire import Attacker, Seen
from tests.servers.harness import Running, running

pytestmark = pytest.mark.server

_POLL_SECONDS = 0.02
# Drains that are under way end at their bounds; what a server needs to stop comes on top.
_STOP_SECONDS = HELD_SECONDS + 2.0
_SILENT = 3

# Where no deadline can interrupt a read, a silent client keeps the server until it leaves.
_KEPT_BY_SILENT_CLIENTS = frozenset({"granian-wsgi"})


@contextmanager
def _silent_uploads(server: Running, count: int) -> Iterator[list[Attacker]]:
    """Hold drains open in threads; leave once they have ended."""
    wait_for_room(server, count + 1)  # another upload beside them
    attackers = [
        Attacker(server.address, reads=True, watch_seconds=_STOP_SECONDS) for _ in range(count)
    ]
    with ThreadPoolExecutor(count) as pool:
        runs = [
            pool.submit(attacker.run, ATTACKS["silent-length"].script) for attacker in attackers
        ]
        yield attackers
        for run in runs:
            run.result()


def _wait(until: Callable[[], bool], seconds: float) -> float | None:
    """Return how long it took until something was so, or None if it never was."""
    start = time.monotonic()
    while not until():
        if time.monotonic() - start > seconds:
            return None
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - start


def _are_answered(attackers: list[Attacker]) -> bool:
    return all(attacker.seen.received_bytes for attacker in attackers)


def _finishing(server: Running, answers: list[Answer]) -> threading.Thread:
    """Begin an upload that ends within the bounds, as long as somebody takes it."""
    upload = Upload(path="/413", size_bytes=64 * KIB, piece_bytes=4 * KIB, piece_pause_seconds=0.05)
    thread = threading.Thread(
        target=lambda: answers.append(strict(server.address, upload, timeout_seconds=_STOP_SECONDS))
    )
    thread.start()
    return thread


@pytest.mark.parametrize("server", [*ATTACKED_WSGI, *ATTACKED_ASGI])
def test_a_server_that_is_told_to_stop_stops_although_drains_are_under_way(server: str) -> None:
    row = roomy(server)
    if missing := row.missing():
        pytest.skip(f"needs {missing}")
    with running(row, wrap=True, policy=POLICY) as started:
        with _silent_uploads(started, _SILENT) as silent:
            # cheroot answers when the silence has ended.
            assert _wait(lambda: _are_answered(silent), _STOP_SECONDS) is not None
            os.kill(started.pid, signal.SIGTERM)
            stopped_seconds = _wait(lambda: not started.alive(), _STOP_SECONDS + 2.0)
        log = started.log()

    assert stopped_seconds is not None, f"still there\n{log}"
    if server in _KEPT_BY_SILENT_CLIENTS:
        assert stopped_seconds > HELD_SECONDS
    else:
        assert stopped_seconds <= _STOP_SECONDS


@pytest.mark.parametrize("server", ["gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent"])
def test_a_reload_loses_no_upload_that_keeps_within_the_bounds(server: str) -> None:
    row = roomy(server)
    if missing := row.missing():
        pytest.skip(f"needs {missing}")
    answers: list[Answer] = []
    with running(row, wrap=True, policy=POLICY) as started:
        with _silent_uploads(started, _SILENT) as silent:
            assert _wait(lambda: _are_answered(silent), _STOP_SECONDS) is not None
            upload = _finishing(started, answers)
            time.sleep(0.2)  # it is half-way then
            os.kill(started.pid, signal.SIGHUP)
            upload.join()
            seen: list[Seen] = [attacker.seen for attacker in silent]
        get = Upload(path="/ready", method="GET", connection="close")
        after = strict(started.address, get, timeout_seconds=_STOP_SECONDS)

    assert [(413, True)] == [(answer.status, answer.delivered) for answer in answers]
    assert all(one.was_let_go and one.held_seconds <= HELD_SECONDS for one in seen)
    assert 200 == after.status
