"""The limits hold on real sockets: a client that is slow or silent is let go in time."""

import contextlib
import socket
import time
from dataclasses import dataclass

import pytest

from drainkit_clients import Upload, slow, strict
from tests.servers.cases import KIB, MIB, TRIES_WITHOUT
from tests.servers.conftest import Fleet
from tests.servers.harness import SERVERS

pytestmark = pytest.mark.server

WATCHED_SECONDS = 8.0
# Shorter than each of the uploads that are slow; but a client that sends ten times a second must
# not look silent because its machine is busy.
PATIENT = {"idle_seconds": 1.2}

# Where the limits cannot reach, and why.
OUT_OF_REACH = {
    "waitress": "it waits for the whole body before it calls the application",
    "daphne": "it waits for the whole body before it calls the application",
    "granian-wsgi": "it gives a WSGI application no way to its socket",
}

# The others read so small a rest by themselves, or wait for it; drainkit must not undo that.
LOSES_THE_STEADY = {"wsgiref", "cheroot", "granian-wsgi"}

BOUNDED = [name for name in SERVERS if name not in OUT_OF_REACH]

UPLOAD = Upload(path="/413", size_bytes=MIB)


@pytest.mark.parametrize("server", BOUNDED)
def test_one_byte_at_a_time_is_closed_at_max_seconds(fleet: Fleet, server: str) -> None:
    drained = fleet.get(server, wrap=True, policy={"max_seconds": 2.0})
    before = len(drained.reports())
    answer = slow(drained.address, UPLOAD, interval_seconds=0.3, timeout_seconds=WATCHED_SECONDS)
    assert (answer.status, answer.complete) == (413, True)
    assert answer.ended in ("fin", "reset"), f"open after {answer.seconds} s\n{drained.log()}"
    assert answer.seconds <= 3.5
    assert drained.wait_for_reports(before + 1)[-1]["outcome"] == "TIME_LIMIT"


# gevent.pywsgi has nothing to do meanwhile that would wake its loop.
@pytest.mark.parametrize("server", [*BOUNDED, "gevent-pywsgi"])
def test_a_silent_client_is_closed_after_idle_seconds_and_others_are_served(
    fleet: Fleet, server: str
) -> None:
    drained = fleet.get(server, wrap=True, policy={"idle_seconds": 1.0})
    before = len(drained.reports())
    answer = slow(
        drained.address,
        UPLOAD,
        interval_seconds=None,
        first_bytes=1000,
        timeout_seconds=WATCHED_SECONDS,
    )
    assert (answer.status, answer.complete) == (413, True)
    assert answer.ended in ("fin", "reset"), f"open after {answer.seconds} s\n{drained.log()}"
    assert answer.seconds <= 2.5
    assert drained.wait_for_reports(before + 1)[-1]["outcome"] == "IDLE"
    assert strict(drained.address, Upload(path="/413", size_bytes=MIB)).delivered


def test_uploads_for_which_there_is_no_room_keep_nobody_waiting(fleet: Fleet) -> None:
    """Left to itself gunicorn's gthread worker waits 2 s for each to go, and accepts nobody."""
    bare = fleet.get("gunicorn-gthread", wrap=False)
    drained = fleet.get("gunicorn-gthread", wrap=True, policy={"max_concurrent": 1})
    seconds = []
    for server in (bare, drained):
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                # These stay, whatever the server says.
                upload = socket.create_connection(server.address, WATCHED_SECONDS)
                stack.enter_context(upload)
                upload.sendall(UPLOAD.head("test") + UPLOAD.slice(0, 1000))
                assert server is bare or upload.recv(1) == b"H"
            get = Upload(path="/ready", method="GET")
            ordinary = strict(server.address, get, timeout_seconds=3.0)
        assert server is bare or ordinary.status == 200
        seconds.append(ordinary.seconds)
    assert seconds[0] > 1.5, "without drainkit they do"
    assert seconds[1] < 1.5


@pytest.mark.parametrize("server", SERVERS)
def test_a_slow_but_steady_upload_is_not_called_silent(fleet: Fleet, server: str) -> None:
    drained = fleet.get(server, wrap=True, policy=PATIENT)
    before = len(drained.reports())
    # 20 KB/s: no read of 64 KiB is ever full within idle_seconds, yet the client is never silent.
    steady = Upload(path="/413", size_bytes=32 * KIB, piece_bytes=2 * KIB, piece_pause_seconds=0.1)
    answer = strict(drained.address, steady)
    assert answer.delivered, answer.error
    assert answer.status == 413
    assert 1.5 < answer.seconds, "it took as long as the client takes to send"
    assert all(report["outcome"] == "COMPLETE" for report in drained.reports()[before:])


@pytest.mark.parametrize("server", [name for name in SERVERS if SERVERS[name].interface == "wsgi"])
def test_nor_is_one_whose_upload_has_waited_for_its_answer(fleet: Fleet, server: str) -> None:
    """What has come meanwhile is read at once, and does not show how slow the rest will be."""
    steady = Upload(
        path="/413-after-a-pause", size_bytes=52_000, piece_bytes=2_600, piece_pause_seconds=0.1
    )
    if server in LOSES_THE_STEADY:
        bare = fleet.get(server, wrap=False)
        assert not all(strict(bare.address, steady).delivered for _ in range(TRIES_WITHOUT))
    drained = fleet.get(server, wrap=True, policy=PATIENT)
    before = len(drained.reports())
    answer = strict(drained.address, steady)
    assert answer.delivered, answer.error
    assert answer.status == 413
    assert all(report["outcome"] == "COMPLETE" for report in drained.reports()[before:])


@dataclass(frozen=True, slots=True)
class Slowing:
    """A body whose client falls to a tenth of its rate in the middle: from 400 KB/s to 40."""

    size_bytes: int = 280_000
    quick_bytes: int = 200_000

    def slice(self, start: int, length: int) -> bytes:
        """Return a part of it, not sooner than the client has it."""
        time.sleep(length / (400_000 if start < self.quick_bytes else 40_000))
        return b"x" * min(length, self.size_bytes - start)


# By itself werkzeug reads on behind its answer, if the machine is not too busy; drainkit must not
# undo that.
LOST_WITHOUT = {"gunicorn-gthread": True, "granian-wsgi": True, "werkzeug": False}


@pytest.mark.parametrize("server", LOST_WITHOUT)
def test_nor_is_one_whose_client_falls_to_a_tenth_of_its_rate(fleet: Fleet, server: str) -> None:
    """A read that was right for the quick client is not filled in time by the slow one."""
    slowing = Upload(path="/413", size_bytes=280_000, piece_bytes=4_000, source=Slowing())
    if LOST_WITHOUT[server]:
        assert not strict(fleet.get(server, wrap=False).address, slowing).delivered
    drained = fleet.get(server, wrap=True, policy=PATIENT)
    before = len(drained.reports())
    answer = strict(drained.address, slowing)
    assert answer.delivered, answer.error
    assert answer.status == 413
    assert drained.wait_for_reports(before + 1)[-1]["outcome"] == "COMPLETE"
