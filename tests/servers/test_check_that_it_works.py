"""The check on each framework's page does what the page says, without drainkit and with it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.as_on_a_page import served
from tests.servers.harness import find_program

pytestmark = pytest.mark.server

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "how-to"
SERVE, ASK = "in the first terminal", "in a second terminal"

# The module that the page's example needs, the server, and the line that brings drainkit.
PAGES = {
    "any-asgi": ("anyio", "uvicorn", "app = DrainMiddleware(app)\n"),
    "any-wsgi": ("drainkit", "gunicorn", "application = DrainMiddleware(application)\n"),
    "fastapi": ("fastapi", "uvicorn", "drainkit_starlette.init_app(app)\n"),
    "flask": ("flask", "gunicorn", "drainkit_flask.init_app(app)\n"),
    "starlette": ("starlette", "uvicorn", "drainkit_starlette.init_app(app)\n"),
}


def read(page):
    return (FOLDER / f"{page}.md").read_text(encoding="utf-8")


def block(page, caption):
    (text,) = re.findall(rf"^:caption: {caption}\n\n(.*?)^```$", read(page), re.M | re.S)
    return text


def asking(page):
    """Return the program of the second terminal, and what the page says that it prints."""
    return re.fullmatch(r"\$ python - <<'END'\n(.*)^END\n(.*)", block(page, ASK), re.M | re.S)


def saved(page):
    """Return the application that is to be saved: the first one of the page."""
    return re.search(r"^```python\n(.*?)^```$", read(page), re.M | re.S)[1]


@pytest.mark.parametrize("page", [*PAGES, "django"])
def test_each_terminal_has_a_block_of_its_own_and_the_server_is_installed(page):
    """The copy button takes a whole block; a server in it would keep the rest waiting."""
    lines = re.findall(r"^\$ (.*)$", block(page, SERVE), re.M)

    assert lines[0] == f"pip install {lines[-1].split()[0]}"
    assert asking(page)
    assert page == "django" or "`example.py`" in read(page)


@pytest.mark.parametrize("page", PAGES)
def test_the_check_shows_the_loss_without_drainkit_and_the_answer_with_it(tmp_path, page):
    module, server, line = PAGES[page]
    for needed in (module, server):
        pytest.importorskip(needed, reason=f"needs {needed}")
    text = saved(page)
    program, printed = asking(page).groups()

    assert 1 == text.count(line)
    bare = ask_while_it_is_served(tmp_path, page, text.replace(line, ""), program)
    drained = ask_while_it_is_served(tmp_path, page, text, program)

    assert bare.stderr.splitlines()[-1].startswith(("BrokenPipeError", "ConnectionResetError"))
    assert (printed, "") == (drained.stdout, drained.stderr)


def ask_while_it_is_served(folder, page, text, program):
    (folder / "example.py").write_text(text, encoding="utf-8")
    serve, *words = re.findall(r"^\$ (.*)$", block(page, SERVE), re.M)[-1].split()
    # The servers' own port is 8000, which may be taken here.
    env = {
        "GUNICORN_CMD_ARGS": "--bind 127.0.0.1:{port}",
        "UVICORN_PORT": "{port}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with served(folder, [find_program(serve), *words], env) as port:
        return subprocess.run(
            [sys.executable, "-c", program.replace("8000", str(port))],
            # As whoever copies it runs it: it closes nothing, of which Python may warn.
            env={**os.environ, "PYTHONDEVMODE": "", "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
