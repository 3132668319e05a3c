"""The how-to for an application that is not yours holds: the server wraps it, on real servers."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from drainkit_clients import Upload, strict
from tests.servers.as_on_a_page import served
from tests.servers.harness import reserved_port

pytestmark = pytest.mark.server

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "not-your-application.md"
(HOOK,) = re.findall(
    r"^```\{code-block\} py\n:caption: gunicorn.conf.py\n\n(.*?)^```$",
    PAGE.read_text(encoding="utf-8"),
    re.M | re.S,
)
SOMEBODY_ELSES = {
    "theirs.py": """
def app(environ, start_response):
    start_response("401 Unauthorized", [("Content-Length", "2")])
    return [b"no"]


def make():
    return app
""",
    "theirs_asgi.py": """
async def app(scope, receive, send):
    if scope["type"] == "http":
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b"no"})
""",
}
GUNICORN = ("gunicorn", "--no-control-socket", "-b", "127.0.0.1:{port}")
HYPERCORN = ("hypercorn", "-b", "127.0.0.1:{port}", "--log-level", "warning")
UVICORN = ("uvicorn", "--port", "{port}", "--log-level", "warning")
GRANIAN = ("granian", "--port", "{port}", "--log-level", "warning", "--interface")
WSGI, ASGI = "theirs:app", "theirs_asgi:app"
# The command as it was, the same with drainkit, and more of its environment then.
WAYS = {
    "gunicorn": (
        (*GUNICORN, WSGI),
        (*GUNICORN, f'drainkit_wsgi:wrap("{WSGI}", max_seconds=10)'),
        {},
    ),
    "gunicorn-made": (
        (*GUNICORN, "theirs:make()"),
        (*GUNICORN, 'drainkit_wsgi:wrap("theirs:make()")'),
        {},
    ),
    "gunicorn-hook": (
        (*GUNICORN, WSGI),
        (*GUNICORN, WSGI),
        {"GUNICORN_CMD_ARGS": "--config hook/gunicorn.conf.py"},
    ),
    "gunicorn-hook-gthread": (
        (*GUNICORN, "-k", "gthread", WSGI),
        (*GUNICORN, "-k", "gthread", WSGI),
        {"GUNICORN_CMD_ARGS": "--config hook/gunicorn.conf.py"},
    ),
    "gunicorn-asgi": (
        (*GUNICORN, "-k", "asgi", ASGI),
        (*GUNICORN, "-k", "asgi", f'drainkit_asgi:wrap("{ASGI}")'),
        {},
    ),
    "uvicorn": (
        (*UVICORN, ASGI),
        (*UVICORN, "--factory", "drainkit_asgi:wrap"),
        {"DRAINKIT_APP": ASGI},
    ),
    "hypercorn": (
        (*HYPERCORN, ASGI),
        (*HYPERCORN, "drainkit_asgi:wrap()"),
        {"DRAINKIT_APP": ASGI},
    ),
    "granian-asgi": (
        (*GRANIAN, "asgi", ASGI),
        (*GRANIAN, "asgi", "--factory", "drainkit_asgi:wrap"),
        {"DRAINKIT_APP": ASGI},
    ),
    "granian-wsgi": (
        (*GRANIAN, "wsgi", WSGI),
        (*GRANIAN, "wsgi", "--factory", "drainkit_wsgi:wrap"),
        {"DRAINKIT_APP": WSGI},
    ),
    "pypiserver": (
        (*GUNICORN, "pypiserver:app()"),
        (*GUNICORN, 'drainkit_wsgi:wrap("pypiserver:app()")'),
        {},
    ),
}
SIZE_BYTES = 16_000_000
TRIES_WITHOUT = 20
TRIES = 3


def uploads(folder, command, env, tries, *, until_lost):
    """Serve with a command, upload to it, and return the answers and what the server printed."""
    answers = []
    upload = Upload(path="/", size_bytes=SIZE_BYTES, connection="close")
    env = {"PYTHONPATH": str(folder), "HOME": str(folder), **env}
    with served(folder, [sys.executable, "-m", *command], env) as port:
        for _ in range(tries):
            answers.append(strict(("127.0.0.1", port), upload, timeout_seconds=20.0))
            if until_lost and not answers[-1].delivered:
                break
    return answers, (folder / "log").read_text(encoding="utf-8", errors="replace")


@pytest.fixture
def folder(tmp_path):
    """A folder with somebody else's applications, and with the page's hook in one of its own."""
    for name, text in SOMEBODY_ELSES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "packages").mkdir()  # of pypiserver, which looks in the home folder
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "gunicorn.conf.py").write_text(HOOK, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("way", WAYS)
def test_the_server_wraps_an_application_that_is_not_yours(folder, way):
    before, after, env = WAYS[way]
    for needed in (before[0], *(["pypiserver"] if way == "pypiserver" else [])):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"needs {needed}")
    lost, log = uploads(folder, before, {}, TRIES_WITHOUT, until_lost=True)
    assert not lost[-1].delivered, f"lost nothing: {[one.status for one in lost]}\n{log}"
    got, log = uploads(folder, after, env, TRIES, until_lost=False)

    assert [(True, 401)] * TRIES == [(one.delivered, one.status) for one in got], log


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ((*GUNICORN, 'drainkit_wsgi:wrap("theirs:nope")'), "has no attribute 'nope'"),
        ((*GUNICORN, 'drainkit_wsgi:wrap("theirs:make")'), "call it: make_app()"),
        (
            (*GUNICORN, f'drainkit_wsgi:wrap("{ASGI}")'),
            "Around an ASGI application write drainkit_asgi.DrainMiddleware",
        ),
        ((*UVICORN, "--factory", "drainkit_asgi:wrap"), "no application is named"),
        ((*GUNICORN, 'drainkit_wsgi:wrap("nope:app")'), "no module 'nope' for the application"),
    ],
)
def test_a_server_that_cannot_find_it_says_what_to_write(folder, command, told):
    pytest.importorskip(command[0], reason=f"needs {command[0]}")
    with reserved_port() as port:
        ran = subprocess.run(
            [sys.executable, "-m", *(word.replace("{port}", str(port)) for word in command)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder), "HOME": str(folder), "DRAINKIT_APP": ""},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert 0 != ran.returncode
    assert told in ran.stdout + ran.stderr
