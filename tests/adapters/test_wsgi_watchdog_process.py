"""What becomes of the watchdog when its process begins, forks and ends; and over TLS."""

import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from drainkit import DrainPolicy, Outcome
from drainkit_wsgi import _watchdog as watchdog_module
from drainkit_wsgi._watchdog import Deadline
from tests.adapters.wsgi_server import answering, input_class, serve

LIMIT_SECONDS = 20.0
ROOT = Path(__file__).resolve().parents[2]
SILENT = DrainPolicy(idle_seconds=0.2)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def run(program):
    """Run a program in a new process; return its code and everything that it wrote."""
    # At the end: where a wheel is tested, the working tree must not stand in for it.
    found = f"import sys; sys.path.append({str(ROOT)!r})\n"
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", found + program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


# --- the beginning --------------------------------------------------------------------------------


def test_nothing_is_there_before_the_first_drain():
    """No thread, no lock taken, no module that the adapter would not need anyway."""
    program = """
import contextlib, os, socket, sys, threading, time
before = set(sys.modules)
import drainkit_wsgi._watchdog as watchdog
ours = {name for name in set(sys.modules) - before if not name.startswith("drainkit")}
from tests.adapters.wsgi_server import answering, reachable, serve
from drainkit_wsgi import _watchdog

def reads_all(environ, start_response):
    environ["wsgi.input"].read()
    return answering(b"ok")(environ, start_response)

with reachable() as gunicorn:
    got = serve(reads_all, b"x" * 1000, **gunicorn)
print(got.raised, got.body, threading.active_count(), _watchdog._watchdog._condition)
"""
    expected = (0, "None b'ok' 1 None\n", "")

    assert expected == run(program)


def test_the_watchdog_imports_nothing_but_what_every_server_has():
    program = """
import __future__, contextlib, importlib.util, math, os, socket, sys, threading, time, typing
import collections.abc
import importlib.machinery
class Engine(typing.NamedTuple): "It has some of these, for which Python 3.14 imports a module."
where = importlib.util.find_spec("drainkit_wsgi").submodule_search_locations[0]
spec = importlib.util.spec_from_file_location("alone", os.path.join(where, "_watchdog.py"))
module = importlib.util.module_from_spec(spec)
before = set(sys.modules)
spec.loader.exec_module(module)
print(sorted(set(sys.modules) - before), threading.active_count())
"""

    assert (0, "[] 1\n", "") == run(program)


# --- the end --------------------------------------------------------------------------------------

