"""The watchdog and the places among gevent's greenlets: patched before or after, killed, forked."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("gevent", reason="needs gevent")

pytestmark = pytest.mark.server

LIMIT_SECONDS = 60.0

PATCHED = {
    "before the import": "import gevent.monkey; gevent.monkey.patch_all(); import drainkit_wsgi",
    # As under gunicorn's --preload: the application is loaded before its worker patches.
    "behind the import": "import drainkit_wsgi, gevent.monkey; gevent.monkey.patch_all()",
}

COMMON = """
import os, socket, sys, threading, time
import gevent
from drainkit import DrainPolicy, Outcome, process_capacity
from drainkit_wsgi import _watchdog
from drainkit_wsgi._watchdog import Deadline
from tests.adapters.wsgi_server import answering, input_class, serve

WATCHDOG = _watchdog._watchdog

class Body:
    def __init__(self, connection):
        self.connection = connection
        self.failed = False

    def read(self, size):
        data = b""
        while len(data) < size and (piece := self.connection.recv(size - len(data))):
            data += piece
        return data

Body.__module__ = input_class("gunicorn.http.body").__module__

def drain(server, app=None, length=100_000, **policy):
    body = Body(server)
    got = serve(
        app or answering(b"no"), length=length, policy=DrainPolicy(**policy),
        **{"wsgi.input": body, "gunicorn.socket": server},
    )
    got.was_cut = body.failed
    return got

def descriptors():
    gevent.sleep(0.01)  # gevent's os.close() closes when its loop goes round
    return len(os.listdir("/dev/fd"))

def nothing_is_left():
    assert process_capacity.active == 0, process_capacity.active
    assert not WATCHDOG._watches, WATCHDOG._watches
"""


def run(patched, program):
    """Run a program in a new process with gevent; return its code and what it wrote."""
    done = subprocess.run(
        [sys.executable, "-c", f"{PATCHED[patched]}\n{COMMON}\n{program}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(params=PATCHED)
def patched(request):
    return request.param


def test_the_first_drains_of_many_greenlets_at_once_start_one_watchdog(patched):
    """A lock that is older than the patch would stop all of them while the thread starts."""
    program = """
ends = [socket.socketpair() for _ in range(50)]
started = time.monotonic()
greenlets = [gevent.spawn(drain, server, idle_seconds=0.2) for server, _ in ends]
gevent.joinall(greenlets, timeout=10, raise_error=True)
seconds = time.monotonic() - started
outcomes = {greenlet.value.outcome for greenlet in greenlets}
assert outcomes == {Outcome.IDLE}, outcomes
assert 0.2 <= seconds < 2, seconds
names = [thread.name for thread in threading.enumerate()]
assert names.count("drainkit") == 1, names
nothing_is_left()
for end in (end for pair in ends for end in pair):
    end.close()
print("done")
"""

    assert (0, "done\n", "") == run(patched, program)


def test_each_deadline_is_exact_and_a_complete_drain_is_never_interrupted(patched):
    program = """
import random
late, late_anyway, completed = [], [], []

def timer(seconds):
    began = time.monotonic()
    gevent.sleep(seconds)
    late_anyway.append(time.monotonic() - began - seconds)

def silent(seconds):
    server, client = socket.socketpair()
    with server, client, Deadline(server.fileno()) as deadline:
        began = time.monotonic()
        deadline.allow(seconds)
        assert server.recv(1) == b"" and deadline.fired
        late.append(time.monotonic() - began - seconds)

def send(client):
    try:
        client.sendall(b"x" * 100)
    except BrokenPipeError:
        pass  # the deadline came first

def complete(seed):
    chance = random.Random(seed)
    server, client = socket.socketpair()
    with server, client:
        for _ in range(30):
            sending = gevent.spawn_later(chance.uniform(0, 0.01), send, client)
            got = drain(server, length=100, idle_seconds=chance.uniform(0.005, 5))
            sending.join()
            # A deadline that comes together with the last byte cuts the connection, and says so.
            if got.outcome is not Outcome.COMPLETE or got.was_cut:
                break
            client.sendall(b"!")
            assert server.recv(1) == b"!"
            completed.append(seed)

