"""Where the names of Unix are not there, as on Windows, what needs them not works all the same.

Nobody has run this on Windows: here its names are taken away from a process on the machine at hand.
"""

import subprocess
import sys

import pytest

# What Windows lacks, or has and does not treat as Linux does (a read that waits there does not
# end with SHUT_RD). The standard library's own modules are imported first: they are not on trial.
TAKE_AWAY = """
import asyncio, os, select, signal, socket, sys, threading
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

MODULES = {"fcntl", "termios", "resource", "pwd", "grp", "pty", "tty", "posix", "_posixsubprocess"}
NAMES = {
    socket: ["SHUT_RD", "AF_UNIX", "MSG_DONTWAIT", "CMSG_LEN", "fromfd"],
    select: ["poll", "epoll"],
    os: ["fork", "register_at_fork", "killpg", "setsid"],
    signal: ["SIGKILL", "SIGALRM", "alarm"],
}


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def take_away():
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, Absent())
    for module, names in NAMES.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    sys.platform = "win32"


"""

WSGI = """
take_away()

from drainkit import DrainPolicy
from drainkit_clients import Upload, strict
from drainkit_wsgi import DrainMiddleware

MIB = 1024 * 1024


def early(environ, start_response):
    start_response("413 Content Too Large", [("Content-Length", "2")])
    return [b"no"]


def some(environ, start_response):
    start_response("200 OK", [("Content-Length", "10")])
    return [environ["wsgi.input"].read(10)]


class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass


def with_threads(app):
    # No deadline can end a read here, but there are other threads.
    def application(environ, start_response):
        environ["wsgi.multithread"] = True
        return app(environ, start_response)

    return application


def upload(app, size_bytes):
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            answer = strict(server.server_address, Upload(path="/", size_bytes=size_bytes))
        finally:
            server.shutdown()
            thread.join()
        return answer.status, answer.body, answer.delivered


reports = []
print(upload(early, 16 * MIB)[2])
alone = DrainMiddleware(early, on_report=reports.append)
print(upload(alone, 16 * MIB)[2])
print(upload(with_threads(alone), 16 * MIB))
print(upload(with_threads(DrainMiddleware(some, on_report=reports.append)), 16 * MIB))
one_mib = DrainMiddleware(early, max_bytes=MIB, on_report=reports.append)
upload(with_threads(one_mib), 16 * MIB)
print([report.outcome.value for report in reports])
"""

ASGI = """
import anyio, anyio._backends._asyncio

runner = asyncio.Runner()
runner.get_loop()  # of this machine, which wakes itself through AF_UNIX
take_away()

from drainkit.testing import ScriptedBody
from drainkit_asgi import DrainMiddleware


async def early(scope, receive, send):
    await send({"type": "http.response.start", "status": 413, "headers": []})
    await send({"type": "http.response.body", "body": b"no"})


async def nowhere(message):
    sent.append(message["type"])


sent, reports = [], []
body = ScriptedBody([b"x" * 65536] * 16)
scope = {
    "type": "http", "http_version": "1.1", "method": "POST", "path": "/",
    "headers": [(b"content-length", b"1048576")],
}
runner.run(DrainMiddleware(early, on_report=reports.append)(scope, body.receive, nowhere))
runner.close()
print(body.given_bytes, [report.outcome.value for report in reports])
"""


def run(program):
    got = subprocess.run(
        [sys.executable, "-c", TAKE_AWAY + program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert 0 == got.returncode, got.stderr
    return got.stdout.splitlines()


def test_the_names_are_really_gone():
    lines = run("""
take_away()
try:
    import fcntl
except ModuleNotFoundError as error:
    print(error)
print(any(hasattr(module, name) for module, names in NAMES.items() for name in names))
""")

    assert ["No module named 'fcntl'", "False"] == lines


def test_answers_under_wsgi_arrive_without_them():
    """Without drainkit the first one is lost; the last drain ends at its bound.

    A server with one thread is left alone, as nothing could end a read of a silent client.
    """
    lines = run(WSGI)

    assert [
        "False",
        "False",
        "(413, b'no', True)",
        "(200, b'abcdefghij', True)",
        "['at capacity', 'complete', 'complete', 'byte limit']",
    ] == lines


def test_a_drain_under_asgi_needs_none_of_them():
    pytest.importorskip("anyio", reason="drainkit_asgi needs anyio (extra: asgi)")

    assert ["1048576 ['complete']"] == run(ASGI)
