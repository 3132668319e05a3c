"""The pytest plugin: `drainkit_server` starts a server, asks it, and leaves nothing behind."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drainkit_clients import Upload
from drainkit_pytest import Site

SITE = '''
import pathlib, sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

from drainkit_wsgi import DrainMiddleware

WRAPPED, PORT = sys.argv[1:]


def app(environ, start_response):
    if environ["PATH_INFO"] == "/crash":
        print("I crash now", flush=True)
    start_response("413 Content Too Large", [("Content-Length", "2")])
    return [b"no"]


class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments):
        """Print nothing."""


pathlib.Path(f"{PORT}.started").touch()
served = DrainMiddleware(app) if WRAPPED == "drainkit" else app
make_server("127.0.0.1", int(PORT), served, handler_class=Quiet).serve_forever()
'''
POSIX = pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")


@pytest.fixture
def project(tmp_path):
    """A folder with a site, and a function that runs pytest on tests about it."""
    (tmp_path / "serve.py").write_text(SITE, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")

    def run(test, *, finds_plugins=False):
        # By the name of its entry point; to find all plugins of an environment takes seconds.
        alone = {} if finds_plugins else {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        options = () if finds_plugins else ("-p", "drainkit")
        (tmp_path / "test_it.py").write_text(test, encoding="utf-8")
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, "PYTEST_ADDOPTS": "", **alone},
        )

    return run


TEST = """
def test_it(drainkit_server):
    site = drainkit_server("python", "serve.py", "{wrapped}", "{{port}}")
    site.assert_arrives("/upload", status={status}, body={body!r})
"""


def test_an_answer_that_is_lost_fails_the_test_with_what_was_seen(project):
    got = project(TEST.format(wrapped="bare", status=413, body=b"no"))

    assert 1 == got.returncode, got.stdout
    assert "not every answer arrived whole, with status 413:" in got.stdout
    assert "POST /upload, strict client, connection: keep-alive: 0 of 3 delivered; " in got.stdout
    assert "serve.py bare" in got.stdout
    # The test's own line, and none of the plugin.
    assert "_site.py" not in got.stdout


def test_an_answer_that_arrives_passes(project):
    got = project(TEST.format(wrapped="drainkit", status=413, body=b"no"))

    assert (0, "") == (got.returncode, got.stderr), got.stdout


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [(404, None, "status 413 instead of 404"), (413, b"yes", "b'no' instead of b'yes'")],
)
def test_another_answer_fails_the_test(project, status, body, told):
    got = project(TEST.format(wrapped="drainkit", status=status, body=body))

    assert 1 == got.returncode
    assert f"0 of 3 delivered; 3 x {told}" in got.stdout


def test_a_command_runs_once_in_a_session_and_ends_with_it(project, tmp_path):
    got = project("""
import os

COMMAND = ("python", "serve.py", "drainkit", "{port}")


def test_one(drainkit_server):
    site = drainkit_server(*COMMAND)

    assert site is drainkit_server(*COMMAND)
    assert site is not drainkit_server(*COMMAND, env={"OTHER": "1"})


def test_two(drainkit_server):
    drainkit_server(*COMMAND)
""")
    ports = [path.stem for path in tmp_path.glob("*.started")]

    assert (0, 2) == (got.returncode, len(ports)), got.stdout
    assert [] == [port for port in ports if is_listening(int(port))]


def is_listening(port):
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@POSIX
def test_what_the_server_started_ends_with_it(project, tmp_path):
    (tmp_path / "parent.py").write_text(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, 'serve.py', *sys.argv[1:]])\n"
        "open('child', 'w').write(str(child.pid))\n"
        "child.wait()\n",
        encoding="utf-8",
    )
    got = project("""
def test_it(drainkit_server):
    drainkit_server("python", "parent.py", "drainkit", "{port}")
    raise RuntimeError("whatever a test does")