ENDINGS = {
    "a watch is under way": """
deadline = Deadline(server.fileno())
deadline.__enter__()
deadline.allow(60)
""",
    "a daemon thread is being drained": """
def drain():
    with Deadline(server.fileno()) as deadline:
        deadline.allow(60)
        server.recv(1)

threading.Thread(target=drain, daemon=True).start()
while not _watchdog._watchdog._watches:
    time.sleep(0.001)
""",
    "deadlines come while it ends": """
others = [socket.socketpair() for _ in range(50)]
for number, (one, _) in enumerate(others):
    deadline = Deadline(one.fileno())
    deadline.__enter__()
    deadline.allow(0.0005 * number)
""",
    "the first drain comes at exit": """
@atexit.register
def last():
    try:
        with Deadline(server.fileno()) as deadline:
            deadline.allow(0.05)
            assert server.recv(1) == b""
    except RuntimeError:
        pass  # no thread can be started any more: the adapter then reads nothing
""",
    "another thread still drains": """
def drain():
    with Deadline(server.fileno()) as deadline:
        deadline.allow(0.3)
        assert server.recv(1) == b""
        assert deadline.fired

threading.Thread(target=drain).start()
""",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_the_process_ends_at_once_and_without_a_word(ending):
    program = f"""
import atexit, socket, threading, time, warnings
from drainkit_wsgi import _watchdog
from drainkit_wsgi._watchdog import Deadline
warnings.simplefilter("ignore", ResourceWarning)  # what is open at the end is meant to be
server, client = socket.socketpair()
{ending}
print("the end")
"""

    assert (0, "the end\n", "") == run(program)


# --- a fork ---------------------------------------------------------------------------------------


@needs_fork
@pytest.mark.parametrize("lock", ["_condition", "_new_lock"])
def test_a_fork_while_another_thread_holds_a_lock_leaves_the_child_free(lock, monkeypatch):
    """That thread does not exist in the child, and would never give the lock back."""
    held, may_end = threading.Event(), threading.Event()
    assert 0 == drain_silent_client()

    def hold():
        with getattr(watchdog_module._watchdog, lock):
            held.set()
            may_end.wait(LIMIT_SECONDS)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(LIMIT_SECONDS)
    try:
        code = in_child(drain_silent_client)
    finally:
        may_end.set()
        holder.join(LIMIT_SECONDS)

    assert 0 == code


@needs_fork
def test_forks_in_the_middle_of_the_drains_of_other_threads_do_no_harm():
    """As gunicorn's arbiter with --preload, if the application drained before."""
    stop = threading.Event()
    wrong = []

    def work():
        server, client = socket.socketpair()
        with server, client:
            while not stop.is_set():
                client.send(b"x" * 100)
                with Deadline(server.fileno()) as deadline:
                    deadline.allow(30)
                    data = server.recv(100)
                if deadline.fired or len(data) != 100:
                    wrong.append(data)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        codes = [in_child(drain_silent_client) for _ in range(10)]
    finally:
        stop.set()
        for thread in threads:
            thread.join(LIMIT_SECONDS)

    assert [0] * 10 == codes
    assert [] == wrong


@needs_fork
def test_a_drain_that_goes_on_in_the_child_closes_nobody_elses_descriptor():
    """A fork from within a drain: its duplicate is given up once, whatever has its number now."""

    def work():
        server, client = socket.socketpair()
        with server, client:
            drained = Deadline(server.fileno())
            drained.__enter__()
            drained.allow(60)
            child = fork()
            if child:
                drained.__exit__()
                return child
            other, peer = socket.socketpair()  # one of them gets the number of the duplicate
            drained.allow(60)
            drained.__exit__()
            peer.send(b"!")
            os._exit(0 if other.recv(1) == b"!" and not drained.fired else 3)

    assert 0 == code_of(work())


def fork():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork
        return os.fork()


def in_child(work):
    """Return the exit code of a forked child that does *work*; 14 is its own alarm's."""
    child = fork()
    if child == 0:
        code = 1
        try:
            import signal

            signal.alarm(10)
            code = work()
        finally:
            os._exit(code)
    return code_of(child)


def code_of(child):
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def drain_silent_client():
    server, client = socket.socketpair()
    with server, client, Deadline(server.fileno()) as deadline:
        deadline.allow(0.02)
        return 0 if (server.recv(1), deadline.fired) == (b"", True) else 2


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """The server's and the client's ends of TLS."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    names = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost", *names),
        ],
        check=True,
        capture_output=True,
        timeout=LIMIT_SECONDS,
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    return server, client


@pytest.fixture
def secured(contexts):
    """Two ends of a connection that speaks TLS: the server's and the client's."""
    ends = list(socket.socketpair())
    for end in ends:
        end.settimeout(LIMIT_SECONDS)

    def shake_hands():
        ends[1] = contexts[1].wrap_socket(ends[1])

    thread = threading.Thread(target=shake_hands)
    thread.start()
    ends[0] = contexts[0].wrap_socket(ends[0], server_side=True)
    thread.join(LIMIT_SECONDS)
    ends[0].settimeout(None)
    with ends[0], ends[1]:
        yield ends


class Secured:
    """gunicorn's body over TLS."""

    def __init__(self, connection):
        self._connection = connection
        self.failed = False

    def read(self, size):
        data = b""
        while len(data) < size and (piece := self._connection.recv(size - len(data))):
            data += piece
        return data


Secured.__module__ = input_class("gunicorn.http.body").__module__


@pytest.mark.parametrize("page_bytes", [2, 100_000], ids=["behind it", "before it"])
def test_a_silent_client_over_tls_is_ended_at_its_deadline(secured, page_bytes):
    """And has the page that was still to be sent, where that comes behind the body."""
    server, client = secured
    client.send(b"x" * 100)
    got = serve(
        answering(b"r" * page_bytes),
        length=5000,
        policy=SILENT,
        **{
            "wsgi.input": Secured(server),
            "gunicorn.socket": server,
            "wsgi.url_scheme": "https",
        },
    )
    page = b""
    if page_bytes > 65_536:
        writer = threading.Thread(target=server.sendall, args=(got.body,))
        writer.start()
        while len(page) < page_bytes:
            page += client.recv(65_536)
        writer.join(LIMIT_SECONDS)

    assert (None, Outcome.IDLE) == (got.raised, got.outcome)
    assert page in (b"", got.body)
    assert 0.2 <= got.report.seconds < LIMIT_SECONDS / 2


def test_a_complete_body_over_tls_leaves_the_connection_open(secured):
    server, client = secured
    for _ in range(50):
        client.send(b"x" * 1000)
        stream = Secured(server)
        got = serve(
            answering(b"r" * 100_000),
            length=1000,
            policy=DrainPolicy(idle_seconds=5),
            **{"wsgi.input": stream, "gunicorn.socket": server, "wsgi.url_scheme": "https"},
        )

        assert (Outcome.COMPLETE, False, None) == (
            got.outcome,
            stream.failed,
            server.gettimeout(),
        )