greenlets = [gevent.spawn(silent, 0.05 + number / 100) for number in range(30)]
greenlets += [gevent.spawn(timer, 0.05 + number / 100) for number in range(30)]
greenlets += [gevent.spawn(complete, seed) for seed in range(20)]
gevent.joinall(greenlets, timeout=30, raise_error=True)
assert len(late) == 30 and 0 <= min(late), late
# The machine may be busy: then a plain timer beside it is late, too.
assert max(late) < 0.25 + max(late_anyway), (late, late_anyway)
assert len(completed) > 300, completed
nothing_is_left()
print("done")
"""

    assert (0, "done\n", "") == run(patched, program)


def test_a_killed_greenlet_gives_its_place_its_watch_and_its_descriptor_back(patched):
    """At every moment of a drain: behind the response, before it, and read ahead."""
    program = """
import random
def pieces():
    yield b"r" * 100_000
    yield b"end"

def streaming(environ, start_response):
    start_response("200 OK", [])
    return pieces()

APPS = [answering(b"no"), answering(b"r" * 100_000), streaming]
chance = random.Random(4)
ends = [socket.socketpair() for _ in range(60)]
silent = [socket.socketpair() for _ in range(3)]
drain(silent[0][0], idle_seconds=0.05)  # the watchdog is there, and what it holds
before = descriptors()
outcomes, highest = [], 0

def one(number):
    server, client = ends[number]
    client.sendall(b"x" * chance.choice([0, 10, 5000]))
    got = drain(server, APPS[number % 3], idle_seconds=5, max_concurrent=25)
    outcomes.append((got.outcome, type(got.raised).__name__))

greenlets = [gevent.spawn(one, number) for number in range(60)]
for _ in range(40):
    gevent.sleep(0.005)
    highest = max(highest, process_capacity.active)
for number in chance.sample(range(60), 30):
    greenlets[number].kill()
    gevent.sleep(chance.choice([0, 0.001]))
    highest = max(highest, process_capacity.active)
for greenlet in greenlets:
    greenlet.kill(block=False)
gevent.joinall(greenlets, timeout=10)
assert all(greenlet.dead for greenlet in greenlets)
assert 20 < highest <= 25, highest
killed = [outcome for outcome, raised in outcomes if raised == "GreenletExit"]
assert len(killed) >= 25 and set(killed) == {Outcome.ERROR}, outcomes
nothing_is_left()
assert descriptors() == before, (before, descriptors())
got = drain(silent[1][0], idle_seconds=0.1)
assert got.outcome is Outcome.IDLE, got.outcome
print("done")
"""

    code, output, errors = run(patched, program)

    assert (0, "done\n") == (code, output), errors
    assert "Traceback" not in errors


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_fork_among_drains_has_a_watchdog_of_its_own(patched):
    program = """
server, client = socket.socketpair()
held = gevent.spawn(drain, server, idle_seconds=1)
gevent.sleep(0.1)
assert len(WATCHDOG._watches) == 1
child = os.fork()
if child == 0:
    held.kill(block=False)  # gevent's greenlets go on in a child; this one is the parent's
    ours, peer = socket.socketpair()
    began = time.monotonic()
    got = drain(ours, idle_seconds=0.2)
    seconds = time.monotonic() - began
    fine = got.outcome is Outcome.IDLE and 0.2 <= seconds < 0.9 and not WATCHDOG._watches
    os._exit(0 if fine and process_capacity.active == 0 else 3)
_, status = os.waitpid(child, 0)
held.join(5)
assert os.waitstatus_to_exitcode(status) == 0, status
assert held.value.outcome is Outcome.IDLE, held.value
nothing_is_left()
print("done")
"""

    code, output, errors = run(patched, program)

    assert (0, "done\n") == (code, output), errors