""")
    child = int((tmp_path / "child").read_text())

    assert 1 == got.returncode
    wait_until_gone(child)


def wait_until_gone(pid):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        stat = Path(f"/proc/{pid}/stat")
        try:
            os.kill(pid, 0)
            if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return  # ended, and nobody has asked for its status
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError(f"{pid} still runs")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("drainkit_server()", "ValueError: the command is empty"),
        ("drainkit_server('python', 'serve.py')", "ValueError: no word of the command says where"),
        ("drainkit_server('no-such-program', '{port}')", "there is no program 'no-such-program'"),
        (
            "drainkit_server('python', '-c', 'print(\"my last words\"); exit(3)', '{port}')",
            "ended with status 3 before it answered\nmy last words\n",
        ),
        (
            "drainkit_server('python', '-c', 'import time; time.sleep(60)', '{port}', "
            "start_seconds=0.5)",
            "did not answer within 0.5 s",
        ),
    ],
)
def test_a_server_that_cannot_start_says_why(project, call, told):
    got = project(f"def test_it(drainkit_server):\n    {call}\n")

    assert 1 == got.returncode
    assert told in re.sub(r"^E +", "", got.stdout, flags=re.M)


@pytest.mark.parametrize(
    ("command", "options", "told"),
    [
        ((["gunicorn", "{port}"],), {}, "write drainkit_server(*['gunicorn', '{port}'])"),
        (("gunicorn", 8, "{port}"), {}, "must be a text; got 8: write '8'"),
        (
            ("gunicorn --bind {address} site",),
            {},
            "write drainkit_server('gunicorn', '--bind', '{address}', 'site')",
        ),
        (("x", "{port}"), {"cwd": "/nope"}, "cwd must be a folder that exists, or None for"),
        (("x", "{port}"), {"cwd": 3}, "cwd must be a path, or None for pytest's root folder; got"),
        (("x", "{port}"), {"env": {"A": 1}}, "got 'A': 1: write 'A': '1'"),
        (("x", "{port}"), {"env": "A=1"}, "env must be a dict of texts, or None"),
        (("x", "{port}"), {"ready_path": "ready"}, "ready_path must be a text that begins with"),
        (("x", "{port}"), {"start_seconds": "3"}, "start_seconds must be a finite number above 0"),
        (("x", "{port}"), {"start_seconds": float("inf")}, "start_seconds must be a finite number"),
    ],
)
def test_a_command_of_the_wrong_form_is_told_the_right_one(drainkit_server, command, options, told):
    with pytest.raises((TypeError, ValueError), match=re.escape(told)):
        drainkit_server(*command, **options)


@pytest.mark.parametrize(
    ("upload", "options", "told"),
    [
        ("upload", {}, "a path must begin with '/'; got 'upload': write '/upload'"),
        (b"/upload", {}, "upload must be a path, such as '/upload', or a drainkit_clients.Upload"),
        (None, {}, "upload must be a path"),
        ("/upload", {"status": "413"}, "status must be an integer of 200 or more, such as 413"),
        ("/upload", {"body": "no"}, "body must be bytes, or None for any; got 'no': write b'no'"),
        ("/upload", {"tries": "1"}, "tries must be an integer of 1 or more; got '1'"),
    ],
)
def test_what_would_be_judged_wrongly_is_refused(tmp_path, upload, options, told):
    """A path without a slash was sent as it is, and whatever the server said to that arrived."""
    site = Site(("x",), ("127.0.0.1", 1), tmp_path / "server.log")
    for ask in (site.judge, site.assert_arrives):
        with pytest.raises((TypeError, ValueError), match=re.escape(told)):
            ask(upload, **{"status": 413, **options})


def test_nothing_but_the_fixture_is_loaded_until_a_test_asks_for_it(project):
    """Whoever has drainkit installed pays for no plugin in other tests."""
    got = project(
        """
import sys


def test_it():
    loaded = sorted(name for name in sys.modules if name.startswith("drainkit"))

    assert ["drainkit_pytest"] == loaded


def test_that_pytest_found_it(pytestconfig):
    assert pytestconfig.pluginmanager.has_plugin("drainkit")
""",
        finds_plugins=True,
    )

    assert 0 == got.returncode, got.stdout


def test_the_plugin_imports_nothing_of_the_middleware(project):
    got = project("""
import sys


def test_it(drainkit_server):
    drainkit_server("python", "serve.py", "bare", "{port}")
    loaded = {name.partition(".")[0] for name in sys.modules if name.startswith("drainkit")}

    assert {"drainkit_pytest", "drainkit_clients", "drainkit_conformance"} == loaded
""")

    assert 0 == got.returncode, got.stdout


def test_every_public_name_is_there():
    import drainkit_pytest

    names = drainkit_pytest.__all__

    assert [] == [name for name in names if not hasattr(drainkit_pytest, name)]
    with pytest.raises(AttributeError, match="no attribute 'Sites'"):
        drainkit_pytest.Sites  # noqa: B018


def test_an_upload_of_ones_own_is_sent_as_it_is_and_the_log_can_be_read(drainkit_server, tmp_path):
    (tmp_path / "serve.py").write_text(SITE, encoding="utf-8")
    site = drainkit_server("python", "serve.py", "drainkit", "{port}", cwd=tmp_path)
    verdicts = site.judge(Upload(path="/crash", method="PUT", size_bytes=10), status=413, tries=1)

    assert [("PUT", 10)] * 3 == [(v.case.upload.method, v.case.upload.size_bytes) for v in verdicts]
    assert [True] * 3 == [verdict.passed for verdict in verdicts]
    assert "I crash now\n" * 3 == site.log()
    with pytest.raises(ValueError, match="tries must be"):
        site.judge("/upload", status=413, tries=0)
